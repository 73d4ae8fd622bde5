"""Exports: how far each has come in clear, the key of its file sealed under the identity key of whom it is about.

So whoever's keys are destroyed has no export any more, wherever a copy of the file lies.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from motor.motor_asyncio import AsyncIOMotorCursor
from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id, literal
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.data_classes import DataClass
from models.errors import UnavailableError, not_found
from models.exports import Cursor, Export, ExportState, Portion, sources_of
from models.exports_ports import VisitOf
from models.identity import Scope, Tenant

_OPEN: Final = (ExportState.COLLECTING, ExportState.READY)
_TRIES: Final = 3
_AT_ONCE: Final = 500

DECLARED: Final = Declared(
    "exports",
    (
        IndexModel(
            [("about", ASCENDING)],
            name="one_at_a_time",
            unique=True,
            partialFilterExpression={"state": ExportState.COLLECTING},
        ),
        IndexModel(
            [("requested_at", ASCENDING)],
            name="collecting",
            partialFilterExpression={"state": ExportState.COLLECTING},
        ),
        IndexModel([("about", ASCENDING), ("state", ASCENDING)], name="of_whom"),
        IndexModel([("subject_id", ASCENDING), ("_id", ASCENDING)], name="subject"),
        IndexModel(
            [("expires_at", ASCENDING)], name="uncleared", partialFilterExpression={"expires_at": {"$exists": True}}
        ),
    ),
)


class MongoExports:
    """Implements `models.exports_ports.Exports` on the collection `exports`."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals each file's key."""
        self._exports: Collection = database["exports"]
        self._appointments: Collection = database["appointments"]
        self._vault = vault

    @answering
    async def begin(self, scope: Scope, export: Export) -> Export:
        """One insert. Raises `not_found` where the scope does not reach it, or the id is somebody else's."""
        document: Document = {
            "_id": export.id,
            **export.model_dump(exclude={"id", "key", "cursor", "expires_at"}),
            "portions": [],
            "cursor": None,
            "version": 1,
            "created_at": export.requested_at,
            "updated_at": export.requested_at,
        }
        require(scope, document)
        sealed = await self._vault.seal(export.about, DataClass.IDENTITY, {"key": export.key})
        for _ in range(_TRIES):
            try:
                await self._exports.insert_one({**document, "sealed": {"identity": sealed}}, comment=reason_of(scope))
            except DuplicateKeyError as error:
                known = await self._known(scope, export, error)
                if known is not None:
                    return known
            else:
                return export
        raise UnavailableError("exports end as fast as they begin")

    async def _known(self, scope: Scope, export: Export, error: DuplicateKeyError) -> Export | None:
        """The one that is there instead; None where it has just ended."""
        by_id = clashes_on_id(error)
        wanted: Document = {"about": export.about, "state": ExportState.COLLECTING}
        known = await self._one(scope, {"_id": export.id} if by_id else wanted)
        if known is None and by_id:
            raise not_found() from error
        return known

    @answering
    async def find(self, scope: Scope, export_id: str) -> Export | None:
        """One read by id."""
        return await self._one(scope, {"_id": export_id})

    @answering
    async def add(self, scope: Scope, export: Export, portion: Portion, cursor: Cursor | None) -> bool:
        """One conditional update: there must be as many portions as were seen."""
        done = await self._exports.update_one(
            scoped(
                scope,
                {
                    "_id": export.id,
                    "state": ExportState.COLLECTING,
                    "portions": {"$size": len(export.portions)},
                    "packed": False,
                },
            ),
            {
                "$push": {"portions": portion.model_dump()},
                "$set": {"cursor": None if cursor is None else cursor.model_dump(), "packed": cursor is None},
                "$currentDate": {"updated_at": True},
                "$inc": {"version": 1},
            },
            comment=reason_of(scope),
        )
        return done.matched_count > 0

    @answering
    async def finish(self, scope: Scope, export: Export, sha256: str, at: datetime) -> bool:
        """One conditional update; again is harmless."""
        values: Document = {
            "state": ExportState.READY,
            "sha256": sha256,
            "ready_at": at,
            "expires_at": export.expiry(at),
            "updated_at": at,
        }
        done = await self._exports.update_one(
            scoped(scope, {"_id": export.id, "state": ExportState.COLLECTING, "packed": True}),
            {"$set": values, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )
        if done.matched_count:
            return True
        found = await self._exports.find_one(
            scoped(scope, {"_id": export.id, "state": ExportState.READY}), {"_id": 1}, comment=reason_of(scope)
        )
        return found is not None

    @answering
    async def reach(self, scope: Scope, export_id: str, percent: int) -> bool:
        """One conditional update; the clock of what is ready has stopped."""
        done = await self._exports.update_one(
            scoped(scope, {"_id": export_id, "state": ExportState.COLLECTING}),
            {"$max": {"reached": percent}},
            comment=reason_of(scope),
        )
        return done.matched_count > 0

    @answering
    async def stop(self, scope: Scope, about: str, at: datetime) -> Sequence[str]:
        """One update of all, and one read of which they are; a practice's are made again where it asks for that."""
        own = scoped(scope, {"subject_id": about})
        among = await self._appointments.distinct("tenant_id", own, comment=reason_of(scope))
        whose: Document = {"about": {"$in": [about, *among]}}
        await self._exports.update_many(
            scoped(scope, {**whose, "state": {"$in": list(_OPEN)}}),
            {"$set": {"state": ExportState.STOPPED, "expires_at": at, "updated_at": at}, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )
        found = self._exports.find(
            scoped(scope, {**whose, "state": ExportState.STOPPED, "cleared_at": None}),
            {"_id": 1},
            comment=reason_of(scope),
        )
        return [str(one["_id"]) for one in await found.to_list(None)]

    @answering
    async def cleared(self, scope: Scope, export_id: str, state: ExportState, at: datetime) -> None:
        """One update; what was stopped stays so."""
        stopped = {"$eq": ["$state", ExportState.STOPPED]}
        values: Document = {
            "state": {"$cond": [stopped, ExportState.STOPPED, literal(state)]},
            "cleared_at": literal(at),
            "updated_at": literal(at),
            "portions": [],
        }
        before = sorted({state, ExportState.STOPPED, *sources_of(state)})
        await self._exports.update_one(
            scoped(scope, {"_id": export_id, "state": {"$in": before}}),
            [{"$set": values}, {"$unset": ["sealed", "expires_at"]}],
            comment=reason_of(scope),
        )

    @answering
    async def unbegun(self, scope: Scope, before: datetime, limit: int) -> list[Export]:
        """Over an index that holds only those that are being made."""
        found = self._exports.find(
            scoped(scope, {"state": ExportState.COLLECTING, "requested_at": {"$lt": before}}),
            {"sealed": 0},
            sort=[("requested_at", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [_export(one, None) for one in await found.to_list(None)]

    @answering
    async def over(self, scope: Scope, before: datetime, limit: int) -> list[Export]:
        """Over an index that holds only those whose file may still be there."""
        found = self._exports.find(
            scoped(scope, {"expires_at": {"$lt": before}}),
            {"sealed": 0},
            sort=[("expires_at", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [_export(one, None) for one in await found.to_list(None)]

    async def visits(self, scope: Scope) -> AsyncIterator[Sequence[VisitOf]]:
        """Read in an index of the practice's, some at a time; ids only."""
        if not isinstance(scope, Tenant):
            raise not_found()
        fields = {"subject_id": 1}
        cursor = self._appointments.find(scoped(scope, {}), fields, batch_size=_AT_ONCE, comment=reason_of(scope))
        return self._visits(cursor)

    async def _visits(self, cursor: AsyncIOMotorCursor[Document]) -> AsyncIterator[Sequence[VisitOf]]:
        while found := await self._next(cursor):
            yield [VisitOf(str(one["_id"]), str(one["subject_id"])) for one in found]

    @answering
    async def _next(self, cursor: AsyncIOMotorCursor[Document]) -> Sequence[Document]:
        return await cursor.to_list(_AT_ONCE)

    async def _one(self, scope: Scope, query: Document) -> Export | None:
        found = await self._exports.find_one(scoped(scope, query), comment=reason_of(scope))
        if found is None:
            return None
        sealed = found.get("sealed")
        [opened] = await self._vault.open([sealed["identity"] if isinstance(sealed, dict) else None])
        key = None if opened is None or opened is ERASED else opened["key"]
        return _export(found, key if isinstance(key, bytes) else None)


def _export(found: Document, key: bytes | None) -> Export:
    known = {name: found[name] for name in Export.model_fields if name in found}
    return Export.model_validate({**known, "id": found["_id"], "key": key})
