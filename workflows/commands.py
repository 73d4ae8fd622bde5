"""Awaiting a workflow's answer to a command, with the errors that a person is told."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from models.errors import Code, UnavailableError, VisitNowError

T = TypeVar("T")


async def answer_to(command: Awaitable[T], name: str) -> T:
    """The answer. Raises `state_conflict` where the workflow has ended, `UnavailableError` where none came in time."""
    msg = f"the {name} was not answered in time"
    try:
        return await command
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise VisitNowError(Code.STATE_CONFLICT) from error
        raise UnavailableError(msg) from error
    except (WorkflowUpdateRPCTimeoutOrCancelledError, WorkflowUpdateFailedError) as error:
        raise UnavailableError(msg) from error
