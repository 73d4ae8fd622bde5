"""The audit trail, written by a database user who can neither change nor remove an entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo.errors import BulkWriteError

from adapters.mongo.client import Collection, Database, answering
from adapters.mongo.schema import Declared
from models.compliance import AuditEntry

_DUPLICATE_KEY: Final = 11000

DECLARED: Final = Declared("audit")


class MongoAuditTrail:
    """Implements `models.ports.AuditTrail` on the collection `audit`."""

    def __init__(self, database: Database) -> None:
        """The database as the audit writer sees it: insert and find."""
        self._audit: Collection = database["audit"]

    @answering
    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """One insert of all of them; those that were there before are left alone, whatever else fails is raised."""
        if not entries:
            return
        documents = [{"_id": entry.id, **entry.model_dump(exclude={"id"})} for entry in entries]
        try:
            await self._audit.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(one["code"] != _DUPLICATE_KEY for one in failures):
                raise
