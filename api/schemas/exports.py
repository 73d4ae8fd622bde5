"""Exports over the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from models.base import UtcDatetime
from models.exports import Export, ExportState


class ExportView(BaseModel):
    """How an export stands; a link, a size and a digest once it may be fetched."""

    id: str
    state: ExportState
    requested_at: UtcDatetime
    due_at: UtcDatetime = Field(description="By when it is ready.")
    download_url: str | None = Field(description="Good for fifteen minutes; ask again for a fresh one.")
    size: int | None = Field(description="Bytes of the ZIP file.")
    sha256: str | None = Field(description="Of the ZIP file.")
    expires_at: UtcDatetime | None = Field(description="When the file is removed.")

    @classmethod
    def of(cls, export: Export, link: str | None) -> ExportView:
        """An export, and where its file may be fetched."""
        now = datetime.now(UTC)
        is_open = export.is_open(now)
        return cls(
            id=export.id,
            state=export.shown_state(now),
            requested_at=export.requested_at,
            due_at=export.due_at,
            download_url=link,
            size=export.size if is_open else None,
            sha256=export.sha256 if is_open else None,
            expires_at=export.expires_at if is_open else None,
        )
