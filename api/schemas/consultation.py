"""The summary of a visit over the wire."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from api.schemas.values import Date
from models.base import Model, UtcDatetime
from models.consultation import (
    MOST_ITEMS,
    AgeYears,
    Diagnosis,
    Notes,
    PatientOnRecord,
    PrescriptionItem,
    ShortLine,
    Summary,
    SummaryVersion,
)
from models.errors import Code, VisitNowError
from models.providers import Registration


class ToldOfPatient(Model):
    """What the doctor was told of the patient; it fills what their account does not say."""

    name: ShortLine | None = None
    age_years: AgeYears | None = None


class SummaryInput(Model):
    """What the doctor writes."""

    notes: Notes
    diagnosis: Diagnosis | None = None
    prescription: Annotated[tuple[PrescriptionItem, ...], Field(max_length=MOST_ITEMS)] = ()
    follow_up_on: Date | None = None
    patient: ToldOfPatient = ToldOfPatient()

    @property
    def summary(self) -> Summary:
        """As it is kept."""
        return Summary(
            notes=self.notes,
            diagnosis=self.diagnosis,
            prescription=self.prescription,
            follow_up_on=self.follow_up_on,
        )

    @property
    def told(self) -> PatientOnRecord:
        """What fills the gaps."""
        return PatientOnRecord(name=self.patient.name, age_years=self.patient.age_years)


class PatientOfRecord(BaseModel):
    """Who the patient was; what nobody has told is null."""

    name: str | None
    age_years: int | None = Field(description="On the day of the visit.")


class DoctorOfRecord(BaseModel):
    """Who wrote it, with the registration that lets anybody verify them."""

    name: str
    registration: Registration


class SummaryView(BaseModel):
    """A version of a visit's summary."""

    appointment_id: str
    version: int = Field(description="The ETag to send back as If-Match with the next version.")
    written_at: UtcDatetime
    notes: str
    diagnosis: str | None
    prescription: list[PrescriptionItem]
    follow_up_on: date | None
    patient: PatientOfRecord
    doctor: DoctorOfRecord
    clinic: str
    seen_at: UtcDatetime
    timezone: str

    @classmethod
    def of(cls, version: SummaryVersion) -> SummaryView:
        """One version. Raises `erased` where its words are gone for good."""
        record = version.record
        if record is None:
            raise VisitNowError(Code.ERASED)
        return cls(
            appointment_id=version.appointment_id,
            version=version.version,
            written_at=version.at,
            **record.summary.model_dump(include={"notes", "diagnosis", "follow_up_on"}),
            prescription=list(record.summary.prescription),
            patient=PatientOfRecord(name=record.patient.name, age_years=record.patient.age_on(record.place.day)),
            doctor=DoctorOfRecord(name=record.doctor.name, registration=record.doctor.registration),
            clinic=record.place.clinic,
            seen_at=record.place.seen_at,
            timezone=record.place.timezone,
        )


class SummaryPage(BaseModel):
    """Versions of a summary, the one that stands first."""

    items: list[SummaryView]
    next_cursor: str | None
