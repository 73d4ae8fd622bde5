"""Commands about the visit itself: it moves, and the front desk and the doctor say how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from temporalio.client import Client

from models.booking import RESCHEDULABLE, TRANSITIONS, Actor, Appointment, AppointmentState, actor_of
from models.errors import Code, VisitNowError, not_found
from models.identity import Principal, Scope, scope_of
from models.ids import booking_workflow_id
from models.ports import Appointments
from models.visits import Attend, Reschedule
from workflows.booking import BookingWorkflow
from workflows.commands import answer_to
from workflows.placement import Placements, Wish
from workflows.policies import RPC_TIMEOUT

_UPDATES: Final = {
    AppointmentState.CHECKED_IN: BookingWorkflow.check_in,
    AppointmentState.IN_CONSULTATION: BookingWorkflow.start_consultation,
    AppointmentState.COMPLETED: BookingWorkflow.complete,
    AppointmentState.NO_SHOW: BookingWorkflow.mark_no_show,
}


@dataclass(frozen=True)
class Move:
    """A wish to move a visit, within what `scope` may see.

    `bound`: the policy's time until which patients may move a visit counts. `reason`: somebody of the clinic's, for
    whom hours and notice do not count; the calendar's index always does.
    """

    scope: Scope
    actor: Actor
    appointment_id: str
    start: datetime
    bound: bool = True
    reason: str | None = None

    @classmethod
    def by(cls, principal: Principal, appointment_id: str, start: datetime, reason: str | None = None) -> Move:
        """Somebody's own wish: patients are bound by the policy, clinics are not."""
        return cls(
            scope=scope_of(principal),
            actor=actor_of(principal.subject, principal.roles),
            appointment_id=appointment_id,
            start=start,
            bound=principal.is_patient,
            reason=reason,
        )


class VisitGateway:
    """What is said of a visit, passed on to the workflow that owns its appointment."""

    def __init__(self, client: Client, appointments: Appointments, placements: Placements) -> None:
        """Where appointments are read and bookable times found."""
        self._client = client
        self._appointments = appointments
        self._placements = placements

    async def attend(
        self, principal: Principal, appointment_id: str, to: AppointmentState, *, paid: bool = False
    ) -> Appointment:
        """Say how far the visit is, and whether its fee was paid at the clinic.

        Raises `not_found`, `state_conflict` and `unavailable`.
        """
        scope = scope_of(principal)
        appointment = await self._found(scope, appointment_id)
        if to not in TRANSITIONS[appointment.state]:
            raise VisitNowError(Code.STATE_CONFLICT)
        command = Attend(actor=actor_of(principal.subject, principal.roles), paid=paid)
        handle = self._client.get_workflow_handle(booking_workflow_id(appointment_id))
        outcome = await answer_to(handle.execute_update(_UPDATES[to], command, rpc_timeout=RPC_TIMEOUT), "command")
        if outcome.conflict:
            raise VisitNowError(Code.STATE_CONFLICT)
        return await self._found(scope, appointment_id)

    async def reschedule(self, move: Move) -> Appointment:
        """Move a visit; asked again for the time that it has, nothing changes.

        Raises `not_found`, `state_conflict`, `window_closed`, `slot_taken` with alternatives, `slot_invalid`,
        `too_soon`, `too_far` and `unavailable`.
        """
        appointment = await self._found(move.scope, move.appointment_id)
        if appointment.state not in RESCHEDULABLE:
            raise VisitNowError(Code.STATE_CONFLICT)
        if appointment.start == move.start:
            return appointment
        time = await self._placements.time_of(appointment, move.start, overrides=move.reason is not None)
        if move.reason is not None:
            await self._appointments.note_override(move.scope, move.appointment_id, move.reason)
        command = Reschedule(actor=move.actor, time=time, bound=move.bound)
        handle = self._client.get_workflow_handle(booking_workflow_id(move.appointment_id))
        asked = handle.execute_update(BookingWorkflow.reschedule, command, rpc_timeout=RPC_TIMEOUT)
        outcome = await answer_to(asked, "new time")
        if outcome.refusal is Code.SLOT_TAKEN:
            alternatives = await self._placements.alternatives(Wish.to_move(appointment, move.start))
            raise VisitNowError(Code.SLOT_TAKEN, alternatives=alternatives)
        if outcome.refusal is not None:
            raise VisitNowError(outcome.refusal)
        return await self._found(move.scope, move.appointment_id)

    async def note_override(self, principal: Principal, appointment_id: str, reason: str) -> None:
        """Keep why a visit was booked outside the hours, sealed. Raises `not_found`."""
        await self._appointments.note_override(scope_of(principal), appointment_id, reason)

    async def _found(self, scope: Scope, appointment_id: str) -> Appointment:
        appointment = await self._appointments.find(scope, appointment_id)
        if appointment is None:
            raise not_found()
        return appointment
