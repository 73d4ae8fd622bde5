"""An export's file in object storage: blocks of at most a mebibyte, each sealed for its place under the file's key.

Nonces are random, since a portion may be written again with other bytes after a crash, and each try has names of its
own: whatever two tries at once leave, the export's record says which blocks count.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Final

import obstore
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from obstore.store import ObjectStore

from adapters.export.zipping import ENTRIES, Entry
from adapters.objects import Objects
from adapters.storage import answered, open_store
from models.documents_ports import DamagedError
from models.errors import UnavailableError
from models.exports import BLOCK, Export, Portion

_NONCE_BYTES: Final = 12
_FOLDER: Final = "exports"


class ObjectExports:
    """Writes, reads and removes the files of exports; without a store every use says that there is none."""

    def __init__(self, url: str | None) -> None:
        """`url` is the setting `STORAGE_URL`."""
        self._store = open_store(url) if url is not None else None
        self._objects = Objects(url)

    @property
    def _opened(self) -> ObjectStore:
        if self._store is None:
            msg = "no object storage is configured"
            raise UnavailableError(msg)
        return self._store

    async def write(self, export: Export, portion: str, number: int, content: bytes) -> None:
        """One put."""
        await self._put(export, _block(export.id, portion, number), content)

    async def write_entries(self, export: Export, portion: str, entries: list[Entry]) -> None:
        """Which files end in a portion: one put."""
        await self._put(export, _entries(export.id, portion), ENTRIES.dump_json(tuple(entries)))

    async def entries(self, export: Export) -> list[Entry]:
        """The files of all portions: one get for each."""
        found: list[Entry] = []
        for portion in export.portions:
            found += ENTRIES.validate_json(await self._get(export, _entries(export.id, portion.name)))
        return found

    async def read(self, export: Export, begin: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [begin, end) of the file: one get for each mebibyte. Raises `DamagedError`."""
        start = 0
        for portion in export.portions:
            async for content in self._read(export, portion, max(0, begin - start), min(portion.size, end - start)):
                yield content
            start += portion.size

    async def _read(self, export: Export, portion: Portion, begin: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [begin, end) of one portion, where there are any."""
        if begin >= end:
            return
        for number in range(begin // BLOCK, (end - 1) // BLOCK + 1):
            start = number * BLOCK
            content = await self._get(export, _block(export.id, portion.name, number))
            if len(content) != min(BLOCK, portion.size - start):
                raise DamagedError
            yield content[max(0, begin - start) : end - start]

    async def clear(self, export_id: str) -> int:
        """Whatever lies there, what no record names and older versions included."""
        return await self._objects.remove(f"{_FOLDER}/{export_id}/")

    async def _put(self, export: Export, name: str, content: bytes) -> None:
        nonce, cipher = secrets.token_bytes(_NONCE_BYTES), AESGCM(_key(export))
        sealed = nonce + await asyncio.to_thread(cipher.encrypt, nonce, content, name.encode())
        await answered(obstore.put_async(self._opened, name, sealed, use_multipart=False))

    async def _get(self, export: Export, name: str) -> bytes:
        try:
            found = await answered(obstore.get_async(self._opened, name))
            sealed = bytes(await answered(found.bytes_async()))
            cipher = AESGCM(_key(export))
            return await asyncio.to_thread(cipher.decrypt, sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (FileNotFoundError, InvalidTag, ValueError) as error:
            raise DamagedError from error


def _block(export_id: str, portion: str, number: int) -> str:
    return f"{_FOLDER}/{export_id}/{portion}/{number:05d}"


def _entries(export_id: str, portion: str) -> str:
    return f"{_FOLDER}/{export_id}/{portion}/entries"


def _key(export: Export) -> bytes:
    if export.key is None:
        msg = "the key of the export is gone"
        raise ValueError(msg)
    return export.key
