"""The bytes of documents and of uploads in object storage, never more than a few mebibytes of them in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Final

import obstore
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from obstore.store import ObjectStore

from adapters.sealing import ChunkCipher
from adapters.storage import answered, open_store
from models.chunks import CHUNK, SEGMENT_CHUNKS, chunk_count, parts, sealed_length, segment_count
from models.documents import Contents, Piece, Upload, UploadSecrets
from models.documents_ports import DamagedError
from models.errors import UnavailableError

_NONCE_BYTES: Final = 12
_SEGMENT_BYTES: Final = SEGMENT_CHUNKS * CHUNK


class ObjectFiles:
    """Implements `models.documents_ports.Files`; without a store every use says that there is none.

    A document lies in objects of 32 chunks each: whole puts of two mebibytes need no multipart upload, of which an
    interrupted one would leave parts that nobody sees and everybody pays for.
    """

    def __init__(self, url: str | None) -> None:
        """`url` is the setting `STORAGE_URL`."""
        self._store = open_store(url) if url is not None else None

    @property
    def _opened(self) -> ObjectStore:
        if self._store is None:
            msg = "no object storage is configured"
            raise UnavailableError(msg)
        return self._store

    # Documents

    async def write(self, document_id: str, contents: Contents, source: AsyncIterator[bytes]) -> None:
        """One put for each segment."""
        cipher = ChunkCipher(contents.key, document_id, chunk_count(contents.size))
        left, segment = contents.size, 0
        async for content in _cut(source, _SEGMENT_BYTES):
            left -= len(content)
            if left < 0:
                break
            sealed = await asyncio.to_thread(_sealed, cipher, segment * SEGMENT_CHUNKS, content)
            await answered(obstore.put_async(self._opened, _segment(document_id, segment), sealed, use_multipart=False))
            segment += 1
        if left != 0:
            msg = "not as many bytes as were said"
            raise ValueError(msg)

    async def read(self, document_id: str, contents: Contents, begin: int, end: int) -> AsyncIterator[bytes]:
        """One ranged read for each mebibyte."""
        cipher = ChunkCipher(contents.key, document_id, chunk_count(contents.size))
        for part in parts(contents.size, begin, end):
            sealed = await self._range(_segment(document_id, part.segment), part.start, part.end)
            lengths = [sealed_length(contents.size, number) for number in range(part.first, part.first + part.chunks)]
            content = await asyncio.to_thread(_clear, cipher, part.first, lengths, sealed)
            start = part.first * CHUNK
            yield content[max(0, begin - start) : end - start]

    async def _range(self, name: str, start: int, end: int) -> bytes:
        try:
            found = await answered(obstore.get_range_async(self._opened, name, start=start, end=end))
        except FileNotFoundError as error:
            raise DamagedError from error
        except UnavailableError:
            # A store that has not so many bytes says so in words of its own.
            if await self._length(name) < end:
                raise DamagedError from None
            raise
        if len(found) != end - start:
            raise DamagedError
        return bytes(found)

    async def _length(self, name: str) -> int:
        try:
            return (await answered(obstore.head_async(self._opened, name)))["size"]
        except FileNotFoundError:
            return 0

    async def erase(self, document_id: str, size: int) -> None:
        """All segments that a file of that size may have."""
        for segment in range(segment_count(size)):
            await self._remove(_segment(document_id, segment))

    # Uploads

    async def put_piece(self, upload: Upload, offset: int, content: bytes) -> Piece:
        """One put; the nonce is random, since two tries may bring different bytes for the same place."""
        secret = _secrets(upload)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + AESGCM(secret.key).encrypt(nonce, content, _place(upload.id, offset))
        name = f"{_pieces(upload.id)}/{offset:010d}-{secrets.token_hex(8)}"
        await answered(obstore.put_async(self._opened, name, sealed, use_multipart=False))
        return Piece(name=name, offset=offset, size=len(content))

    async def read_pieces(self, upload: Upload) -> AsyncIterator[bytes]:
        """One get for each piece."""
        cipher = AESGCM(_secrets(upload).key)
        for piece in upload.pieces:
            try:
                found = await answered(obstore.get_async(self._opened, piece.name))
                sealed = bytes(await answered(found.bytes_async()))
                place = _place(upload.id, piece.offset)
                content = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
            except (FileNotFoundError, InvalidTag, ValueError) as error:
                raise DamagedError from error
            yield content

    async def drop_piece(self, piece: Piece) -> None:
        """One delete."""
        await self._remove(piece.name)

    async def erase_pieces(self, upload_id: str) -> None:
        """Whatever is listed there, pieces that nobody has noted included."""
        listed = obstore.list(self._opened, prefix=f"{_pieces(upload_id)}/")
        for one in await answered(listed.collect_async()):
            await self._remove(one["path"])

    async def _remove(self, name: str) -> None:
        try:
            await answered(obstore.delete_async(self._opened, name))
        except FileNotFoundError:
            return


def _segment(document_id: str, segment: int) -> str:
    return f"documents/{document_id}/{segment}"


def _pieces(upload_id: str) -> str:
    return f"uploads/{upload_id}"


def _place(upload_id: str, offset: int) -> bytes:
    return f"{upload_id}:{offset}".encode()


def _secrets(upload: Upload) -> UploadSecrets:
    if upload.secrets is None:
        msg = "the key of the upload is gone"
        raise ValueError(msg)
    return upload.secrets


def _sealed(cipher: ChunkCipher, first: int, content: bytes) -> bytes:
    return b"".join(
        cipher.seal(first + number, content[number * CHUNK : (number + 1) * CHUNK])
        for number in range(chunk_count(len(content)))
    )


def _clear(cipher: ChunkCipher, first: int, lengths: list[int], sealed: bytes) -> bytes:
    opened, start = [], 0
    try:
        for number, length in enumerate(lengths, start=first):
            opened.append(cipher.open(number, sealed[start : start + length]))
            start += length
    except InvalidTag as error:
        raise DamagedError from error
    return b"".join(opened)


async def _cut(source: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of that size; the last may be shorter."""
    buffer = bytearray()
    async for piece in source:
        buffer += piece
        while len(buffer) >= size:
            with memoryview(buffer) as seen:
                content = bytes(seen[:size])
            yield content
            del buffer[:size]
    if buffer:
        yield bytes(buffer)
