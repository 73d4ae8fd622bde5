"""Who has stopped which sender: one document per pair, named by a keyed digest, so that no number lies open."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id
from adapters.mongo.schema import Declared
from models.addresses import AddressKind, blind_index
from models.identity import PLATFORM

DECLARED: Final = Declared("message_stops")
_REPLIES_KEPT: Final = 50


class MongoStops:
    """Implements `models.stops.Stops` on `message_stops`."""

    def __init__(self, database: Database, index_key: bytes) -> None:
        """`index_key` hides the addresses."""
        self._stops: Collection = database["message_stops"]
        self._index_key = index_key

    @answering
    async def stopped(self, sender: str, reader: str) -> bool:
        """One read by id."""
        found = await self._stops.find_one({"_id": self._key(sender, reader)}, {"stopped": 1})
        return found is not None and found["stopped"] is True

    @answering
    async def note(self, sender: str, reader: str, *, stopped: bool, reply_id: str, at: datetime) -> None:
        """One upsert; a reply that is known already finds nothing to change."""
        key = self._key(sender, reader)
        change: Document = {
            "$set": {"stopped": stopped, "updated_at": at},
            "$push": {"replies": {"$each": [reply_id], "$slice": -_REPLIES_KEPT}},
            "$setOnInsert": {"tenant_id": PLATFORM, "created_at": at},
            "$inc": {"version": 1},
        }
        try:
            await self._stops.update_one({"_id": key, "replies": {"$ne": reply_id}}, change, upsert=True)
        except DuplicateKeyError as error:
            # The document is there and has this reply; or two first replies met, and the other one made it.
            if not clashes_on_id(error):
                raise
            await self._stops.update_one({"_id": key, "replies": {"$ne": reply_id}}, change)

    def _key(self, sender: str, reader: str) -> str:
        return blind_index(self._index_key, AddressKind.PHONE, f"{sender}\n{reader}")
