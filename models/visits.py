"""The visit itself: who says that it begins, ends or moves, and what is awaited meanwhile."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from models.base import Model
from models.booking import Actor, AppointmentState, EventType, PlaceBooking, VisitTime
from models.errors import Code
from models.policy import reschedule_until

STEPS: Final = {
    AppointmentState.CHECKED_IN: EventType.CHECKED_IN,
    AppointmentState.IN_CONSULTATION: EventType.CONSULTATION_STARTED,
    AppointmentState.COMPLETED: EventType.COMPLETED,
    AppointmentState.NO_SHOW: EventType.NO_SHOW,
}
"""What the front desk and the doctor say of a visit, and the event that it is."""

AWAITED: Final = {
    AppointmentState.CONFIRMED: "visit",
    AppointmentState.CHECKED_IN: "consultation",
    AppointmentState.IN_CONSULTATION: "completion",
    AppointmentState.NO_SHOW: "check_in",
    AppointmentState.COMPLETED: "end_of_day",
}
"""What is awaited in each state of a booking that stands."""

MOST_MOVES: Final = 100
"""How often one visit may be moved, or tried to: a workflow's history has an end, and a cancellation must still fit."""


class Attend(Model):
    """Say how far a visit is; with `paid` also that its fee was paid at the clinic."""

    actor: Actor
    paid: bool = False


class Attended(Model):
    """Where the appointment stands; `conflict` where its state did not allow what was said."""

    state: AppointmentState
    conflict: bool = False


class Reschedule(Model):
    """Move a visit; `bound` where the time until which patients may move it counts."""

    actor: Actor
    time: VisitTime
    bound: bool = True

    def comes_too_late(self, booking: PlaceBooking, now: datetime) -> bool:
        """Whether the visit, where it is now, may no longer be moved by whoever asks."""
        return self.bound and now >= reschedule_until(booking.policy, booking.start)


class Rescheduled(Model):
    """Where the appointment stands; `refusal` says why it was not moved."""

    state: AppointmentState
    refusal: Code | None = None
