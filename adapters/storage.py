"""Uploaded files in object storage: each under a key of its own, which only its owner's key in the vault opens.

An object is `VNF1`, the length of the sealed key in 4 bytes, the sealed key, then the content in sealed chunks
(`adapters.sealing`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from cryptography.exceptions import InvalidTag
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from adapters.mongo.encryption import ERASED, Vault
from adapters.sealing import ChunkCipher
from models.chunks import CHUNK, SEALED_CHUNK, chunk_count
from models.data_classes import DataClass
from models.errors import UnavailableError

MAGIC: Final = b"VNF1"
SECONDS: Final = 20.0
_KEY_BYTES: Final = 32
_LENGTH_BYTES: Final = 4

T = TypeVar("T")


def open_store(url: str) -> ObjectStore:
    """The store of a `file:///folder` or `s3://bucket/prefix`; S3's keys and endpoint come from the AWS environment."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)), mkdir=True, automatic_cleanup=True)
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options={"timeout": "10s", "connect_timeout": "2s", "allow_http": True},
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
    )


class EncryptedStore:
    """Implements `models.onboarding_ports.DocumentStore`; without a store every use says that there is none."""

    def __init__(self, url: str | None, vault: Vault) -> None:
        """`url` is the setting `STORAGE_URL`."""
        self._store = open_store(url) if url is not None else None
        self._vault = vault

    async def keep(self, owner_id: str, document_id: str, content: bytes) -> None:
        """Write one file; whatever was there under that name is replaced."""
        name, key = f"{owner_id}/{document_id}", secrets.token_bytes(_KEY_BYTES)
        sealed = await self._vault.seal(owner_id, DataClass.IDENTITY, {"key": key})
        head = MAGIC + len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed
        body = await asyncio.to_thread(encrypted, key, name, content)
        await answered(obstore.put_async(self._opened, name, head + body))

    async def read(self, owner_id: str, document_id: str) -> bytes | None:
        """One file in clear; None where it, or its key, is gone. Raises `ValueError` for one that was changed."""
        name = f"{owner_id}/{document_id}"
        try:
            found = await answered(obstore.get_async(self._opened, name))
        except FileNotFoundError:
            return None
        raw = bytes(await answered(found.bytes_async()))
        begin = len(MAGIC) + _LENGTH_BYTES
        end = begin + int.from_bytes(raw[len(MAGIC) : begin], "big")
        if raw[: len(MAGIC)] != MAGIC or end > len(raw):
            msg = "the object is not a file of ours"
            raise ValueError(msg)
        [opened] = await self._vault.open([raw[begin:end]])
        if opened is None or opened is ERASED:
            return None
        key = opened["key"]
        if not isinstance(key, bytes):
            msg = "the object's key is not a key"
            raise TypeError(msg)
        return await asyncio.to_thread(decrypted, key, name, raw[end:])

    @property
    def _opened(self) -> ObjectStore:
        if self._store is None:
            msg = "no object storage is configured"
            raise UnavailableError(msg)
        return self._store


async def try_out(url: str | None) -> None:
    """Write a small object, read it back and remove it. Raises `UnavailableError`, and `ValueError` for other bytes."""
    if url is None:
        msg = "no object storage is configured"
        raise UnavailableError(msg)
    store, name, content = open_store(url), f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(64)
    await answered(obstore.put_async(store, name, content))
    try:
        found = await answered(obstore.get_async(store, name))
        if bytes(await answered(found.bytes_async())) != content:
            msg = "the object storage gives back other bytes than it was given"
            raise ValueError(msg)
    finally:
        await answered(obstore.delete_async(store, name))


async def answered(asking: Awaitable[T]) -> T:
    """The answer. Raises `FileNotFoundError` for what is not there, and `UnavailableError` for every other failure."""
    try:
        async with asyncio.timeout(SECONDS):
            return await asking
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        msg = "the object storage does not answer"
        raise UnavailableError(msg) from error


async def each(stream: AsyncIterable[T]) -> AsyncIterator[T]:
    """What a stream brings, waiting for each as long as for any answer. Raises as `answered` does."""
    coming = aiter(stream)
    while (one := await answered(anext(coming, None))) is not None:
        yield one


def encrypted(key: bytes, name: str, content: bytes) -> bytes:
    """The content in sealed chunks; even an empty one has a last chunk."""
    cipher = ChunkCipher(key, name, chunk_count(len(content)))
    return b"".join(
        cipher.seal(number, content[number * CHUNK : (number + 1) * CHUNK])
        for number in range(chunk_count(len(content)))
    )


def decrypted(key: bytes, name: str, sealed: bytes) -> bytes:
    """The content. Raises `ValueError` where anything of it was changed, moved, cut off or added."""
    count = max(1, -(-len(sealed) // SEALED_CHUNK))
    cipher = ChunkCipher(key, name, count)
    try:
        return b"".join(
            cipher.open(number, sealed[number * SEALED_CHUNK : (number + 1) * SEALED_CHUNK]) for number in range(count)
        )
    except InvalidTag as error:
        msg = "the file was changed"
        raise ValueError(msg) from error
