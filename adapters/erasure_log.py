"""Deletions that took effect, in object storage: one signed object each, which no restored backup of MongoDB undoes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import obstore
from obstore.store import ObjectStore

from adapters.storage import answered, open_store
from adapters.tokens import Statement, Statements
from models.deletions import LogEntry

FOLDER: Final = "erasures"


def object_name(deletion_id: str) -> str:
    """Where a deletion's entry lies."""
    return f"{FOLDER}/{deletion_id}.json"


class StoredErasureLog:
    """Implements `models.deletions_ports.ErasureLog`; without object storage nothing is kept of it."""

    def __init__(self, url: str | None, statements: Statements) -> None:
        """`url` is the setting `STORAGE_URL`; `statements` puts our name under each entry."""
        self._store: ObjectStore | None = open_store(url) if url is not None else None
        self._statements = statements

    async def keep(self, entry: LogEntry) -> None:
        """One write, over the deletion's earlier entry."""
        if self._store is None:
            return
        signed = self._statements.sign(Statement.ERASURE, entry.model_dump(mode="json"))
        await answered(obstore.put_async(self._store, object_name(entry.deletion_id), signed.encode()))

    async def since(self, instant: datetime) -> Sequence[LogEntry]:
        """Every entry is read, since its time stands in it. Raises `ValueError` for one that is not ours."""
        found = [await self._read(name) for name in await self._names()]
        return sorted((one for one in found if one.at >= instant), key=lambda one: one.at)

    async def _names(self) -> Sequence[str]:
        if self._store is None:
            return []
        listing = obstore.list(self._store, prefix=f"{FOLDER}/")
        return [one["path"] async for chunk in listing for one in chunk]

    async def _read(self, name: str) -> LogEntry:
        if self._store is None:
            msg = "there is no object storage"
            raise ValueError(msg)
        found = await answered(obstore.get_async(self._store, name))
        signed = bytes(await answered(found.bytes_async())).decode(errors="replace")
        said = dict(self._statements.read(Statement.ERASURE, signed))
        said.pop("iss")
        entry = LogEntry.model_validate(said)
        if object_name(entry.deletion_id) != name:
            msg = "an entry of the erasure log lies under another deletion's name"
            raise ValueError(msg)
        return entry
