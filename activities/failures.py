"""How the outside's failures look to a workflow: what may be tried again and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.exceptions import ApplicationError

from models.errors import DeliveryError, GatewayError, UnavailableError, VisitNowError

GATEWAY_REFUSED = "gateway_refused"
UNAVAILABLE = "unavailable"
NOT_TAKEN = "not_taken"
QUIET_HOURS = "quiet_hours"


def in_quiet_hours(left: timedelta) -> ApplicationError:
    """The failure of a step that would disturb somebody now; it is tried again when their quiet hours are over."""
    return ApplicationError("their quiet hours", type=QUIET_HOURS, next_retry_delay=left)


@contextmanager
def typed_failures() -> Iterator[None]:
    """Turn our own errors into `ApplicationError`s with a stable type and the right willingness to retry."""
    try:
        yield
    except GatewayError as error:
        raise ApplicationError(str(error), type=GATEWAY_REFUSED, non_retryable=not error.retryable) from error
    except DeliveryError as error:
        raise ApplicationError(str(error), type=NOT_TAKEN, non_retryable=error.permanent) from error
    except UnavailableError as error:
        raise ApplicationError(str(error), type=UNAVAILABLE) from error
    except VisitNowError as error:
        raise ApplicationError(error.code, type=error.code, non_retryable=True) from error


@contextmanager
def untyped_failures() -> Iterator[None]:
    """Where an activity is no workflow's step: our own error again, as it was before it was typed."""
    try:
        yield
    except ApplicationError as error:
        raise (error.__cause__ or error) from error
