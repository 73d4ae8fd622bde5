"""Appointments over the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from api.schemas.payments import RefundView
from api.schemas.providers import ClinicView, ProviderRef
from api.schemas.values import Date, Instant, Line, Text, plausible_birth
from models.base import Id, Model, UtcDatetime
from models.booking import ActorKind, AppointmentState, EventType, Intake, PatientDetails, WaitingFor
from models.booking_view import Action, CancelTerms
from models.money import Money
from models.payments import PaymentState, RefundState
from models.providers import PaymentMode, VisitMode


class PatientInput(Model):
    """Whom the visit is for, where it is not the account's owner."""

    name: Annotated[Line, StringConstraints(max_length=120)]
    date_of_birth: Annotated[Date, AfterValidator(plausible_birth)]
    relation: Annotated[Line, StringConstraints(max_length=40)]


class DependantRef(Model):
    """One of those whom the account's owner books for."""

    dependant_id: Id


class PlaceAppointment(Model):
    """A request to book; the time must be one that `GET /providers/{id}/slots` lists."""

    provider_id: Id
    service_id: Id
    start: Instant
    patient: PatientInput | DependantRef | None = Field(default=None, description="Absent: for oneself.")
    reason: Annotated[Text, StringConstraints(max_length=1000)] | None = None

    @property
    def details(self) -> PatientDetails | None:
        """Whom it is for, where they are described rather than named by their id."""
        return PatientDetails(**self.patient.model_dump()) if isinstance(self.patient, PatientInput) else None

    def intake(self, dependant: PatientDetails | None) -> Intake:
        """What is stored sealed; `dependant` is the one that was named, as they are known now."""
        return Intake(patient=self.details or dependant, reason=self.reason)


class CancelAppointment(Model):
    """Why somebody cancels; stored sealed."""

    reason: Annotated[Text, StringConstraints(max_length=500)]


class ServiceRef(BaseModel):
    """The service as it was booked."""

    id: str
    name: str
    duration_minutes: int
    fee: Money
    mode: VisitMode
    payment: PaymentMode


class PaymentView(BaseModel):
    """What there is to pay until when, and where."""

    status: Literal["preparing", "ready"]
    order_id: str | None = Field(description="The gateway's order; null while `preparing`.")
    key_id: str = Field(description="The merchant's key id that Checkout is opened with.")
    amount: Money
    deadline: UtcDatetime
    checkout_url: str | None = Field(description="A page where it can be paid; null while `preparing`.")


class PatientView(BaseModel):
    """Whom the visit is for."""

    name: str
    date_of_birth: Date | None
    relation: str


class HistoryView(BaseModel):
    """One step of an appointment's life."""

    state: AppointmentState
    at: UtcDatetime
    by: ActorKind
    event: EventType
    start: UtcDatetime | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="The time that the visit was moved to, where it was.",
    )


class AppointmentView(BaseModel):
    """An appointment as one caller may see it now."""

    id: str
    reference: str = Field(description="What a person reads out at the front desk.")
    state: AppointmentState
    payment_state: PaymentState
    provider: ProviderRef
    clinic: ClinicView
    service: ServiceRef
    start: UtcDatetime
    end: UtcDatetime
    timezone: str = Field(description="IANA zone of the clinic.")
    version: int = Field(description="Rises with each change.")
    payment: PaymentView | None = Field(description="Null unless the time is held for a payment.")
    policy: CancelTerms
    refunds: list[RefundView]
    actions: list[Action] = Field(description="What this caller may do now.")
    waiting_for: WaitingFor | None
    patient: PatientView | None = Field(description="Null: the reader's own visit, or erased.")
    reason: str | None
    history: list[HistoryView]
    server_time: UtcDatetime


class AppointmentPage(BaseModel):
    """One page of appointments, newest first."""

    items: list[AppointmentView]
    next_cursor: str | None


class CancelRefund(BaseModel):
    """What became of the money: a refund, or `voided` without an id where it was only authorized."""

    id: str | None = Field(default=None, exclude_if=lambda value: value is None)
    amount: Money | None = Field(default=None, exclude_if=lambda value: value is None)
    state: RefundState | Literal[PaymentState.VOIDED]


class CancelledView(AppointmentView):
    """A cancelled appointment and its refund; null where nothing had been paid or nothing goes back."""

    refund: CancelRefund | None


class TicketView(BaseModel):
    """A ticket for one stream of events."""

    ticket: str
    expires_at: UtcDatetime
