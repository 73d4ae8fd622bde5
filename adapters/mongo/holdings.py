"""What collections hold of one person or one practice, opened: read as it lies there, whichever repository wrote it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple

from motor.motor_asyncio import AsyncIOMotorCursor
from pymongo import ASCENDING

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import Opened, Vault
from adapters.mongo.scopes import scoped
from models.errors import not_found
from models.identity import Scope, Subject, Tenant

AT_ONCE: Final = 100
WINDOW: Final = 2000
"""So many ids of everybody are looked through at once for those of a practice."""
_BY_ID: Final = [("_id", ASCENDING)]
_WHY: Final = "somebody is given all that is held of them"
_OWN_SUBJECTS: Final = frozenset({"users"})
"""Whose documents are subjects themselves, and are found by their id."""
_SEALED: Final = 6
"""The BSON subtype of what the driver has sealed."""


class Held(NamedTuple):
    """One document: its fields in clear, and each sealed part opened (`ERASED` where its key is gone)."""

    clear: Mapping[str, object]
    sealed: Mapping[str, Opened]

    @property
    def id(self) -> str:
        """Its key in the collection."""
        return str(self.clear["_id"])


class MongoHoldings:
    """Reads any collection within the scope of one person or one practice."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` opens whatever the subject's keys have sealed."""
        self._database = database
        self._vault = vault

    async def stream(self, scope: Scope, collection: str, *, after: str | None = None) -> AsyncIterator[Sequence[Held]]:
        """All documents of the scope, some at a time; a practice's by id, beginning behind `after`.

        A person's come from an index of theirs, in its order; a practice's by a walk over all ids, since a practice
        leaves once and an index for that would be paid for with every write. Raises `not_found` for a scope that is
        neither's.
        """
        if isinstance(scope, Tenant):
            return self._windows(scope, self._database[collection], after)
        if not isinstance(scope, Subject):
            raise not_found()
        query: Document = {"_id": scope.subject_id} if collection in _OWN_SUBJECTS else {}
        cursor = self._database[collection].find(scoped(scope, query), batch_size=AT_ONCE, comment=_WHY)
        return self._batches(cursor, await self._next(cursor))

    async def _windows(self, scope: Tenant, collection: Collection, after: str | None) -> AsyncIterator[Sequence[Held]]:
        """So many ids after the others: however few of them are the practice's, each answer comes in time."""
        while (end := await self._end(collection, after)) is not None:
            within: Document = {"$lte": end} if after is None else {"$gt": after, "$lte": end}
            cursor = collection.find(scoped(scope, {"_id": within}), batch_size=AT_ONCE, comment=_WHY)
            cursor = cursor.sort(_BY_ID).hint(_BY_ID)
            async for batch in self._batches(cursor, await self._next(cursor)):
                yield batch
            after = end

    @answering
    async def _end(self, collection: Collection, after: str | None) -> str | None:
        """The last id of the window that begins behind `after`; None where nothing is left. Read in the index alone."""
        window: list[Document] = [
            {"$match": {} if after is None else {"_id": {"$gt": after}}},
            {"$sort": {"_id": 1}},
            {"$limit": WINDOW},
            {"$group": {"_id": None, "end": {"$last": "$_id"}}},
        ]
        found = await collection.aggregate(window, hint={"_id": 1}, comment=_WHY).to_list(None)
        return str(found[0]["end"]) if found else None

    async def _batches(
        self, cursor: AsyncIOMotorCursor[Document], first: Sequence[Document]
    ) -> AsyncIterator[Sequence[Held]]:
        found = first
        while found:
            yield await self._opened(found)
            found = await self._next(cursor)

    @answering
    async def _next(self, cursor: AsyncIOMotorCursor[Document]) -> Sequence[Document]:
        return await cursor.to_list(AT_ONCE)

    async def _opened(self, found: Sequence[Document]) -> list[Held]:
        places = [(number, name, value) for number, one in enumerate(found) for name, value in _sealed_of(one)]
        opened = await self._vault.open([value for _, _, value in places])
        parts: list[dict[str, Opened]] = [{} for _ in found]
        for (number, name, _), content in zip(places, opened, strict=True):
            parts[number][name] = content
        return [Held(one, part) for one, part in zip(found, parts, strict=True)]


def _sealed_of(document: Document) -> list[tuple[str, bytes]]:
    """The sealed parts of a document, by the names that they have in it."""
    sealed = document.get("sealed")
    if not isinstance(sealed, dict):
        return []
    return [
        (name, value)
        for name, value in sealed.items()
        if isinstance(value, bytes) and getattr(value, "subtype", _SEALED) == _SEALED
    ]
