"""Records that were kept for their time: found by their age in indexes of those that still say something."""

from __future__ import annotations

from collections.abc import Collection as Several
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.erasure import sent_texts
from adapters.mongo.scopes import reason_of, scoped
from models.erasure import SentText
from models.holdings import Holding, Treatment
from models.identity import PLATFORM, Scope
from models.retention import Record

_SOMETHING: Final[Document] = {"$type": "object"}
"""What is sealed and was not blanked yet; the indexes hold nothing else."""


class MongoOutdated:
    """Implements `models.retention.Outdated`; the collections' own repositories declare the indexes."""

    def __init__(self, database: Database) -> None:
        """The application's database."""
        self._database = database

    @answering
    async def tenants(self, scope: Scope) -> list[str]:
        """One read of ids."""
        found = self._database["tenants"].find(
            scoped(scope, {}), {"_id": 1}, sort=[("_id", ASCENDING)], comment=reason_of(scope)
        )
        return [PLATFORM, *(str(one["_id"]) for one in await found.to_list(None) if one["_id"] != PLATFORM)]

    @answering
    async def count(self, scope: Scope, holding: Holding, tenant_id: str, before: datetime) -> int:
        """One count in an index."""
        query = _query(holding, tenant_id, before)
        return await self._database[holding.collection].count_documents(scoped(scope, query), comment=reason_of(scope))

    @answering
    async def some(
        self, scope: Scope, holding: Holding, tenant_id: str, before: datetime, spared: Several[str], limit: int
    ) -> list[Record]:
        """One indexed read, oldest first."""
        query = _query(holding, tenant_id, before)
        if holding.subject_field is not None and spared:
            query[holding.subject_field] = {"$nin": sorted(spared)}
        found = self._database[holding.collection].find(
            scoped(scope, query),
            {"subject_id": 1},
            sort=[(str(holding.dated_by), ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [
            Record(str(one["_id"]), None if one.get("subject_id") is None else str(one["subject_id"]))
            for one in await found.to_list(None)
        ]

    @answering
    async def sent_texts(self, scope: Scope, ids: Sequence[str]) -> list[SentText]:
        """One read by ids."""
        return await sent_texts(self._database, scope, {"_id": {"$in": list(ids)}})

    @answering
    async def remove(self, scope: Scope, holding: Holding, ids: Sequence[str]) -> int:
        """One delete or update by ids; a blanked appointment's claim loses its words first."""
        collection: Collection = self._database[holding.collection]
        wanted = scoped(scope, {"_id": {"$in": list(ids)}})
        if holding.treatment is Treatment.DELETE:
            done = await collection.delete_many(wanted, comment=reason_of(scope))
            return done.deleted_count
        if holding.collection == "appointments":
            await self._blank_claims(scope, ids)
        values: Document = {**dict.fromkeys(holding.blanks, ""), str(holding.sealed): None}
        blanked = await collection.update_many(wanted, {"$set": values}, comment=reason_of(scope))
        return blanked.modified_count

    async def _blank_claims(self, scope: Scope, ids: Sequence[str]) -> None:
        slots: Collection = self._database["slots"]
        theirs: Document = {"$in": list(ids)}
        nothing: Document = {"$set": {"intake": None, "body_hash": ""}}
        own = scoped(scope, {"_id": theirs, "intake": {"$ne": None}})
        await slots.update_many(own, nothing, comment=reason_of(scope))
        found = self._database["appointments"].find(
            scoped(scope, {"_id": theirs}), {"subject_id": 1}, comment=reason_of(scope)
        )
        # A seat is found by who sits there: that has an index.
        people = {str(one["subject_id"]) for one in await found.to_list(None)}
        seated: Document = {"kind": "session", "seats.subject_id": {"$in": sorted(people)}, "seats.owner": theirs}
        await slots.update_many(
            scoped(scope, seated),
            {"$set": {"seats.$[own].intake": None, "seats.$[own].body_hash": ""}},
            array_filters=[{"own.owner": theirs}],
            comment=reason_of(scope),
        )


def _query(holding: Holding, tenant_id: str, before: datetime) -> Document:
    """A tenant's records of that age; what belongs to none is the platform's."""
    query: Document = {str(holding.dated_by): {"$lt": before}}
    if holding.treatment is Treatment.BLANK:
        query[str(holding.sealed)] = _SOMETHING
    if holding.only_in:
        query["state"] = {"$in": list(holding.only_in)}
    if holding.subject_field is not None:
        query["tenant_id"] = tenant_id
    elif tenant_id != PLATFORM:
        query["_id"] = {"$in": []}
    return query
