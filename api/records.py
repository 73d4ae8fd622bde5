"""Finding the appointment that a route names, within what its caller may see."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Header, Path, Request

from api.problems import invalid
from api.services import Services
from models.booking import Appointment
from models.errors import Code, VisitNowError, not_found
from models.identity import Principal, scope_of
from models.ids import APPOINTMENT_PATTERN

_APPOINTMENT_ID: Final = re.compile(APPOINTMENT_PATTERN, flags=re.ASCII)
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")

AppointmentId = Annotated[str, Path(description="`apt_` and 26 characters.")]


async def found(
    request: Request, services: Services, caller: Principal, appointment_id: str, *, open_sealed: bool = True
) -> Appointment:
    """The appointment, the look at it audited where it is somebody else's. Raises `not_found`."""
    appointment = None
    if _APPOINTMENT_ID.fullmatch(appointment_id):
        appointment = await services.appointments.find(scope_of(caller), appointment_id, open_sealed=open_sealed)
    if appointment is None:
        raise not_found()
    await services.audit.reads(request, caller, [appointment])
    return appointment


def check_id(appointment_id: str) -> str:
    """The id, as long as it can be one of ours. Raises `not_found`."""
    if not _APPOINTMENT_ID.fullmatch(appointment_id):
        raise not_found()
    return appointment_id


async def given_key(
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="A fresh random value for each new request; optional here."),
    ] = None,
) -> str | None:
    """The request's key, if it has one. Raises `invalid` for one that no header should hold."""
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("Idempotency-Key", "string_pattern_mismatch", "must have 1 to 255 visible ASCII characters")
    return key


async def idempotency_key(
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="Required: a fresh random value for each new request."),
    ] = None,
) -> str:
    """The request's key. Raises `idempotency_key_required`, and `invalid` for one that no header should hold."""
    if key is None or not key.strip():
        raise VisitNowError(Code.IDEMPOTENCY_KEY_REQUIRED)
    return _checked(key)


async def optional_key(
    key: Annotated[
        str | None, Header(alias="Idempotency-Key", description="A fresh random value for each new request.")
    ] = None,
) -> str | None:
    """The request's key, where it has one. Raises `invalid` for one that no header should hold."""
    return None if key is None else _checked(key)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise invalid("Idempotency-Key", "string_pattern_mismatch", "must have 1 to 255 visible ASCII characters")
    return key
