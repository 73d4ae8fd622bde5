"""How often somebody has tried in vain: counted where every process sees it, kept under keyed names only."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, literal
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of
from models.credentials import Backoff
from models.identity import PLATFORM, Scope
from models.identity_ports import Turn

DECLARED: Final = Declared(
    "sign_in_tries", [IndexModel([("expires_at", ASCENDING)], name="expired", expireAfterSeconds=0)]
)


class MongoTries:
    """Implements `models.identity_ports.Tries` on `sign_in_tries`.

    Counters are named by a blind index: the unknown are counted like the known.
    """

    def __init__(self, database: Database) -> None:
        """The counters of everybody."""
        self._tries: Collection = database["sign_in_tries"]

    @answering
    async def take(self, scope: Scope, name: str, backoff: Backoff, now: datetime) -> Turn:
        """Count one try in one update, unless one before it has to be waited for."""
        mark = secrets.token_hex(8)
        locked: Document = {"$gt": ["$locked_until", literal(now)]}
        forgotten: Document = {"$lte": ["$expires_at", literal(now)]}
        count: Document = {"$cond": [forgotten, 1, {"$add": [{"$ifNull": ["$failures", 0]}, 1]}]}
        steps = literal(list(backoff.seconds))
        place: Document = {"$subtract": [{"$min": ["$$count", len(backoff.seconds)]}, 1]}
        wait: Document = {"$multiply": [{"$arrayElemAt": [steps, place]}, 1000]}
        changed: Document = {
            "failures": "$$count",
            "locked_until": {"$add": [literal(now), wait]},
            "expires_at": literal(now + backoff.forget_after + timedelta(seconds=backoff.seconds[-1])),
            "mark": literal(mark),
            "tenant_id": literal(PLATFORM),
        }
        counted: Document = {"$let": {"vars": {"count": count}, "in": {"$mergeObjects": ["$$ROOT", changed]}}}
        update: list[Document] = [{"$replaceWith": {"$cond": [locked, "$$ROOT", counted]}}]
        after = await self._upsert(scope, name, update)
        until = after["locked_until"]
        if not isinstance(until, datetime):
            msg = "a counter without the instant until which it is closed"
            raise TypeError(msg)
        return Turn(after["mark"] == mark, until)

    async def _upsert(self, scope: Scope, name: str, update: list[Document]) -> Document:
        while True:
            try:
                return await self._tries.find_one_and_update(
                    {"_id": name}, update, upsert=True, return_document=ReturnDocument.AFTER, comment=reason_of(scope)
                )
            except DuplicateKeyError:
                continue  # somebody else has made the counter just now, so it is there to be updated

    @answering
    async def closed_until(self, scope: Scope, name: str, now: datetime) -> datetime | None:
        """Until when tries have to wait; None where one may be made."""
        found = await self._tries.find_one({"_id": name}, {"locked_until": 1}, comment=reason_of(scope))
        until = None if found is None else found["locked_until"]
        return until if isinstance(until, datetime) and until > now else None

    @answering
    async def forget(self, scope: Scope, name: str) -> None:
        """A try was right: those before it count no more."""
        await self._tries.delete_one({"_id": name}, comment=reason_of(scope))
