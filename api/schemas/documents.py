"""Documents of a visit over the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from models.base import Id, Model, UtcDatetime
from models.booking import ActorKind
from models.documents import Document, DocumentKind, Sha256


class DocumentFromUpload(Model):
    """A file that was uploaded in pieces becomes a document."""

    upload_id: Id
    kind: DocumentKind
    name: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Absent: the upload's `filename`."
    )
    sha256: Sha256 | None = Field(default=None, description="Where given, a file that arrived otherwise is refused.")


class DocumentView(BaseModel):
    """A document; its name and digest are null where they were erased."""

    id: str
    name: str | None
    size: int
    sha256: str | None
    kind: DocumentKind
    media_type: str
    added_by: ActorKind
    added_at: UtcDatetime
    erased: bool

    @classmethod
    def of(cls, document: Document) -> DocumentView:
        """One document."""
        contents = document.contents
        return cls(
            id=document.id,
            name=contents.name if contents is not None else None,
            size=document.size,
            sha256=contents.sha256 if contents is not None else None,
            kind=document.kind,
            media_type=document.media_type,
            added_by=document.by,
            added_at=document.at,
            erased=contents is None,
        )


class DocumentPage(BaseModel):
    """A visit's documents, oldest first; there are few enough for one page."""

    items: list[DocumentView]
    next_cursor: None = None
