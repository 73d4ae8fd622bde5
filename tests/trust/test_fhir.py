"""Visits as FHIR: valid whatever they say, and every bundle stands by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from adapters.export.fhir import InvalidResourceError, validated
from models import fhir
from models.booking import Appointment, AppointmentState, Intake, PatientDetails
from models.consultation import PrescriptionItem, Summary, SummaryVersion
from models.documents import Document
from models.identity import PLATFORM, Account, Role
from models.providers import VisitMode
from tests.adapters.mongo.builders import a_clinic, a_command, a_provider, a_service
from tests.adapters.mongo.visit_calls import a_document, a_record, a_version

DAY: Final = datetime(2031, 3, 3, 4, 30, tzinfo=UTC)
NAMED: Final = {"Patient", "Practitioner", "Appointment"}


def an_appointment(state: AppointmentState, mode: VisitMode, intake: Intake | None) -> Appointment:
    """A visit that has come so far."""
    command = a_command()
    fields = command.model_dump(
        include={
            "tenant_id", "clinic_id", "provider_id", "practitioner_id", "subject_id", "start", "end", "timezone",
            "body_hash", "policy",
        }
    )  # fmt: skip
    return Appointment.model_validate(
        {
            **fields,
            "id": command.appointment_id,
            "service": a_service().model_copy(update={"mode": mode}),
            "state": state,
            "payment_state": "captured",
            "version": 3,
            "deadline": None,
            "order_id": None,
            "payment_id": None,
            "captured": 0,
            "refund_reserved": 0,
            "refunds": (),
            "waiting_for": None,
            "history": (),
            "closes_at": DAY + timedelta(days=1),
            "created_at": DAY - timedelta(days=1, microseconds=1000),
            "updated_at": DAY,
            "intake": intake,
        }
    )


_WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(str.strip)
_ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
"""What somebody may have typed: nothing that can be seen, too."""
_DETAILS = st.builds(
    PatientDetails, name=_WORDS, date_of_birth=st.none() | st.dates(date(1920, 1, 1), date(2031, 1, 1)), relation=_WORDS
)
_INTAKES = st.none() | st.builds(Intake, patient=st.none() | _DETAILS, reason=st.none() | _ANYTHING)
_ITEMS = st.builds(
    PrescriptionItem, medicine=_WORDS, dose=st.none() | _WORDS, frequency=st.none() | _WORDS, instructions=st.none()
)
_NOTES = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t\r"), min_size=1).filter(
    str.strip
)
_SUMMARIES = st.none() | st.builds(
    Summary, notes=_NOTES, diagnosis=st.none() | _WORDS, prescription=st.lists(_ITEMS, max_size=3).map(tuple)
)
_ACCOUNTS = st.none() | st.builds(
    Account,
    id=st.just("usr_patient"),
    tenant_id=st.just(PLATFORM),
    roles=st.just(frozenset({Role.PATIENT})),
    name=st.none() | _ANYTHING,
    phone=st.none() | st.just("+919812345678"),
)


@st.composite
def visits(draw: st.DrawFn) -> fhir.Visit:
    """Visits with all or nothing of what may be known of them."""
    appointment = an_appointment(
        draw(st.sampled_from(AppointmentState)), draw(st.sampled_from(VisitMode)), draw(_INTAKES)
    )
    command = a_command(appointment_id=appointment.id, subject_id=appointment.subject_id)
    said = draw(_SUMMARIES)
    written: SummaryVersion | None = None if said is None else a_version(command, record=a_record(summary=said))
    clinic = a_clinic()
    documents: list[tuple[Document, str]] = [
        (a_document(command), "files/doc_1/a.pdf") for _ in range(draw(st.integers(0, 2)))
    ]
    known = draw(st.booleans())
    return fhir.Visit(
        appointment,
        draw(_ACCOUNTS),
        a_provider(clinic) if known else None,
        clinic.model_copy(update={"id": appointment.clinic_id}) if known else None,
        written,
        documents,
    )


def references(value: Any) -> set[str]:  # noqa: ANN401  JSON, whatever is in it
    """Everything that a resource names."""
    if isinstance(value, list):
        return set().union(*(references(one) for one in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
    return own.union(*(references(one) for one in value.values()))


@given(visits())
def test_whatever_a_visit_says_its_resources_are_valid_and_name_each_other(visit: fhir.Visit) -> None:
    entries = fhir.entries_of(visit)
    for one in entries:
        validated(one["resource"])
    assert {one["resource"]["resourceType"] for one in entries} >= NAMED
    assert references(entries) <= {one["fullUrl"] for one in entries}
    Bundle.model_validate({"resourceType": "Bundle", "type": "collection", "entry": entries})


def test_a_completed_visit_says_what_was_prescribed() -> None:
    appointment = an_appointment(AppointmentState.COMPLETED, VisitMode.IN_PERSON, Intake(reason="A twisted ankle"))
    command = a_command(appointment_id=appointment.id, subject_id=appointment.subject_id)
    item = PrescriptionItem(medicine="Paracetamol 500 mg", dose="1 tablet", frequency="1-0-1")
    said = Summary(notes="Rest <and> ice", diagnosis="Sprained ankle", prescription=(item,))
    visit = fhir.Visit(appointment, None, None, None, a_version(command, record=a_record(summary=said)), [])
    found = {one["resource"]["resourceType"]: one["resource"] for one in fhir.entries_of(visit)}
    assert found["Appointment"]["status"] == "fulfilled"
    assert found["Appointment"]["reasonCode"] == [{"text": "A twisted ankle"}]
    assert found["Encounter"]["status"] == "finished"
    assert "Rest &lt;and&gt; ice" in found["Encounter"]["text"]["div"]
    assert found["Condition"]["code"] == {"text": "Sprained ankle"}
    assert found["MedicationRequest"]["medicationCodeableConcept"] == {"text": "Paracetamol 500 mg"}
    assert found["MedicationRequest"]["dosageInstruction"] == [{"text": "1 tablet, 1-0-1"}]


def test_what_is_not_valid_is_refused_without_its_words() -> None:
    with pytest.raises(InvalidResourceError) as refused:
        validated({"resourceType": "Encounter", "status": "Qv-canary", "participant": "Qv-canary"})
    assert "Encounter" in str(refused.value)
    assert "Qv-canary" not in str(refused.value)
