"""What came of a visit, and every method of the repositories that keep it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from adapters.mongo.repositories import Repositories
from models.booking import PlaceBooking
from models.consultation import (
    DoctorOnRecord,
    PatientOnRecord,
    PlaceOnRecord,
    PrescriptionItem,
    Record,
    Summary,
    SummaryVersion,
)
from models.identity import Scope, System
from models.providers import Registration
from tests.adapters.mongo.builders import DAY

_WORLD: Final = System("the tests' world")

Call = Callable[[Scope], Awaitable[object]]


@dataclass(frozen=True)
class Visit:
    """An appointment's records."""

    written: SummaryVersion


def a_record(**changes: object) -> Record:
    """What a doctor has written."""
    fields: dict[str, object] = {
        "summary": Summary(notes="Rest", prescription=(PrescriptionItem(medicine="Paracetamol 500 mg", dose="1"),)),
        "patient": PatientOnRecord(name="Nirmala Joshi", age_years=41, phone="+919812345678"),
        "doctor": DoctorOnRecord(
            name="Dr. Ananya Rao", registration=Registration(council="Karnataka", number="KMC 1", year=2009)
        ),
        "place": PlaceOnRecord(clinic="Arogya", address="12 100 Feet Road", timezone="Asia/Kolkata", seen_at=DAY),
    }
    return Record.model_validate({**fields, **changes})


def a_version(command: PlaceBooking, number: int = 1, **changes: object) -> SummaryVersion:
    """One version of an appointment's summary."""
    fields: dict[str, object] = {
        "appointment_id": command.appointment_id,
        **command.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id"}),
        "version": number,
        "author_id": "usr_doctor",
        "at": DAY,
        "record": a_record(),
    }
    return SummaryVersion.model_validate({**fields, **changes})


async def a_visit(stores: Repositories, command: PlaceBooking) -> Visit:
    """Put its records there."""
    written = a_version(command)
    await stores.consultations.add(_WORLD, written)
    return Visit(written)


def of_visits(stores: Repositories, visit: Visit) -> dict[str, Call]:
    """Methods on the records of one visit."""
    consultations, one = stores.consultations, visit.written
    following = one.model_copy(update={"version": 2})
    return {
        "consultations.add": lambda scope: consultations.add(scope, following),
        "consultations.newest": lambda scope: consultations.newest(scope, one.appointment_id),
        "consultations.find": lambda scope: consultations.find(scope, one.appointment_id, 1),
        "consultations.before": lambda scope: consultations.before(scope, one.appointment_id, 9, 5),
    }
