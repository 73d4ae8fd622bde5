"""Visits that have come as far as the consultation, and what was written of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from adapters.mongo.repositories import Repositories
from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO
from models.booking import ActorKind, Advance, Appointment, AppointmentState, EventType, Intake, PatientDetails
from models.consultation import (
    DoctorOnRecord,
    PatientOnRecord,
    PlaceOnRecord,
    PrescriptionItem,
    Record,
    Summary,
    SummaryVersion,
)
from models.documents import Contents, Document, DocumentKind
from models.identity import Tenant
from models.ids import random_id
from models.providers import Registration
from tests.api.conftest import a_booking, confirm, hold, reread

_DAYS = count(1)
_STEPS = (
    (AppointmentState.CHECKED_IN, EventType.CHECKED_IN),
    (AppointmentState.IN_CONSULTATION, EventType.CONSULTATION_STARTED),
    (AppointmentState.COMPLETED, EventType.COMPLETED),
)


async def bring_to(stores: Repositories, appointment: Appointment, state: AppointmentState) -> Appointment:
    """Let a confirmed visit come as far as `state`, as its workflow would."""
    for to, event in _STEPS:
        step = Advance(
            tenant_id=appointment.tenant_id,
            appointment_id=appointment.id,
            event=event,
            event_id=random_id("evt"),
            at=datetime.now(UTC),
            to=to,
        )
        assert (await stores.appointments.advance(Tenant(appointment.tenant_id), step)).applied
        if to is state:
            break
    return await reread(stores, appointment.id)


async def a_visit(
    stores: Repositories, state: AppointmentState, *, subject: str | None = None, **details: object
) -> Appointment:
    """A visit of the seed's doctor that has come so far, each on a day of its own."""
    start = datetime(2032, 1, 1, 5, 0, tzinfo=UTC) + timedelta(days=next(_DAYS))
    command = a_booking(ANANYA_RAO, subject or ACCOUNTS["patient"].id, start)
    intake = Intake(patient=PatientDetails.model_validate(details)) if details else Intake()
    held = await hold(stores, command, random_id("order"), intake)
    if state is AppointmentState.HELD:
        return held
    appointment = await confirm(stores, held, random_id("pay"))
    return appointment if state is AppointmentState.CONFIRMED else await bring_to(stores, appointment, state)


def a_report(appointment: Appointment, document_id: str, name: str) -> Document:
    """A document of an appointment, without its bytes."""
    return Document(
        **appointment.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id"}),
        id=document_id,
        appointment_id=appointment.id,
        kind=DocumentKind.LAB_REPORT,
        media_type="application/pdf",
        size=1000,
        scanned_by="tests",
        by=ActorKind.PATIENT,
        author_id=appointment.subject_id,
        at=datetime(2031, 1, 7, 5, 0, tzinfo=UTC),
        contents=Contents(name=name, sha256="ab" * 32, size=1000, key=b"k" * 32),
    )


def a_summary(appointment: Appointment, **words: object) -> SummaryVersion:
    """The first version of an appointment's summary."""
    item = PrescriptionItem(medicine="Paracetamol 500 mg tablet", dose="1", frequency="1-0-1", duration="3 days")
    summary = Summary.model_validate({"notes": "Rest", "prescription": (item,), **words})
    return SummaryVersion(
        **appointment.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id"}),
        appointment_id=appointment.id,
        version=1,
        author_id="usr_doctor",
        at=datetime(2031, 1, 7, 5, 0, tzinfo=UTC),
        record=Record(
            summary=summary,
            patient=PatientOnRecord(name="Nirmala Joshi", age_years=41),
            doctor=DoctorOnRecord(
                name="Dr. Ananya Rao",
                registration=Registration(council="Karnataka Medical Council", number="KMC 1", year=2009),
            ),
            place=PlaceOnRecord(
                clinic="Arogya", address="12 100 Feet Road", timezone="Asia/Kolkata", seen_at=appointment.start
            ),
        ),
    )
