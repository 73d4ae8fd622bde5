"""Visits that were cancelled after a backup: in the restored database they are cancelled as well, by nobody's hand."""

from __future__ import annotations

from datetime import UTC, datetime

from activities.booking import BookingActivities, CloseBooking
from activities.failures import untyped_failures
from adapters.mongo.repositories import Repositories
from models.booking import CANCELLABLE, Advance, Appointment, AppointmentState, EventType


class Closer:
    """Does what a visit's workflow had done, which has ended since or was lost."""

    def __init__(self, stores: Repositories) -> None:
        """The stores of the restored database."""
        self._steps = BookingActivities(stores.claims, stores.appointments)

    async def close(self, visit: Appointment) -> bool:
        """Cancel it, once, and give its time back; False for what is over otherwise. Raises `UnavailableError`."""
        if visit.state not in CANCELLABLE | {AppointmentState.CANCELLED}:
            return False
        step = Advance(
            tenant_id=visit.tenant_id,
            appointment_id=visit.id,
            event=EventType.CANCELLED,
            event_id=f"{visit.id}:cancelled-after-backup",
            at=datetime.now(UTC),
            to=AppointmentState.CANCELLED,
            sources=CANCELLABLE,
        )
        with untyped_failures():
            closed = await self._steps.close(CloseBooking(advance=step, claim=visit.claim))
        return closed.state is AppointmentState.CANCELLED
