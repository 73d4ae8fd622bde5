"""Files that nobody will ask for any more: uploads that were given up, documents whose storing broke off."""

from __future__ import annotations

from datetime import datetime

from models.documents import STORING_PATIENCE
from models.documents_ports import Documents, Files, Uploads
from models.identity import System

SWEEP = System("the upkeep removes what was given up")


class AbandonedFiles:
    """Removes them: first the bytes, then the record that says where they lie."""

    def __init__(self, documents: Documents, uploads: Uploads, files: Files) -> None:
        """Where their records are, and their bytes."""
        self._documents = documents
        self._uploads = uploads
        self._files = files

    async def forget(self, at: datetime, limit: int) -> int:
        """Remove at most `limit` of each kind; how many it were."""
        uploads = await self._uploads.expired(SWEEP, at, limit)
        for upload in uploads:
            await self._files.erase_pieces(upload.id)
            await self._uploads.remove(SWEEP, upload.id)
        documents = await self._documents.abandoned(SWEEP, at - STORING_PATIENCE, limit)
        for document in documents:
            await self._files.erase(document.id, document.size)
            await self._documents.remove(SWEEP, document.id)
        return len(uploads) + len(documents)
