"""The visit over the wire: moving it, and what the front desk and the doctor say of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.identity import Phone
from api.schemas.values import Date, Instant, Line, Text, plausible_birth
from models.base import Id, Model
from models.booking import Intake, PatientDetails
from models.dependants import ONESELF


class Override(Model):
    """Why the clinic grants a time outside its hours or without notice; stored sealed, its use audited."""

    reason: Annotated[Text, StringConstraints(max_length=500)]


class RescheduleAppointment(Model):
    """Another time for the same visit."""

    start: Instant
    override: Override | None = Field(
        default=None, description="Clinics only: hours and notice do not bind; what is taken stays taken."
    )


class WalkInPatient(Model):
    """Whoever stands at the desk; with a phone the visit is on their account, whether they have one yet or not."""

    name: Annotated[Line, StringConstraints(max_length=120)]
    phone: Phone | None = None
    date_of_birth: Annotated[Date, AfterValidator(plausible_birth)] | None = None
    relation: Annotated[Line, StringConstraints(max_length=40)] = Field(
        default=ONESELF, description="To whose phone it is."
    )

    @property
    def details(self) -> PatientDetails:
        """Who it is, as the booking keeps them."""
        return PatientDetails(**self.model_dump(exclude={"phone"}))


class ReceiveWalkIn(Model):
    """A patient without an appointment."""

    provider_id: Id
    service_id: Id
    patient: WalkInPatient
    start: Instant | None = Field(default=None, description="Absent: the next free time; with an override: now.")
    reason: Annotated[Text, StringConstraints(max_length=1000)] | None = None
    override: Override | None = Field(default=None, description="Hours do not bind; what is taken stays taken.")

    @property
    def intake(self) -> Intake:
        """What is stored sealed."""
        return Intake(patient=self.patient.details, reason=self.reason)


class Arrival(Model):
    """A patient's arrival, or their leaving."""

    paid: bool = Field(default=False, description="The fee that was due at the clinic has been paid there.")
