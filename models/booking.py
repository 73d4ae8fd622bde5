"""The appointment: its states, the commands that change it and what everybody may read of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime, ZoneName
from models.errors import Code
from models.identity import Role
from models.money import Money
from models.payments import PaymentFact, PaymentState, RefundReason, RefundState
from models.policy import TenantPolicy
from models.providers import PaymentMode, VisitMode


class AppointmentState(StrEnum):
    """Where an appointment stands."""

    HELD = "held"
    CONFIRMED = "confirmed"
    CHECKED_IN = "checked_in"
    IN_CONSULTATION = "in_consultation"
    COMPLETED = "completed"
    NO_SHOW = "no_show"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


_S = AppointmentState
TRANSITIONS: dict[AppointmentState, frozenset[AppointmentState]] = {
    _S.HELD: frozenset({_S.CONFIRMED, _S.EXPIRED, _S.CANCELLED}),
    _S.CONFIRMED: frozenset({_S.CHECKED_IN, _S.NO_SHOW, _S.CANCELLED}),
    _S.CHECKED_IN: frozenset({_S.IN_CONSULTATION, _S.NO_SHOW, _S.CANCELLED}),
    _S.IN_CONSULTATION: frozenset({_S.COMPLETED}),
    _S.COMPLETED: frozenset(),
    _S.NO_SHOW: frozenset({_S.CHECKED_IN}),
    _S.EXPIRED: frozenset(),
    _S.CANCELLED: frozenset(),
}
"""The one table of what an appointment may turn into."""

FINAL_STATES = frozenset({_S.COMPLETED, _S.EXPIRED, _S.CANCELLED})
CANCELLABLE = frozenset(state for state, after in TRANSITIONS.items() if _S.CANCELLED in after)
RESCHEDULABLE = frozenset({_S.CONFIRMED})
"""Nobody moves what is not paid for yet, nor a patient who is already there."""
STANDING = frozenset({_S.CONFIRMED, _S.CHECKED_IN, _S.IN_CONSULTATION, _S.COMPLETED, _S.NO_SHOW})
"""The booking was made and has not been cancelled: its money is the clinic's."""


def sources_of(target: AppointmentState) -> frozenset[AppointmentState]:
    """The states from which `target` may be reached."""
    return frozenset(state for state, after in TRANSITIONS.items() if target in after)


class ActorKind(StrEnum):
    """Who did something, as everybody may read it."""

    PATIENT = "patient"
    CLINIC = "clinic"
    SYSTEM = "system"


class Actor(Model):
    """Who did something: an opaque subject and their kind."""

    kind: ActorKind
    id: Id


SYSTEM = Actor(kind=ActorKind.SYSTEM, id="system")


def actor_of(subject: str, roles: frozenset[Role]) -> Actor:
    """The actor behind a principal."""
    return Actor(kind=ActorKind.PATIENT if Role.PATIENT in roles else ActorKind.CLINIC, id=subject)


class EventType(StrEnum):
    """What happened to an appointment; these names go to the feed, the audit and, later, to subscribers."""

    HELD = "appointment.held"
    ORDER_READY = "appointment.order_ready"
    CONFIRMED = "appointment.confirmed"
    EXPIRED = "appointment.expired"
    CANCELLED = "appointment.cancelled"
    RESCHEDULED = "appointment.rescheduled"
    ATTENDANCE_CONFIRMED = "appointment.attendance_confirmed"
    CHECKED_IN = "appointment.checked_in"
    CONSULTATION_STARTED = "appointment.consultation_started"
    COMPLETED = "appointment.completed"
    NO_SHOW = "appointment.no_show"
    CLOSED = "appointment.closed"
    PAYMENT_CAPTURED = "payment.captured"
    PAYMENT_VOIDED = "payment.voided"
    PAYMENT_LATE = "payment.late"
    REFUND_REQUESTED = "refund.requested"
    REFUND_UNKNOWN = "refund.unknown"
    REFUND_PROCESSED = "refund.processed"
    REFUND_FAILED = "refund.failed"


class WaitingFor(Model):
    """The named event that a workflow waits for and until when (UTC)."""

    event: str
    until: UtcDatetime


class ServiceSnapshot(Model):
    """The service as it was booked."""

    id: Id
    name: str
    duration_minutes: int
    buffer_before_minutes: int
    buffer_after_minutes: int
    fee: Money
    mode: VisitMode
    payment: PaymentMode


