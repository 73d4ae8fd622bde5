"""A doctor is away: what each patient whose visit lies within the leave is offered, and how each offer ends.

Everybody is offered other times and may choose one until a deadline; then the visit is cancelled by the clinic, and
all that was paid goes back. An offer ends once: rebooked, cancelled, withdrawn, kept, or left for a person to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from models.base import Id, Model, UtcDatetime
from models.booking import ActorKind, Appointment, AppointmentState, cancellation
from models.policy import TenantPolicy

_S = AppointmentState


class OfferState(StrEnum):
    """Where an offer stands."""

    NEW = "new"
    """Still to be told."""
    OFFERED = "offered"
    """Told: the patient may choose until the deadline."""
    REBOOKED = "rebooked"
    """The visit has another time."""
    CANCELLED = "cancelled"
    """The clinic has cancelled the visit, and what was paid goes back whole."""
    WITHDRAWN = "withdrawn"
    """The patient has cancelled it otherwise, or it ended before anything was to be done."""
    KEPT = "kept"
    """The visit stays: the leave was ended in time, or the patient was seen all the same."""
    UNDECIDED = "undecided"
    """The visit's time has passed in a way that only a person can put right."""


OPEN: Final = frozenset({OfferState.NEW, OfferState.OFFERED})
"""What is not decided yet."""


def offer_id(leave_id: str, appointment_id: str) -> str:
    """One offer for each leave and visit."""
    return f"{leave_id}:{appointment_id}"


class Offer(Model):
    """What one patient is offered because of one leave; `start` is the visit's time within it."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    subject_id: Id
    leave_id: Id
    appointment_id: Id
    start: UtcDatetime
    deadline: UtcDatetime
    state: OfferState = OfferState.NEW

    def is_open_at(self, start: datetime) -> bool:
        """Whether the patient may still choose, where the visit has this start."""
        return self.state in OPEN and self.start == start


MARKING: Final = timedelta(seconds=30)
"""Between a visit that a clinic gives by hand and the mark that says so; a desk that never says so has not meant it."""


class Within(Model):
    """A visit within a leave, as far as it matters here.

    `given_by` gave it its present time at `given_at`; `by_hand`, where hours and leaves did not count.
    """

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    subject_id: Id
    start: UtcDatetime
    state: AppointmentState
    policy: TenantPolicy
    given_by: ActorKind = ActorKind.PATIENT
    given_at: UtcDatetime | None = None
    by_hand: bool = False

    def is_of_the_clinic_since(self, taken_at: datetime) -> bool:
        """Whether the clinic gave it this time after a leave was taken at `taken_at`."""
        return self.given_by is ActorKind.CLINIC and self.given_at is not None and self.given_at >= taken_at

    def is_exempt(self, taken_at: datetime) -> bool:
        """Whether the doctor comes for it all the same: the clinic gave the time by hand, the leave known."""
        return self.by_hand and self.is_of_the_clinic_since(taken_at)

    def is_unsure(self, taken_at: datetime, now: datetime) -> bool:
        """Whether it may still turn out to be held for a payment in vain, or given by hand."""
        if self.state is not _S.CONFIRMED:
            return True
        fresh = self.given_at is not None and now < self.given_at + MARKING
        return fresh and not self.by_hand and self.is_of_the_clinic_since(taken_at)


class OfferTally(Model):
    """How many offers of a leave stand where."""

    offered: int = 0
    rebooked: int = 0
    cancelled: int = 0
    withdrawn: int = 0
    kept: int = 0
    undecided: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> OfferTally:
        """From the number in each state; what is still to be told is open like what was told."""
        told = {state: count for state, count in counts.items() if state in cls.model_fields}
        return cls(**{**told, "offered": sum(counts.get(state, 0) for state in OPEN)})


def offer_for(leave_id: str, visit: Within, now: datetime) -> Offer:
    """The offer for a visit: open for as long as the policy that it was booked under says, never beyond its start."""
    return Offer(
        id=offer_id(leave_id, visit.id),
        **visit.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id", "start"}),
        leave_id=leave_id,
        appointment_id=visit.id,
        deadline=max(now, min(visit.start, now + visit.policy.absence_choice)),
    )


def outcome(offer: Offer, appointment: Appointment | None, *, away: bool) -> OfferState | None:
    """How an offer has ended by itself; None where the visit stands within a leave that stands (`away`)."""
    if appointment is None or appointment.state in {_S.HELD, _S.EXPIRED}:
        return OfferState.WITHDRAWN
    if appointment.state is _S.CANCELLED:
        ended = cancellation(appointment.history)
        by_clinic = ended is not None and ended.by is ActorKind.CLINIC
        return OfferState.CANCELLED if by_clinic else OfferState.WITHDRAWN
    if appointment.start != offer.start:
        return OfferState.REBOOKED
    if appointment.state is _S.CONFIRMED:
        return None if away else OfferState.KEPT
    # Whoever was taken not to have come could not have been seen.
    return OfferState.UNDECIDED if away and appointment.state is _S.NO_SHOW else OfferState.KEPT
