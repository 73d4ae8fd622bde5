"""What came of a visit, and every method of the repositories that keep it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from adapters.mongo.repositories import Repositories
from models.booking import ActorKind, PlaceBooking
from models.consultation import (
    DoctorOnRecord,
    PatientOnRecord,
    PlaceOnRecord,
    PrescriptionItem,
    Record,
    Summary,
    SummaryVersion,
)
from models.documents import Contents, Document, DocumentKind, Piece, Upload, UploadSecrets
from models.identity import Scope, System
from models.providers import Registration
from tests.adapters.mongo.builders import DAY, minutes, new

_WORLD: Final = System("the tests' world")
DIGEST: Final = "dig_of_a_file"

Call = Callable[[Scope], Awaitable[object]]


@dataclass(frozen=True)
class Visit:
    """An appointment's records."""

    written: SummaryVersion
    stored: Document
    storing: Document
    upload: Upload


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


def a_document(command: PlaceBooking, **changes: object) -> Document:
    """A report that somebody has handed in."""
    fields: dict[str, object] = {
        "id": new("doc"),
        "appointment_id": command.appointment_id,
        **command.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id"}),
        "kind": DocumentKind.LAB_REPORT,
        "media_type": "application/pdf",
        "size": 1000,
        "scanned_by": "tests",
        "by": ActorKind.PATIENT,
        "author_id": "usr_patient",
        "at": DAY,
        "contents": Contents(name="Blood of Nirmala.pdf", sha256="ab" * 32, size=1000, key=b"k" * 32),
    }
    return Document.model_validate({**fields, **changes})


def an_upload(**changes: object) -> Upload:
    """A file on its way."""
    fields: dict[str, object] = {
        "id": new("upl"),
        "tenant_id": "ten_a",
        "subject_id": new("usr"),
        "length": 100,
        "expires_at": DAY + minutes(60),
        "secrets": UploadSecrets(name="Blood of Nirmala.pdf", key=b"k" * 32),
    }
    return Upload.model_validate({**fields, **changes})


def a_piece(offset: int, size: int) -> Piece:
    """Bytes that have arrived."""
    return Piece(name=f"uploads/{new('piece')}", offset=offset, size=size)


async def a_visit(stores: Repositories, command: PlaceBooking) -> Visit:
    """Put its records there."""
    written, stored, storing, upload = a_version(command), a_document(command), a_document(command), an_upload()
    await stores.consultations.add(_WORLD, written)
    for document in (stored, storing):
        await stores.documents.begin(_WORLD, document)
    assert await stores.documents.keep(_WORLD, stored.id, DIGEST)
    await stores.uploads.open(_WORLD, upload)
    return Visit(written, stored, storing, upload)


def of_visits(stores: Repositories, visit: Visit) -> dict[str, Call]:
    """Methods on the records of one visit."""
    consultations, one = stores.consultations, visit.written
    following = one.model_copy(update={"version": 2})
    return {
        "consultations.add": lambda scope: consultations.add(scope, following),
        "consultations.newest": lambda scope: consultations.newest(scope, one.appointment_id),
        "consultations.find": lambda scope: consultations.find(scope, one.appointment_id, 1),
        "consultations.before": lambda scope: consultations.before(scope, one.appointment_id, 9, 5),
        **_on_documents(stores, visit),
        **_on_uploads(stores, visit.upload),
    }


def _on_documents(stores: Repositories, visit: Visit) -> dict[str, Call]:
    documents, one, far = stores.documents, visit.stored, DAY + minutes(600)
    another = one.model_copy(update={"id": new("doc")})
    return {
        "documents.begin": lambda scope: documents.begin(scope, another),
        "documents.keep": lambda scope: documents.keep(scope, visit.storing.id, new("dig")),
        "documents.find": lambda scope: documents.find(scope, one.id),
        "documents.by_digest": lambda scope: documents.by_digest(scope, one.appointment_id, DIGEST),
        "documents.of_appointment": lambda scope: documents.of_appointment(scope, one.appointment_id),
        "documents.abandoned": lambda scope: documents.abandoned(scope, far, 5),
        "documents.remove": lambda scope: documents.remove(scope, visit.storing.id),
    }


def _on_uploads(stores: Repositories, upload: Upload) -> dict[str, Call]:
    uploads, another = stores.uploads, upload.model_copy(update={"id": new("upl")})
    return {
        "uploads.open": lambda scope: uploads.open(scope, another),
        "uploads.find": lambda scope: uploads.find(scope, upload.id),
        "uploads.add": lambda scope: uploads.add(scope, upload.id, a_piece(0, 10)),
        "uploads.finish": lambda scope: uploads.finish(scope, upload.id, "doc_1"),
        "uploads.expired": lambda scope: uploads.expired(scope, DAY + minutes(600), 5),
        "uploads.remove": lambda scope: uploads.remove(scope, upload.id),
    }