class PatientDetails(Model):
    """Whom the visit is for, where it is not the account's owner; a front desk may not know when they were born."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
    date_of_birth: date | None = None
    relation: Annotated[str, StringConstraints(min_length=1, max_length=40, strip_whitespace=True)]


class Intake(Model):
    """What a patient tells when booking; stored sealed under the patient's clinical key."""

    patient: PatientDetails | None = None
    reason: Annotated[str, StringConstraints(max_length=1000)] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to seal."""
        return self.patient is None and self.reason is None


class ClaimRef(Model):
    """Names a claim: one appointment's time, or its seat in a session."""

    tenant_id: Id
    appointment_id: Id
    practitioner_id: Id
    provider_id: Id
    service_id: Id
    start: UtcDatetime
    capacity: int | None = None


class VisitTime(Model):
    """When a visit is, `claim_start` to `claim_end` with its buffers; `capacity` is None where nobody else comes."""

    start: UtcDatetime
    end: UtcDatetime
    claim_start: UtcDatetime
    claim_end: UtcDatetime
    capacity: int | None = None


class Standing(Model):
    """Where a booking stands when its workflow begins: at its very start, or where one that was lost has left it."""

    state: AppointmentState
    payment_state: PaymentState
    order_id: Id | None = None
    payment: PaymentFact | None = None
    """What has settled it."""
    steps: int = 0
    """No fewer than were taken: each has a name of its own."""


class PlaceBooking(Model):
    """The whole command to place one booking: ids and times only, no personal data.

    `claim_start` and `claim_end` are the visit with its buffers; `capacity` is None where the time is the patient's
    alone; `body_hash` tells a retry from another request under the same key.
    """

    appointment_id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    practitioner_id: Id
    subject_id: Id
    actor: Actor
    body_hash: str
    service: ServiceSnapshot
    start: UtcDatetime
    end: UtcDatetime
    claim_start: UtcDatetime
    claim_end: UtcDatetime
    capacity: int | None = None
    timezone: ZoneName
    policy: TenantPolicy
    policy_version: int
    has_intake: bool = False
    dependant_id: Id | None = None
    """Whom it is for, if that is somebody whom the account books for; an id says nothing of anybody."""
    standing: Standing | None = None
    """Where it was placed before, and only its workflow was lost."""

    @property
    def begins(self) -> Standing:
        """Where its workflow begins."""
        return self.standing or Standing(state=AppointmentState.HELD, payment_state=self.first_payment_state)

    @property
    def needs_payment(self) -> bool:
        """Whether the slot is only held until money has come."""
        return self.service.payment is PaymentMode.ONLINE and self.service.fee.amount > 0

    @property
    def first_payment_state(self) -> PaymentState:
        """The payment state a booking starts with."""
        if self.needs_payment:
            return PaymentState.PENDING
        at_clinic = self.service.payment is PaymentMode.AT_CLINIC
        return PaymentState.DUE_AT_CLINIC if at_clinic else PaymentState.NOT_REQUIRED

    @property
    def closes_at(self) -> UtcDatetime:
        """When nothing more is expected of the visit: its end and the tenant's grace for the day."""
        return self.end + timedelta(hours=self.policy.day_grace_hours)

    @property
    def no_show_at(self) -> UtcDatetime:
        """When a patient who has not come is taken not to come any more."""
        return min(self.start + timedelta(minutes=self.policy.no_show_grace_minutes), self.closes_at)

    def at(self, time: VisitTime) -> PlaceBooking:
        """The same booking at another time."""
        return self.model_copy(update={name: getattr(time, name) for name in VisitTime.model_fields})

    @property
    def claim(self) -> ClaimRef:
        """The claim that this booking takes."""
        return ClaimRef(
            tenant_id=self.tenant_id,
            appointment_id=self.appointment_id,
            practitioner_id=self.practitioner_id,
            provider_id=self.provider_id,
            service_id=self.service.id,
            start=self.start,
            capacity=self.capacity,
        )


class HoldSlot(Model):
    """The first step: take the tentative claim over and write the appointment."""

    command: PlaceBooking
    at: UtcDatetime
    deadline: UtcDatetime | None
    expires_at: UtcDatetime | None
    waiting_for: WaitingFor


class Placed(Model):
    """The outcome of placing; `refusal` says why nothing was booked."""

    body_hash: str
    refusal: Code | None = None


class Cancel(Model):
    """Cancel one appointment; a clinic's cancellation gives everything back.

    With `only_at` only as long as its visit begins then: whoever has moved it meanwhile keeps it.
    """

    actor: Actor
    only_at: UtcDatetime | None = None


