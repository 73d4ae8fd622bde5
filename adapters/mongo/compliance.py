"""The audit trail, written by a database user who can neither change nor remove an entry.

Each entry carries a stamp that the server gives it when it is written: the replica set's own clock, which never goes
back and never repeats, whatever the entry itself says about when something happened. Lists and seals follow the stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from bson import Timestamp
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, scoped
from models.compliance import AuditAction, AuditEntry, AuditQuery, NotedEntry
from models.cursor import decode_cursor, encode_cursor
from models.identity import Scope
from models.ports import Page

_DUPLICATE_KEY: Final = 11000
_NOW_AT_THE_SERVER: Final = Timestamp(0, 0)
"""The server puts its own time in place of an empty stamp."""

WRITE_SECONDS: Final = 5
"""The server gives an insert up after this; what is written was stamped no longer ago."""
SETTLE_SECONDS: Final = 4 * WRITE_SECONDS
"""Entries that are older than this, by what a majority has seen, have all come."""

LOOKS: Final = [AuditAction.RECORD_READ, AuditAction.RIGHT_READ]
"""What somebody else's reading is noted as, of a record or of what its patient asked for by right."""

DECLARED: Final = Declared(
    "audit",
    [
        IndexModel([("tenant_id", ASCENDING), ("stamp", ASCENDING)], name="chain"),
        IndexModel([("tenant_id", ASCENDING), ("actor", ASCENDING), ("stamp", ASCENDING)], name="of_actor"),
        IndexModel([("tenant_id", ASCENDING), ("target", ASCENDING), ("stamp", ASCENDING)], name="of_target"),
        IndexModel([("subject_id", ASCENDING), ("stamp", ASCENDING)], name="of_subject"),
    ],
)


def stamp_of(number: int) -> Timestamp:
    """A stamp from its 64 bits: seconds since 1970, then a count within the second."""
    return Timestamp(number >> 32, number & 0xFFFFFFFF)


def number_of(stamp: object) -> int:
    """The 64 bits of a stamp. Raises TypeError where it is none."""
    if not isinstance(stamp, Timestamp):
        raise TypeError("an entry has no stamp")
    return stamp.time << 32 | stamp.inc


class MongoAuditTrail:
    """Implements `models.ports.AuditTrail` and `models.compliance_ports.AuditReader` on the collection `audit`."""

    def __init__(self, database: Database) -> None:
        """The database as the audit writer sees it: insert and find."""
        self._audit: Collection = database["audit"]

    @answering
    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """One insert of all of them; those that were there before are left alone, whatever else fails is raised."""
        if not entries:
            return
        documents: list[Document] = [
            {"_id": entry.id, "stamp": _NOW_AT_THE_SERVER, **entry.model_dump(exclude={"id"})} for entry in entries
        ]
        try:
            await self._audit.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(one["code"] != _DUPLICATE_KEY for one in failures):
                raise

    async def page(self, scope: Scope, query: AuditQuery, cursor: str | None) -> Page[NotedEntry]:
        """Entries as they were noted, newest first. Raises `ValueError` for a foreign cursor."""
        wanted: Document = query.model_dump(include={"actor", "action", "target", "subject_id"}, exclude_none=True)
        since = None if query.noted_from is None else query.noted_from << 32
        before = None if query.noted_to is None else query.noted_to << 32
        return await self._page(scope, wanted, (since, before), query.limit, cursor)

    async def looks(self, scope: Scope, subject_id: str, limit: int, cursor: str | None) -> Page[NotedEntry]:
        """Who else has read somebody's record, newest first. Raises `ValueError` for a foreign cursor."""
        wanted: Document = {"subject_id": subject_id, "action": {"$in": LOOKS}}
        return await self._page(scope, wanted, (None, None), limit, cursor)

    @answering
    async def _page(
        self, scope: Scope, wanted: Document, noted: tuple[int | None, int | None], limit: int, cursor: str | None
    ) -> Page[NotedEntry]:
        since, before = noted
        if cursor is not None:
            seconds, count = decode_cursor(cursor, int, int)
            last = seconds << 32 | count
            before = last if before is None else min(last, before)
        bounds: Document = {} if since is None else {"$gte": stamp_of(since)}
        if before is not None:
            bounds["$lt"] = stamp_of(before)
        found = await self._audit.find(
            scoped(scope, {**wanted, **({"stamp": bounds} if bounds else {})}),
            sort=[("stamp", DESCENDING)],
            limit=limit + 1,
            comment=reason_of(scope),
        ).to_list(None)
        items = [_noted(one) for one in found[:limit]]
        if len(found) <= limit:
            return Page(items, None)
        last = number_of(found[limit - 1]["stamp"])
        return Page(items, encode_cursor(last >> 32, last & 0xFFFFFFFF))


def _noted(found: Document) -> NotedEntry:
    known = {name: found[name] for name in AuditEntry.model_fields if name in found}
    seconds = number_of(found["stamp"]) >> 32
    return NotedEntry.model_validate({**known, "id": found["_id"], "noted_at": datetime.fromtimestamp(seconds, UTC)})
