"""Leases: of all processes that could do a job, the one that does it now."""

from __future__ import annotations

from typing import Final

from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, literal
from adapters.mongo.schema import Declared
from models.identity import PLATFORM

DECLARED: Final = Declared("relay_leases")


class MongoLeases:
    """Implements `models.ports.Leases` in `relay_leases`, timed by the server's clock alone."""

    def __init__(self, database: Database) -> None:
        """The leases of all processes on this database."""
        # A lease that a crash of the primary loses is taken again; two holders for a moment do no harm.
        self._leases: Collection = database["relay_leases"].with_options(write_concern=WriteConcern(w=1))

    @answering
    async def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """One upsert that changes hands only where nobody else's lease runs."""
        until = {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": int(seconds * 1000)}}
        free = {"$or": [{"$eq": ["$owner", literal(owner)]}, {"$lte": ["$until", "$$NOW"]}]}
        values: Document = {
            "owner": {"$cond": [free, literal(owner), "$owner"]},
            "until": {"$cond": [free, until, "$until"]},
            "tenant_id": literal(PLATFORM),
        }
        try:
            # A lease that does not exist has no `until`, which sorts before every date: it is free.
            lease = await self._leases.find_one_and_update(
                {"_id": name}, [{"$set": values}], upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return False  # somebody else has made it just now
        return lease["owner"] == owner

    @answering
    async def release(self, name: str, owner: str) -> None:
        """One delete; another's lease stays."""
        await self._leases.delete_one({"_id": name, "owner": owner})
