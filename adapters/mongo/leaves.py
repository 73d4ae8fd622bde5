"""Times in which providers do not work; the claims that block them lie with all others in `slots`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.providers import read
from adapters.mongo.publishing import WasPublished
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from adapters.mongo.search import MongoSearch
from models.absence import OfferTally
from models.cursor import decode_cursor, encode_cursor
from models.data_classes import DataClass
from models.errors import not_found
from models.identity import Scope
from models.ports import Page
from models.providers import Provider
from models.publishing import Leave, LeaveState, LeaveTally

DECLARED: Final = Declared(
    "leaves",
    (
        IndexModel(
            [("tenant_id", ASCENDING), ("provider_id", ASCENDING), ("start", ASCENDING), ("_id", ASCENDING)],
            name="provider",
        ),
        IndexModel(
            [("updated_at", ASCENDING)],
            name="unfinished",
            partialFilterExpression={"state": {"$in": [LeaveState.TAKING, LeaveState.ENDING]}},
        ),
    ),
)

_BEFORE: Final = {
    LeaveState.TAKEN: (LeaveState.TAKING, LeaveState.TAKEN),
    LeaveState.ENDING: (LeaveState.TAKING, LeaveState.TAKEN, LeaveState.ENDING),
    LeaveState.ENDED: (LeaveState.ENDING, LeaveState.ENDED),
}


class MongoLeaves:
    """Implements `models.ports.Leaves` on the collection `leaves`."""

    def __init__(self, database: Database, vault: Vault, search: MongoSearch, was_published: WasPublished) -> None:
        """`vault` seals reasons, which tell of illness.

        `search` is the projection that follows, `was_published` hears when a leave begins or ends to count.
        """
        self._search = search
        self._leaves: Collection = database["leaves"]
        self._vault = vault
        self._was_published = was_published

    @answering
    async def insert(self, scope: Scope, leave: Leave, reason: str | None) -> Leave:
        """One insert. Raises `not_found` where the id is another tenant's."""
        document: Document = {"_id": leave.id, **leave.model_dump(exclude={"id"}), "version": 1}
        require(scope, document)
        if reason is not None:
            document["reason"] = await self._vault.seal(leave.practitioner_id, DataClass.CLINICAL, {"reason": reason})
        try:
            await self._leaves.insert_one({**document, "updated_at": leave.created_at})
        except DuplicateKeyError:
            existing = await self._one(scope, leave.id)
            if existing is None:
                raise not_found() from None
            return existing
        await self._search.look_again(scope, leave.provider_id)
        await self._was_published(leave.provider_id, leave.practitioner_id)
        return leave

    @answering
    async def find(self, scope: Scope, leave_id: str) -> Leave | None:
        """One read by id."""
        return await self._one(scope, leave_id)

    @answering
    async def page(
        self, scope: Scope, provider: Provider, limit: int, cursor: str | None
    ) -> Page[tuple[Leave, str | None]]:
        """One indexed read, and one look into the vault for all of it."""
        query: Document = {
            "tenant_id": provider.tenant_id,
            "provider_id": provider.id,
            "state": {"$ne": LeaveState.ENDED},
        }
        if cursor is not None:
            last_start, last_id = decode_cursor(cursor, datetime, str)
            query["start"] = {"$lte": last_start}
            query["$or"] = [{"start": {"$lt": last_start}}, {"_id": {"$lt": last_id}}]
        found = await self._leaves.find(
            scoped(scope, query),
            sort=[("start", DESCENDING), ("_id", DESCENDING)],
            limit=limit + 1,
            comment=reason_of(scope),
        ).to_list(None)
        reasons = await self._reasons(found[:limit])
        items = [(read(Leave, one), reason) for one, reason in zip(found[:limit], reasons, strict=True)]
        more = len(found) > limit
        return Page(items, encode_cursor(items[-1][0].start, items[-1][0].id) if more else None)

    @answering
    async def advance(
        self, scope: Scope, leave: Leave, to: LeaveState, tally: LeaveTally | None = None
    ) -> LeaveState | None:
        """One conditional update; a leave that has come further stays where it is."""
        values: Document = {"state": to, "updated_at": datetime.now(UTC)}
        if tally is not None:
            values |= {f"tally.{name}": value for name, value in tally.model_dump(exclude={"offers"}).items()}
        after = await self._leaves.find_one_and_update(
            scoped(scope, {"_id": leave.id, "state": {"$in": list(_BEFORE[to])}}),
            {"$set": values, "$inc": {"version": 1}},
            {"state": 1},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        if not after:
            found = await self._one(scope, leave.id)
            return None if found is None else found.state
        await self._search.look_again(scope, leave.provider_id)
        await self._was_published(leave.provider_id, leave.practitioner_id)
        return to

    @answering
    async def count(self, scope: Scope, leave_id: str, tally: OfferTally) -> None:
        """One update, whatever state the leave is in."""
        await self._leaves.update_one(
            scoped(scope, {"_id": leave_id}),
            {"$set": {"tally.offers": tally.model_dump(), "updated_at": datetime.now(UTC)}, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )

    async def _one(self, scope: Scope, leave_id: str) -> Leave | None:
        found = await self._leaves.find_one(scoped(scope, {"_id": leave_id}), comment=reason_of(scope))
        return None if found is None else read(Leave, found)

    async def _reasons(self, found: Sequence[Document]) -> list[str | None]:
        sealed = [one.get("reason") for one in found]
        opened = await self._vault.open([one if isinstance(one, bytes) else None for one in sealed])
        return [None if one is None or one is ERASED else str(one["reason"]) for one in opened]
