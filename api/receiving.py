"""Files that come in pieces: kept as they arrive, so that a broken line costs no more than its last moment."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from starlette.requests import ClientDisconnect

from api.filing import now, pieces_of
from api.problems import invalid
from models.documents import KEY_BYTES, PIECE_BYTES, UPLOAD_LIFETIME, Upload, UploadSecrets
from models.documents_ports import Files, Source, Uploads
from models.errors import Code, VisitNowError, not_found
from models.files import MAX_UPLOAD_BYTES, safe_name
from models.identity import Principal, Subject
from models.ids import random_id

_MAX_METADATA: Final = 4096


class Receiving:
    """The uploads of whoever sends them."""

    def __init__(self, uploads: Uploads, files: Files) -> None:
        """Where their state is kept, and where their bytes lie."""
        self._uploads = uploads
        self._files = files

    async def begin(self, caller: Principal, length: int, metadata: str | None) -> Upload:
        """A new upload. Raises `too_large` and `invalid`."""
        if length > MAX_UPLOAD_BYTES:
            raise VisitNowError(Code.TOO_LARGE)
        upload = Upload(
            id=random_id("upl"),
            tenant_id=caller.tenant_id,
            subject_id=caller.subject,
            length=length,
            expires_at=now() + UPLOAD_LIFETIME,
            secrets=UploadSecrets(name=safe_name(_file_name(metadata)), key=secrets.token_bytes(KEY_BYTES)),
        )
        await self._uploads.open(Subject(caller.subject), upload)
        return upload

    async def find(self, caller: Principal, upload_id: str) -> Upload:
        """One of the caller's own. Raises `not_found` where there is none, or not any more."""
        found = await self._uploads.find(Subject(caller.subject), upload_id)
        if found is None or found.secrets is None or found.expires_at <= datetime.now(UTC):
            raise not_found()
        return found

    async def receive(self, upload: Upload, offset: int, arriving: AsyncIterator[bytes]) -> int:
        """Keep what arrives from there on; where the upload stands now.

        Raises `state_conflict` where that is not its end, or it comes in too many pieces, and `too_large`.
        """
        if offset != upload.offset or upload.document_id is not None:
            raise VisitNowError(Code.STATE_CONFLICT, f"The upload is at {upload.offset}")
        async for content in _pieces(arriving):
            if offset + len(content) > upload.length:
                raise VisitNowError(Code.TOO_LARGE)
            piece = await self._files.put_piece(upload, offset, content)
            if not await self._uploads.add(Subject(upload.subject_id), upload.id, piece):
                await self._files.drop_piece(piece)
                raise VisitNowError(Code.STATE_CONFLICT, "Something else has arrived there, or in too many pieces")
            offset += len(content)
        return offset

    def source(self, upload: Upload) -> Source:
        """Its bytes. Raises `state_conflict` where some have not arrived yet."""
        if not upload.is_whole:
            raise VisitNowError(Code.STATE_CONFLICT, f"The upload is at {upload.offset} of {upload.length}")
        return pieces_of(self._files, upload)

    async def finish(self, upload: Upload, document_id: str) -> None:
        """It has become a document; whoever asks again is told so."""
        await self._uploads.finish(Subject(upload.subject_id), upload.id, document_id)
        await self._files.erase_pieces(upload.id)

    async def end(self, upload: Upload) -> None:
        """Take it away."""
        await self._files.erase_pieces(upload.id)
        await self._uploads.remove(Subject(upload.subject_id), upload.id)


async def _pieces(arriving: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What arrives in pieces of a mebibyte; where the line breaks, what has arrived until then."""
    buffer = bytearray()
    try:
        async for content in arriving:
            buffer += content
            while len(buffer) >= PIECE_BYTES:
                yield bytes(buffer[:PIECE_BYTES])
                del buffer[:PIECE_BYTES]
    except ClientDisconnect:
        # Nobody reads the answer; whoever comes back asks how far it came.
        pass
    if buffer:
        yield bytes(buffer)


def _file_name(metadata: str | None) -> str:
    """The `filename` of tus' Upload-Metadata: pairs of a key and base64, with commas between. Raises `invalid`."""
    if metadata is None:
        return ""
    if len(metadata) > _MAX_METADATA:
        raise invalid("Upload-Metadata", "string_too_long", f"must have at most {_MAX_METADATA} characters")
    for pair in metadata.split(","):
        key, _, encoded = pair.strip().partition(" ")
        if key == "filename":
            try:
                return base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise invalid("Upload-Metadata", "base64", "`filename` must be base64 of UTF-8") from error
    return ""
