"""Deletions that took effect, in object storage: one signed object each, which no restored backup of MongoDB undoes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import obstore
from obstore.store import ObjectStore

from adapters.storage import answered, each, open_store
from adapters.tokens import Statement, Statements
from models.backups import UnknownKeyError
from models.deletions import LogEntry

FOLDER: Final = "erasures"
_CLOCKS: Final = timedelta(hours=1)
"""How far the storage's clock may be behind ours."""


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
        """What may be since then is read, for its time stands in it: nothing was written before its own time.

        Raises `ValueError` for one that is not ours, and `UnknownKeyError` where its key is not at hand.
        """
        listed = await self._listed()
        found = [await self._read(name) for name, written in listed if written >= instant - _CLOCKS]
        return sorted((one for one in found if one.at >= instant), key=lambda one: one.at)

    async def known(self) -> frozenset[str]:
        """The ids of all deletions that have an entry, whatever it says."""
        return frozenset(name.removeprefix(f"{FOLDER}/").removesuffix(".json") for name, _ in await self._listed())

    async def _listed(self) -> list[tuple[str, datetime]]:
        """Names, and when each was written."""
        if self._store is None:
            return []
        listing = each(obstore.list(self._store, prefix=f"{FOLDER}/"))
        return [(one["path"], one["last_modified"]) async for chunk in listing for one in chunk]

    async def _read(self, name: str) -> LogEntry:
        if self._store is None:
            msg = "there is no object storage"
            raise ValueError(msg)
        found = await answered(obstore.get_async(self._store, name))
        signed = bytes(await answered(found.bytes_async())).decode(errors="replace")
        if (key := self._statements.foreign_key_of(signed)) is not None:
            raise UnknownKeyError(name, key)
        said = dict(self._statements.read(Statement.ERASURE, signed))
        said.pop("iss")
        entry = LogEntry.model_validate(said)
        if object_name(entry.deletion_id) != name:
            msg = "an entry of the erasure log lies under another deletion's name"
            raise ValueError(msg)
        return entry
