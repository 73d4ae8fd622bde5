"""What came of a visit: the doctor's summary with its prescription, kept in versions of which none is ever changed.

A version carries who the patient was, who the doctor was and under which registration, and where they met, as they
were on that day: a record of care must say so by itself (Telemedicine Practice Guidelines 2020, 3.2 and 3.7.1), and it
is kept longer than the accounts that it speaks of.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, model_validator

from models.base import Id, Model, UtcDatetime, ZoneName
from models.booking import Appointment, AppointmentState
from models.identity import Account
from models.providers import Clinic, Provider, Registration

MOST_ITEMS: Final = 50
"""How many lines a prescription has at most."""

WRITABLE: Final = frozenset({AppointmentState.IN_CONSULTATION, AppointmentState.COMPLETED})
"""The states in which a doctor may write: from the beginning of the consultation on, for good."""

NOTHING_YET: Final = 0
"""The version of a summary that nobody has written."""

_LINE: Final = r"^[^\x00-\x1f\x7f]*$"
_TEXT: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
ShortLine = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=_LINE)]
LongLine = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=_LINE)]
Diagnosis = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=_TEXT)]
Notes = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000, pattern=_TEXT)]
AgeYears = Annotated[int, Field(ge=0, le=130, strict=True)]


class PrescriptionItem(Model):
    """One line of a prescription."""

    medicine: LongLine = Field(description="Name, form and strength, like `Paracetamol 500 mg tablet`.")
    dose: ShortLine | None = Field(default=None, description="How much at a time.")
    frequency: ShortLine | None = Field(default=None, description="How often, like `1-0-1` or `every 8 hours`.")
    duration: ShortLine | None = Field(default=None, description="For how long.")
    instructions: LongLine | None = Field(default=None, description="How to take it, like `after food`.")

    @model_validator(mode="before")
    @classmethod
    def _as_one_writes_it(cls, value: object) -> object:
        """A plain line is the medicine."""
        return {"medicine": value} if isinstance(value, str) else value


class Summary(Model):
    """What the doctor writes."""

    notes: Notes
    diagnosis: Diagnosis | None = None
    prescription: tuple[PrescriptionItem, ...] = Field(default=(), max_length=MOST_ITEMS)
    follow_up_on: date | None = None


class PatientOnRecord(Model):
    """The least that identifies the patient of a record; what nobody has told is None."""

    name: ShortLine | None = None
    date_of_birth: date | None = None
    age_years: AgeYears | None = None
    phone: str | None = None

    def age_on(self, day: date) -> int | None:
        """Completed years on that day; else the age that was told."""
        born = self.date_of_birth
        if born is None:
            return self.age_years
        return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


class DoctorOnRecord(Model):
    """Who wrote a record, with the registration that lets anybody verify them."""

    name: str
    registration: Registration


class PlaceOnRecord(Model):
    """Where and when the patient was seen."""

    clinic: str
    address: str
    timezone: ZoneName
    seen_at: UtcDatetime

    @property
    def day(self) -> date:
        """The day of the visit on the clinic's clock."""
        return self.seen_at.astimezone(ZoneInfo(self.timezone)).date()


class Record(Model):
    """Everything of one version that is personal; sealed as one under the patient's clinical key."""

    summary: Summary
    patient: PatientOnRecord
    doctor: DoctorOnRecord
    place: PlaceOnRecord


class SummaryVersion(Model):
    """One version of a visit's summary; `record` is None where the patient's key was destroyed."""

    appointment_id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    subject_id: Id
    version: int = Field(ge=1)
    author_id: Id
    at: UtcDatetime
    record: Record | None


def record_of(
    summary: Summary,
    told: PatientOnRecord,
    appointment: Appointment,
    account: Account | None,
    known: tuple[Provider, Clinic],
) -> Record:
    """The record of a visit: what is known counts, what the doctor was told fills the gaps."""
    provider, clinic = known
    intake = appointment.intake.patient if appointment.intake is not None else None
    own = account if intake is None else None
    patient = PatientOnRecord(
        name=intake.name if intake is not None else (own.name if own is not None else None) or told.name,
        date_of_birth=intake.date_of_birth if intake is not None else None,
        age_years=None if intake is not None else told.age_years,
        phone=account.phone if account is not None else None,
    )
    return Record(
        summary=summary,
        patient=patient,
        doctor=DoctorOnRecord(name=provider.name, registration=provider.registration),
        place=PlaceOnRecord(
            clinic=clinic.name, address=clinic.address, timezone=appointment.timezone, seen_at=appointment.start
        ),
    )
