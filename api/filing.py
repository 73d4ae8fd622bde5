"""Documents of visits: looked into before they are kept, and read again piece by piece."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from adapters.tokens import Purpose, PurposeTokens
from api.files import opened
from models.booking import Appointment, actor_of
from models.byte_ranges import ByteRange
from models.documents import (
    ADDABLE,
    KEY_BYTES,
    LINK_LIFETIME,
    MOST_DOCUMENTS,
    Contents,
    Document,
    DocumentKind,
    Upload,
)
from models.documents_ports import Documents, Files, Scanner, Source
from models.errors import Code, VisitNowError, not_found
from models.files import HEAD_BYTES, media_type_of, safe_name
from models.identity import Principal, Scope, System, scope_of
from models.ids import derived_id, random_id

LINKED: Final = System("a link was signed for whoever was allowed to see this document")


class Told(NamedTuple):
    """What is said of a file that is handed in."""

    name: str
    kind: DocumentKind
    sha256: str | None


class _Seen(NamedTuple):
    """What a file turned out to be."""

    media_type: str
    size: int
    sha256: str


class Filing:
    """Keeps and opens documents of appointments that their caller may see."""

    def __init__(
        self, documents: Documents, files: Files, scanner: Scanner, tokens: PurposeTokens, *, secret: bytes
    ) -> None:
        """`secret` keys the digests by which the same file is known again."""
        self._documents = documents
        self._files = files
        self._scanner = scanner
        self._tokens = tokens
        self._secret = secret

    async def add(self, author: Principal, appointment: Appointment, told: Told, source: Source) -> Document:
        """Look into a file and keep it; the same file again is the document that it was.

        Raises `document_refused`, `checksum_mismatch` and `state_conflict`.
        """
        scope = scope_of(author)
        seen = await self._look(source)
        if told.sha256 is not None and told.sha256 != seen.sha256:
            raise VisitNowError(Code.CHECKSUM_MISMATCH)
        # Keyed: a plain digest would tell, long after its erasure, who had which well-known file.
        digest = derived_id("dig", self._secret, appointment.id, seen.sha256)
        existing = await self._documents.by_digest(scope, appointment.id, digest)
        if existing is not None:
            return existing
        if len(await self._documents.of_appointment(scope, appointment.id)) >= MOST_DOCUMENTS:
            raise VisitNowError(Code.STATE_CONFLICT, f"A visit has at most {MOST_DOCUMENTS} documents")
        document = self._document(author, appointment, told, seen)
        await self._store(scope, document, source)
        if await self._documents.keep(scope, document.id, digest):
            return document
        # Somebody was faster with the same file; ours is taken away, at the latest by the upkeep.
        await self._files.erase(document.id, document.size)
        await self._documents.remove(scope, document.id)
        existing = await self._documents.by_digest(scope, appointment.id, digest)
        if existing is None:
            raise VisitNowError(Code.STATE_CONFLICT)
        return existing

    async def _look(self, source: Source) -> _Seen:
        """Read the file once. Raises `document_refused`."""
        head, size, digest = b"", 0, hashlib.sha256()

        async def watched() -> AsyncIterator[bytes]:
            nonlocal head, size
            async for piece in source():
                head += piece[: max(0, HEAD_BYTES - len(head))]
                size += len(piece)
                digest.update(piece)
                yield piece

        clean = await self._scanner.is_clean(watched())
        media_type = media_type_of(head)
        if media_type is None or not clean:
            raise VisitNowError(Code.DOCUMENT_REFUSED)
        return _Seen(media_type, size, digest.hexdigest())

    def _document(self, author: Principal, appointment: Appointment, told: Told, seen: _Seen) -> Document:
        return Document(
            **appointment.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id"}),
            id=random_id("doc"),
            appointment_id=appointment.id,
            kind=told.kind,
            media_type=seen.media_type,
            size=seen.size,
            scanned_by=self._scanner.name,
            by=actor_of(author.subject, author.roles).kind,
            author_id=author.subject,
            at=now(),
            contents=Contents(
                name=safe_name(told.name), sha256=seen.sha256, size=seen.size, key=secrets.token_bytes(KEY_BYTES)
            ),
        )

    async def _store(self, scope: Scope, document: Document, source: Source) -> None:
        """First the record that says where the bytes will lie: whoever dies in between leaves nothing unknown."""
        if document.contents is None:
            raise VisitNowError(Code.ERASED)
        await self._documents.begin(scope, document)
        await self._files.write(document.id, document.contents, source())

    # Reading

    async def of_appointment(self, scope: Scope, appointment_id: str) -> list[Document]:
        """A visit's documents, oldest first."""
        return await self._documents.of_appointment(scope, appointment_id)

    async def find(self, scope: Scope, document_id: str) -> Document:
        """One of them. Raises `not_found`, and `erased` where its key is gone."""
        found = await self._documents.find(scope, document_id)
        if found is None:
            raise not_found()
        if found.contents is None:
            raise VisitNowError(Code.ERASED)
        return found

    def link(self, reader: Principal, document: Document) -> str:
        """Where somebody reads this document for the next minutes, without a header that a browser cannot send."""
        moment = datetime.now(UTC)
        token = self._tokens.mint(Purpose.DOCUMENT, document.id, reader.subject, moment + LINK_LIFETIME, moment)
        return f"/v1/documents/{document.id}/content?token={token}"

    async def linked(self, document_id: str, token: str) -> Document:
        """The document that a link leads to. Raises `token_invalid`, `not_found` and `erased`."""
        grant = self._tokens.read(Purpose.DOCUMENT, token, datetime.now(UTC))
        if grant is None or grant.sub != document_id:
            raise VisitNowError(Code.TOKEN_INVALID)
        return await self.find(LINKED, document_id)

    async def content(self, document: Document, wanted: ByteRange) -> AsyncIterator[bytes]:
        """The bytes of a range; the first of them were opened already. Raises `damaged` and `unavailable`."""
        if document.contents is None:
            raise VisitNowError(Code.ERASED)
        pieces = self._files.read(document.id, document.contents, wanted.begin, wanted.end)
        return await opened(pieces)


def check_addable(appointment: Appointment) -> None:
    """Raise `state_conflict` for a visit that does not take place."""
    if appointment.state not in ADDABLE:
        raise VisitNowError(Code.STATE_CONFLICT)


def pieces_of(files: Files, upload: Upload) -> Source:
    """An upload's bytes, as often as they are wanted."""
    return lambda: files.read_pieces(upload)


def now() -> datetime:
    """This instant, as precise as a database keeps it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
