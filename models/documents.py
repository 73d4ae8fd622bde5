"""Documents of a visit: reports and pictures that the patient or the clinic adds, each under a key of its own."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime
from models.booking import ActorKind, AppointmentState
from models.files import MAX_UPLOAD_BYTES

KEY_BYTES: Final = 32
MOST_DOCUMENTS: Final = 50
"""How many documents one visit has at most."""

MOST_PIECES: Final = 500
"""In how many pieces one upload may come; each is an object of its own until the file is whole."""

PIECE_BYTES: Final = 1024 * 1024
"""The largest piece of an upload that is held in memory."""

UPLOAD_LIFETIME: Final = timedelta(hours=24)
STORING_PATIENCE: Final = timedelta(hours=1)
"""Whoever began to store a document is given this long to end."""

LINK_LIFETIME: Final = timedelta(minutes=5)

ADDABLE: Final = frozenset(
    {
        AppointmentState.CONFIRMED,
        AppointmentState.CHECKED_IN,
        AppointmentState.IN_CONSULTATION,
        AppointmentState.COMPLETED,
    }
)
"""The states of a visit to which documents may be added: as long as it is to take place, and for good after it."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DocumentKind(StrEnum):
    """What a document is to whoever looks for it."""

    LAB_REPORT = "lab_report"
    REPORT = "report"
    SCAN = "scan"
    IMAGING = "imaging"
    PRESCRIPTION = "prescription"
    DISCHARGE_SUMMARY = "discharge_summary"
    REFERRAL = "referral"
    OTHER = "other"


class Contents(Model):
    """What of a document is sealed under the patient's clinical key; `size` too, so that no end can be cut off."""

    name: str
    sha256: Sha256
    size: int = Field(ge=1, le=MAX_UPLOAD_BYTES)
    key: bytes = Field(min_length=KEY_BYTES, max_length=KEY_BYTES, repr=False)


class Document(Model):
    """A document of a visit; `contents` is None where the patient's key was destroyed."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    subject_id: Id
    appointment_id: Id
    kind: DocumentKind
    media_type: str
    size: int = Field(ge=1, le=MAX_UPLOAD_BYTES)
    scanned_by: str
    by: ActorKind
    author_id: Id
    at: UtcDatetime
    contents: Contents | None


class Piece(Model):
    """Some bytes of an upload that have arrived, and the object that they lie in."""

    name: str
    offset: int = Field(ge=0)
    size: int = Field(ge=1, le=PIECE_BYTES)


class UploadSecrets(Model):
    """What of an upload is sealed under the key of whoever uploads."""

    name: str
    key: bytes = Field(min_length=KEY_BYTES, max_length=KEY_BYTES, repr=False)


class Upload(Model):
    """A file on its way (tus 1.0): its owner may go on where it was broken off, until it expires."""

    id: Id
    tenant_id: Id
    subject_id: Id
    length: int = Field(ge=1, le=MAX_UPLOAD_BYTES)
    offset: int = Field(default=0, ge=0)
    pieces: tuple[Piece, ...] = ()
    expires_at: UtcDatetime
    document_id: Id | None = None
    """What has become of it."""
    secrets: UploadSecrets | None

    @property
    def is_whole(self) -> bool:
        """Whether every byte has arrived."""
        return self.offset == self.length
