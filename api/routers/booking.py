"""Appointments: placing, reading, following and cancelling them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field

from adapters.redis.limits import Limit as RateLimit
from adapters.redis.tickets import TICKET_LIFETIME, Ticket
from api.guards import GUARD_CODES, MayCancel, MayPlace, MayRead, MayWatch
from api.paging import Paging
from api.problems import invalid, problem_responses
from api.records import AppointmentId, check_id, found, idempotency_key
from api.routing import Router
from api.schemas.booking import (
    AppointmentPage,
    AppointmentView,
    CancelAppointment,
    CancelledView,
    CancelRefund,
    DependantRef,
    PlaceAppointment,
    TicketView,
)
from api.schemas.values import Bound, begin_of, end_of
from api.services import Services, Wired
from models.base import Id
from models.booking import Appointment, AppointmentQuery, AppointmentState, RefundOutcome
from models.calendar import Place, appointment_calendar, entry_of
from models.consents import Purpose
from models.errors import Code, VisitNowError
from models.idempotency import body_hash
from models.identity import Principal, scope_of
from models.ids import reference
from models.money import Money
from models.payments import PaymentState
from workflows.gateway import Placement

PLACEMENTS: Final = RateLimit("placements", hits=300, seconds=60)
"""One person's requests to book; unpaid holds have a limit of their own."""

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
router = Router(prefix="/v1/appointments", tags=["appointments"])


@router.post(
    "",
    status_code=201,
    responses={
        201: {"headers": {"Location": {"description": "The appointment.", "schema": {"type": "string"}}}},
        **problem_responses(
            *GUARD_CODES,
            *_BODY,
            Code.IDEMPOTENCY_KEY_REQUIRED,
            Code.IDEMPOTENCY_KEY_REUSED,
            Code.CONSENT_REQUIRED,
            Code.NOT_FOUND,
            Code.SLOT_TAKEN,
            Code.SLOT_INVALID,
            Code.TOO_SOON,
            Code.TOO_FAR,
            Code.TOO_MANY_HOLDS,
            Code.RATE_LIMITED,
        ),
    },
)
async def place(
    caller: MayPlace,
    key: Annotated[str, Depends(idempotency_key)],
    body: PlaceAppointment,
    services: Wired,
    response: Response,
) -> AppointmentView:
    """Book a time. A repeated request (same key, same body) gets the same appointment as it is now."""
    wait, dependant_id = await asyncio.gather(
        services.limiter.hit(PLACEMENTS, caller.subject), _agreed(services, caller, body)
    )
    if wait is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    appointment = await _placed(services, caller, key, body, dependant_id)
    response.headers["Location"] = f"/v1/appointments/{appointment.id}"
    return await services.presenter.one(appointment, caller)


async def _agreed(services: Services, caller: Principal, body: PlaceAppointment) -> str | None:
    """Which of the caller's dependants it is for, if any: whether named or described. Raises `consent_required`."""
    dependant_id = body.patient.dependant_id if isinstance(body.patient, DependantRef) else None
    if body.details is not None:
        dependant_id = await services.profiles.meant(caller, body.details)
    await services.consenting.require(caller, dependant_id, Purpose.CARE)
    return dependant_id


async def _placed(
    services: Services, caller: Principal, key: str, body: PlaceAppointment, dependant_id: str | None
) -> Appointment:
    dependant = None
    if isinstance(body.patient, DependantRef):
        dependant = await services.profiles.details(caller, body.patient.dependant_id)
    placement = Placement(
        principal=caller,
        idempotency_key=key,
        provider_id=body.provider_id,
        service_id=body.service_id,
        start=body.start,
        intake=body.intake(dependant),
        body_hash=body_hash(services.settings.id_secret, body),
        dependant_id=dependant_id,
    )
    try:
        appointment, created = await services.gateway.place(placement)
    except VisitNowError as error:
        services.metrics.placements.labels(error.code).inc()
        raise
    services.metrics.placements.labels("placed" if created else "repeated").inc()
    return appointment


class AppointmentFilters(Paging):
    """Which appointments are listed, within what the caller may see."""

    state: AppointmentState | None = None
    provider_id: Id | None = None
    patient_id: Id | None = None
    start_from: Bound | None = Field(
        default=None, alias="from", description="Starts at or after: an instant, or a date (UTC)."
    )
    start_to: Bound | None = Field(
        default=None, alias="to", description="Starts before: an instant; or the last date, inclusive (UTC)."
    )

    @property
    def query(self) -> AppointmentQuery:
        """What the repository is asked. Raises `invalid`."""
        return AppointmentQuery(
            state=self.state,
            provider_id=self.provider_id,
            subject_id=self.patient_id,
            start_from=begin_of(self.start_from) if self.start_from is not None else None,
            start_to=_end(self.start_to) if self.start_to is not None else None,
            limit=self.limit,
        )


