"""What documents ask of the outside, as `models.ports` does for the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Protocol

from models.documents import Contents, Document, Piece, Upload
from models.identity import Scope

Source = Callable[[], AsyncIterator[bytes]]
"""A file's bytes, from the beginning each time that it is called."""


class DamagedError(Exception):
    """What lies in object storage is not what was put there: something was changed, moved, cut off or lost."""


class Documents(Protocol):
    """The documents' records; their bytes are elsewhere."""

    async def begin(self, scope: Scope, document: Document) -> None:
        """Note that a document is being stored; nobody sees it yet."""
        ...

    async def keep(self, scope: Scope, document_id: str, digest: str) -> bool:
        """It is stored; False where the visit has a document of that digest already."""
        ...

    async def find(self, scope: Scope, document_id: str) -> Document | None:
        """One stored document, opened."""
        ...

    async def by_digest(self, scope: Scope, appointment_id: str, digest: str) -> Document | None:
        """A visit's stored document of that digest, opened."""
        ...

    async def of_appointment(self, scope: Scope, appointment_id: str) -> list[Document]:
        """A visit's stored documents, oldest first, opened."""
        ...

    async def abandoned(self, scope: Scope, before: datetime, limit: int) -> list[Document]:
        """Those whose storing was begun before that instant and never ended; not opened."""
        ...

    async def remove(self, scope: Scope, document_id: str) -> None:
        """Forget one that is not stored."""
        ...


class Uploads(Protocol):
    """Files on their way."""

    async def open(self, scope: Scope, upload: Upload) -> None:
        """Keep a new one."""
        ...

    async def find(self, scope: Scope, upload_id: str) -> Upload | None:
        """One of them, opened."""
        ...

    async def add(self, scope: Scope, upload_id: str, piece: Piece) -> bool:
        """Note the piece that follows; False where something else has arrived there."""
        ...

    async def finish(self, scope: Scope, upload_id: str, document_id: str) -> None:
        """Note what has become of it; its pieces are not needed any more."""
        ...

    async def expired(self, scope: Scope, before: datetime, limit: int) -> list[Upload]:
        """Those that expired before that instant; not opened."""
        ...

    async def remove(self, scope: Scope, upload_id: str) -> None:
        """Forget one."""
        ...


class Files(Protocol):
    """Object storage. Everything in it is sealed; whatever does not open raises `DamagedError`."""

    async def write(self, document_id: str, contents: Contents, source: AsyncIterator[bytes]) -> None:
        """Store a document's bytes. Raises ValueError where they are not as many as the contents say."""
        ...

    def read(self, document_id: str, contents: Contents, begin: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [begin, end) of a document."""
        ...

    async def erase(self, document_id: str, size: int) -> None:
        """Remove a document's objects; again is harmless."""
        ...

    async def put_piece(self, upload: Upload, offset: int, content: bytes) -> Piece:
        """Store some bytes of an upload under a name that no other try has."""
        ...

    def read_pieces(self, upload: Upload) -> AsyncIterator[bytes]:
        """All bytes of an upload."""
        ...

    async def drop_piece(self, piece: Piece) -> None:
        """Remove a piece that came second."""
        ...

    async def erase_pieces(self, upload_id: str) -> None:
        """Remove whatever lies there of an upload; again is harmless."""
        ...


class Scanner(Protocol):
    """What looks into a file before anybody opens it."""

    name: str

    async def is_clean(self, pieces: AsyncIterator[bytes]) -> bool:
        """Whether nothing bad was found."""
        ...
