"""The visit: it moves, the patient comes or does not, the doctor begins and ends."""

from __future__ import annotations

from typing import Final

from fastapi import Request

from adapters.redis.limits import Limit as RateLimit
from api.guards import GUARD_CODES, MayCheckIn, MayConsult, MayReschedule
from api.problems import problem_responses
from api.records import AppointmentId, check_id, found
from api.routing import Router
from api.schemas.booking import AppointmentView
from api.schemas.identity import Nothing
from api.schemas.visits import Arrival, RescheduleAppointment
from api.services import Services, Wired
from models.booking import AppointmentState
from models.compliance import AuditAction
from models.errors import Code, VisitNowError
from models.identity import Permission, Principal
from workflows.gateway import Move

MOVES: Final = RateLimit("moves", hits=300, seconds=60)
"""One person's wishes to move a visit."""

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_STEP: Final = problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.STATE_CONFLICT)

router = Router(prefix="/v1/appointments", tags=["visits"])


@router.post(
    "/{appointment_id}/reschedule",
    responses=problem_responses(
        *GUARD_CODES,
        *_BODY,
        Code.NOT_FOUND,
        Code.STATE_CONFLICT,
        Code.WINDOW_CLOSED,
        Code.SLOT_TAKEN,
        Code.SLOT_INVALID,
        Code.TOO_SOON,
        Code.TOO_FAR,
        Code.RATE_LIMITED,
    ),
)
async def reschedule(
    request: Request, appointment_id: AppointmentId, caller: MayReschedule, body: RescheduleAppointment, services: Wired
) -> AppointmentView:
    """Move a confirmed visit: same provider, service and fee, and its payment stays with it."""
    if (wait := await services.limiter.hit(MOVES, caller.subject)) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    reason = None
    if body.override is not None:
        reason = body.override.reason
        await found(request, services, caller, appointment_id, open_sealed=False)
        await overrides(request, services, caller, appointment_id)
    moved = await services.gateway.visits.reschedule(Move.by(caller, check_id(appointment_id), body.start, reason))
    if body.override is None:
        # Where the visit is there already, nothing happens that would tell who has seen it.
        await services.audit.reads(request, caller, [moved])
    return await services.presenter.one(moved, caller)


async def overrides(request: Request, services: Services, caller: Principal, target: str) -> None:
    """Note that somebody of a clinic sets its own rules aside. Raises `forbidden`, which is audited too."""
    if Permission.APPOINTMENT_OVERRIDE not in caller.permissions:
        await services.audit.refusal(request, caller, Permission.APPOINTMENT_OVERRIDE)
        raise VisitNowError(Code.FORBIDDEN)
    await services.audit.note(request, caller, AuditAction.OVERRIDDEN, target)


@router.post("/{appointment_id}/check-in", responses=_STEP)
async def check_in(
    appointment_id: AppointmentId, caller: MayCheckIn, services: Wired, body: Arrival | None = None
) -> AppointmentView:
    """The patient is here; also who was taken not to come. With `paid`, what was due at the clinic has been paid."""
    paid = body is not None and body.paid
    return await _said(services, caller, appointment_id, AppointmentState.CHECKED_IN, paid=paid)


@router.post("/{appointment_id}/start", responses=_STEP)
async def start_consultation(
    appointment_id: AppointmentId, caller: MayConsult, services: Wired, body: Nothing | None = None
) -> AppointmentView:
    """The doctor sees the patient."""
    del body
    return await _said(services, caller, appointment_id, AppointmentState.IN_CONSULTATION)


@router.post("/{appointment_id}/complete", responses=_STEP)
async def complete(
    appointment_id: AppointmentId, caller: MayConsult, services: Wired, body: Arrival | None = None
) -> AppointmentView:
    """The visit is over. With `paid`, what was due at the clinic has been paid."""
    paid = body is not None and body.paid
    return await _said(services, caller, appointment_id, AppointmentState.COMPLETED, paid=paid)


@router.post("/{appointment_id}/no-show", responses=_STEP)
async def mark_no_show(
    appointment_id: AppointmentId, caller: MayCheckIn, services: Wired, body: Nothing | None = None
) -> AppointmentView:
    """The patient has not come; checking them in takes it back."""
    del body
    return await _said(services, caller, appointment_id, AppointmentState.NO_SHOW)


async def _said(
    services: Services, caller: Principal, appointment_id: str, to: AppointmentState, *, paid: bool = False
) -> AppointmentView:
    appointment = await services.gateway.visits.attend(caller, check_id(appointment_id), to, paid=paid)
    return await services.presenter.one(appointment, caller)