@router.get("", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def appointments(
    request: Request, caller: MayRead, services: Wired, wanted: Annotated[AppointmentFilters, Query()]
) -> AppointmentPage:
    """Appointments, newest first: a patient's own, a doctor's, the staff's clinics', or the whole tenant's."""
    query = wanted.query
    try:
        page = await services.appointments.page(scope_of(caller), query, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    await services.audit.reads(request, caller, page.items)
    return AppointmentPage(items=await services.presenter.several(page.items, caller), next_cursor=page.next_cursor)


def _end(bound: Bound) -> datetime:
    try:
        return end_of(bound)
    except ValueError as error:
        raise invalid("to", "date_out_of_range", str(error)) from error


@router.get("/{appointment_id}", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def appointment(
    request: Request, appointment_id: AppointmentId, caller: MayRead, services: Wired
) -> AppointmentView:
    """One appointment."""
    return await services.presenter.one(await found(request, services, caller, appointment_id), caller)


@router.post(
    "/{appointment_id}/cancel",
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.STATE_CONFLICT),
)
async def cancel(
    appointment_id: AppointmentId, caller: MayCancel, body: CancelAppointment, services: Wired
) -> CancelledView:
    """Cancel; what goes back of a payment follows the policy that the appointment was booked under."""
    cancelled, refund = await services.gateway.cancel(caller, check_id(appointment_id), body.reason)
    view = await services.presenter.one(cancelled, caller)
    return CancelledView(**dict(view), refund=_cancel_refund(refund))


def _cancel_refund(outcome: RefundOutcome | None) -> CancelRefund | None:
    if outcome is None:
        return None
    if isinstance(outcome.state, PaymentState):
        return CancelRefund(state=PaymentState.VOIDED)
    return CancelRefund(id=outcome.id, amount=Money(amount=outcome.amount), state=outcome.state)


@router.post(
    "/{appointment_id}/events-ticket", status_code=201, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND)
)
async def events_ticket(
    request: Request, appointment_id: AppointmentId, caller: MayRead, services: Wired
) -> TicketView:
    """A ticket for one stream, good once within 60 seconds: a browser's EventSource sends no headers."""
    await found(request, services, caller, appointment_id, open_sealed=False)
    expires_at = datetime.now(UTC) + TICKET_LIFETIME
    ticket = await services.tickets.issue(Ticket(principal=caller, target_id=appointment_id))
    return TicketView(ticket=ticket, expires_at=expires_at)


async def _watcher(
    request: Request, appointment_id: AppointmentId, viewer: MayWatch, services: Wired
) -> AsyncIterator[Principal]:
    """Whoever watches, while they do: whatever can be refused is refused before the stream begins."""
    with services.streams.place(viewer.subject):
        await found(request, services, viewer, appointment_id, open_sealed=False)
        yield viewer


@router.get(
    "/{appointment_id}/events",
    response_class=EventSourceResponse,
    responses=problem_responses(*GUARD_CODES, Code.TICKET_INVALID, Code.NOT_FOUND, Code.RATE_LIMITED),
)
async def events(
    appointment_id: AppointmentId,
    viewer: Annotated[Principal, Depends(_watcher)],
    services: Wired,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", description="The last version seen.")] = None,
) -> AsyncIterable[ServerSentEvent]:
    """`event: appointment` with the representation, now and on each change, until a final state."""
    known = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else 0
    async for event in services.streams.follow(appointment_id, viewer, known):
        yield event


@router.get(
    "/{appointment_id}/calendar.ics",
    response_class=Response,
    responses={
        200: {"content": {"text/calendar": {"schema": {"type": "string"}}}},
        **problem_responses(*GUARD_CODES, Code.NOT_FOUND),
    },
)
async def calendar(request: Request, appointment_id: AppointmentId, caller: MayRead, services: Wired) -> Response:
    """The appointment as a calendar file; it says neither who comes nor why."""
    shown = await found(request, services, caller, appointment_id, open_sealed=False)
    view = await services.presenter.one(shown, caller)
    place = Place(view.clinic.slug, view.clinic.name, view.clinic.address)
    entry = entry_of(shown, place, view.provider.name, services.settings.public_url)
    return Response(
        appointment_calendar(entry),
        media_type="text/calendar; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{reference(shown.id)}.ics"'},
    )
