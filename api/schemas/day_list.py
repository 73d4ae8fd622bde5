"""A clinic's day over the wire."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, Field

from api.schemas.booking import ServiceRef
from api.schemas.values import Date
from models.base import UtcDatetime
from models.booking import AppointmentState, Intake
from models.day_list import DoctorsDay, Entry
from models.ids import reference
from models.payments import PaymentState


class PatientName(BaseModel):
    """Who comes."""

    name: str | None = Field(description="Null where none was given, or it was erased.")
    date_of_birth: Date | None = Field(description="Of whom the account's owner booked for.")
    relation: str | None = Field(description="To the account's owner; null: they come themselves.")

    @classmethod
    def of(cls, intake: Intake | None, owner: str | None) -> PatientName:
        """The one that the visit is for, else the account's owner; nobody where it was erased who that was."""
        if intake is None:
            return cls(name=None, date_of_birth=None, relation=None)
        whom = intake.patient
        if whom is None:
            return cls(name=owner, date_of_birth=None, relation=None)
        return cls(name=whom.name, date_of_birth=whom.date_of_birth, relation=whom.relation)


class DayEntry(BaseModel):
    """One visit of the day."""

    id: str
    reference: str = Field(description="What a person reads out at the front desk.")
    token: int | None = Field(
        description="The number to call out; it never changes. Null: cancelled before it had one."
    )
    state: AppointmentState
    payment_state: PaymentState
    provider_id: str
    service: ServiceRef
    patient: PatientName
    start: UtcDatetime = Field(description="As planned.")
    end: UtcDatetime = Field(description="As planned.")
    checked_in_at: UtcDatetime | None
    started_at: UtcDatetime | None
    completed_at: UtcDatetime | None
    position: int | None = Field(description="In the doctor's queue, from 1; null for whoever is not waited for.")
    estimated_start: UtcDatetime | None = Field(description="When it will be their turn, as things stand now.")
    late_minutes: int | None = Field(description="How far that is behind `start`.")
    version: int

    @classmethod
    def of(cls, entry: Entry, patient: PatientName) -> DayEntry:
        """One line of the list."""
        visit, turn = entry.visit, entry.turn
        service = visit.service.model_dump(include=set(ServiceRef.model_fields))
        return cls(
            **visit.model_dump(include={"id", "state", "payment_state", "provider_id", "start", "end", "version"}),
            reference=reference(visit.id),
            token=entry.token,
            service=ServiceRef(**service),
            patient=patient,
            checked_in_at=visit.arrived_at,
            started_at=visit.began_at,
            completed_at=visit.ended_at,
            position=None if turn is None else turn.position,
            estimated_start=None if turn is None else turn.estimated_start,
            late_minutes=None if turn is None else turn.late_minutes,
        )


class DoctorView(BaseModel):
    """How a doctor's day goes."""

    provider_id: str
    name: str
    running_late_minutes: int = Field(description="How far behind the plan they are now.")
    now_serving: list[int] = Field(description="The tokens of those who are in.")
    waiting: int = Field(description="How many have checked in and wait.")
    expected: int = Field(description="How many have still to come.")

    @classmethod
    def of(cls, doctor: DoctorsDay, name: str) -> DoctorView:
        """A doctor's summary."""
        return cls(
            provider_id=doctor.provider_id,
            name=name,
            running_late_minutes=doctor.late_minutes,
            now_serving=list(doctor.in_consultation),
            waiting=doctor.waiting,
            expected=doctor.expected,
        )


class DayView(BaseModel):
    """A clinic's day: the visits by their planned start, and how each doctor's day goes."""

    clinic_id: str
    date: date
    timezone: str = Field(description="The clinic's IANA zone, in which `date` is.")
    providers: list[DoctorView]
    items: list[DayEntry]
    next_cursor: str | None
    server_time: UtcDatetime