class RefundOutcome(Model):
    """What became of the money: a refund of ours, or `voided` where it was only authorized."""

    id: str | None = None
    amount: int = 0
    state: RefundState | PaymentState


class Cancelled(Model):
    """The outcome of cancelling; `conflict` where the state did not allow it."""

    state: AppointmentState
    conflict: bool = False
    refund: RefundOutcome | None = None


class Advance(Model):
    """One change of an appointment: state, payment state and event in a single conditional update.

    `event_id` makes it happen once; `sources` are the states from which it may; `captured_added` are the paise that
    this step adds to what was captured for the appointment. `moved_to` is the visit's new time, `closes_at` when its
    day is over then.
    """

    tenant_id: Id
    appointment_id: Id
    event: EventType
    event_id: Id
    at: UtcDatetime
    actor: Actor = SYSTEM
    to: AppointmentState | None = None
    sources: frozenset[AppointmentState] = frozenset(AppointmentState)
    payment_state: PaymentState | None = None
    payment_id: str | None = None
    captured_added: int = Field(default=0, ge=0)
    waiting_for: WaitingFor | None = None
    moved_to: VisitTime | None = None
    closes_at: UtcDatetime | None = None


class Cancellation(Model):
    """Who has cancelled, and when: what becomes of the money depends on it."""

    by: ActorKind
    at: UtcDatetime


class Advanced(Model):
    """Whether the appointment stands where the step wanted it (now or from an earlier try), and where it stands."""

    applied: bool
    state: AppointmentState
    payment_state: PaymentState
    cancelled: Cancellation | None = None
    """How it was cancelled, where it is: maybe by a step that its workflow does not remember."""


class HistoryEntry(Model):
    """One step of an appointment's life; `start` is the time that the visit was moved to by it."""

    state: AppointmentState
    at: UtcDatetime
    by: ActorKind
    event: EventType
    start: UtcDatetime | None = None


def cancellation(history: Iterable[HistoryEntry]) -> Cancellation | None:
    """How an appointment with that history was cancelled; None where it was not."""
    ends = [one for one in history if one.event is EventType.CANCELLED]
    return Cancellation(by=ends[-1].by, at=ends[-1].at) if ends else None


class RefundEntry(Model):
    """A refund as the appointment shows it."""

    id: Id
    amount: int
    state: RefundState
    reason: RefundReason
    payment_id: Id
    note: str | None = None


class Appointment(Model):
    """An appointment as it is stored, its sealed parts opened where the reader may see them."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    practitioner_id: Id
    subject_id: Id
    service: ServiceSnapshot
    start: UtcDatetime
    end: UtcDatetime
    timezone: str
    state: AppointmentState
    payment_state: PaymentState
    version: int
    body_hash: str
    policy: TenantPolicy
    deadline: UtcDatetime | None
    order_id: str | None
    payment_id: str | None
    captured: int
    refund_reserved: int
    refunds: tuple[RefundEntry, ...]
    waiting_for: WaitingFor | None
    history: tuple[HistoryEntry, ...]
    closes_at: UtcDatetime
    created_at: UtcDatetime
    updated_at: UtcDatetime
    intake: Intake | None = None
    intake_erased: bool = False
    capacity: int | None = None
    dependant_id: Id | None = None
    """As in `PlaceBooking`; None also where nobody kept that yet."""

    @property
    def claim(self) -> ClaimRef:
        """The claim on the practitioner's time."""
        return ClaimRef(
            tenant_id=self.tenant_id,
            appointment_id=self.id,
            practitioner_id=self.practitioner_id,
            provider_id=self.provider_id,
            service_id=self.service.id,
            start=self.start,
            capacity=self.capacity,
        )


class AppointmentQuery(Model):
    """Filters of a list; `start_from` and `start_to` bound the start, half-open (UTC)."""

    state: AppointmentState | None = None
    provider_id: Id | None = None
    subject_id: Id | None = None
    start_from: UtcDatetime | None = None
    start_to: UtcDatetime | None = None
    limit: int = Field(default=20, ge=1, le=100)


class Event(Model):
    """One entry of an aggregate's outbox: ids and names only."""

    id: Id
    type: EventType
    at: UtcDatetime
    actor: Actor
    tenant_id: Id
    clinic_id: Id
    appointment_id: Id
    subject_id: Id
    state: AppointmentState
    payment_state: PaymentState
    version: int
