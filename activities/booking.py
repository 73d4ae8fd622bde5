"""The booking's steps in the database. Each is one conditional write or two; repeating one changes nothing."""

from __future__ import annotations

from temporalio import activity

from activities.failures import typed_failures
from models.base import Model
from models.booking import (
    FINAL_STATES,
    RESCHEDULABLE,
    Advance,
    Advanced,
    ClaimRef,
    HoldSlot,
    PlaceBooking,
    cancellation,
)
from models.errors import Code, not_found
from models.identity import Tenant
from models.ports import Appointments, Claims


class CloseBooking(Model):
    """End a booking: change its state and give the time back."""

    advance: Advance
    claim: ClaimRef


class MoveBooking(Model):
    """Move a booking from the time of `claim` to that of `command`."""

    command: PlaceBooking
    claim: ClaimRef
    advance: Advance


class BookingActivities:
    """Claims and appointments."""

    def __init__(self, claims: Claims, appointments: Appointments) -> None:
        """The stores to write to."""
        self._claims = claims
        self._appointments = appointments

    @activity.defn(name="booking.hold")
    async def hold(self, step: HoldSlot) -> Code | None:
        """Take the claim over and write the appointment; otherwise why not.

        A patient's words live only on the tentative claim: where that was lost, nothing is booked rather than a visit
        without them, and the same request may be sent again.
        """
        scope = Tenant(step.command.tenant_id)
        with typed_failures():
            held, sealed = await self._claims.hold(scope, step)
            if not held:
                return Code.SLOT_TAKEN
            if step.command.has_intake and sealed is None:
                existing = await self._appointments.find(scope, step.command.appointment_id, open_sealed=False)
                if existing is None:
                    await self._claims.release(scope, step.command.claim)
                    return Code.UNAVAILABLE
                return None
            await self._appointments.insert(scope, step, sealed)
        return None

    @activity.defn(name="booking.book")
    async def book(self, claim: ClaimRef) -> bool:
        """Make the hold a booking; False where we were too late."""
        with typed_failures():
            return await self._claims.book(Tenant(claim.tenant_id), claim)

    @activity.defn(name="booking.advance")
    async def advance(self, step: Advance) -> Advanced:
        """Change the appointment's state."""
        with typed_failures():
            return await self._appointments.advance(Tenant(step.tenant_id), step)

    @activity.defn(name="booking.close")
    async def close(self, step: CloseBooking) -> Advanced:
        """Change the appointment's state to a final one, if it is not, then give the time back."""
        scope = Tenant(step.advance.tenant_id)
        with typed_failures():
            advanced = await self._appointments.advance(scope, step.advance)
            if advanced.state in FINAL_STATES:
                await self._claims.release(scope, step.claim)
        return advanced

    @activity.defn(name="booking.move")
    async def move(self, step: MoveBooking) -> Advanced:
        """Take the new time, tell the appointment, and give the old seat back where it was one; the time comes first.

        Only ever one at a time for one booking, and tried until it is done: whatever an earlier try has left is found
        and gone on with.
        """
        scope = Tenant(step.advance.tenant_id)
        with typed_failures():
            found = await self._appointments.find(scope, step.command.appointment_id, open_sealed=False)
            if found is None:
                raise not_found()
            ended = cancellation(found.history)
            stands = Advanced(applied=False, state=found.state, payment_state=found.payment_state, cancelled=ended)
            if found.state not in RESCHEDULABLE or not await self._claims.move(scope, step.claim, step.command):
                return stands
            advanced = await self._appointments.advance(scope, step.advance)
            if step.claim.capacity is not None or step.command.capacity is not None:
                await self._claims.release(scope, step.claim)
        return advanced
