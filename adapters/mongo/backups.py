"""A database as it was at one instant, byte for byte, and an empty one that is to become it.

All collections are read in one snapshot session (`readConcern: snapshot` at one cluster time), so what is read belongs
together although the database goes on. Documents are taken as their bytes and put back as such: the audit's seals are
over those bytes.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple

from bson import CodecOptions, Timestamp, decode
from bson.raw_bson import RawBSONDocument
from motor.core import AgnosticClientSession
from pymongo import ASCENDING
from pymongo.errors import OperationFailure, PyMongoError

from adapters.mongo import indexes
from adapters.mongo.client import Client, Database, answering, open_client, unanswered
from adapters.mongo.encryption import IS_KEY, VAULT_COLLECTION, sealed_within
from models.backups import BackupError, Measure
from models.errors import UnavailableError

_RAW: Final[CodecOptions[RawBSONDocument]] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
_BY_ID: Final = [("_id", ASCENDING)]
_LENGTH: Final = struct.Struct("<i")
"""A document begins with its own length (BSON)."""

_AT_ONCE: Final = 20_000
_INSERTED_AT_ONCE: Final = 2_000
_SYSTEM: Final = "system."
_TOO_OLD: Final = frozenset({239, 246})
"""SnapshotTooOld, SnapshotUnavailable."""

RESTORING: Final = "restoring"
"""A collection that is there only while a database is being restored: its one document is named like the backup."""

SECONDS: Final = 600
"""A backup waits for no person: building a large collection's index may take minutes."""


class Batch(NamedTuple):
    """Documents one after another."""

    content: bytes
    documents: int


class Keys(NamedTuple):
    """How many keys there are in part of a vault's backup, and the names of those that a vault lacks."""

    all: int
    lacking: Sequence[str]


class MongoSnapshot:
    """One database at one instant."""

    def __init__(self, database: Database, session: AgnosticClientSession, taken_at: datetime) -> None:
        """By `taken`."""
        self._database = database
        self._session = session
        self.taken_at = taken_at

    @classmethod
    @asynccontextmanager
    async def taken(cls, url: str, database: str) -> AsyncIterator[MongoSnapshot]:
        """Fix the instant: the newest that a majority of the replica set has seen."""
        client = open_client(url, "visitnow-backup", within=SECONDS)
        try:
            async with await client.start_session(snapshot=True) as session:
                yield cls(client[database], session, await _instant(client, database, session))
        finally:
            client.close()

    @answering
    async def collections(self) -> list[str]:
        """All there are, by name."""
        found = await self._database.list_collection_names()
        return sorted(one for one in found if not one.startswith(_SYSTEM))

    async def sealed(self) -> str | None:
        """A collection in which something is sealed, whatever the field is called; None where nothing is.

        Reads everything. Raises as `documents` does.
        """
        for collection in await self.collections():
            async for batch in self.documents(collection):
                for start, end in _bounds(batch.content):
                    if any(sealed_within(decode(batch.content[start:end]))):
                        return collection
        return None

    async def documents(self, collection: str) -> AsyncIterator[Batch]:
        """All of a collection in the order of their ids, at most 16 MB at a time.

        Raises `BackupError` where the server no longer has the snapshot, and `UnavailableError`.
        """
        cursor = self._database[collection].find_raw_batches(
            sort=_BY_ID, hint="_id_", batch_size=_AT_ONCE, session=self._session
        )
        try:
            async for content in cursor:
                yield Batch(content, sum(1 for _ in _bounds(content)))
        except PyMongoError as error:
            if isinstance(error, OperationFailure) and error.code in _TOO_OLD:
                msg = (
                    f"MongoDB no longer has its state of {self.taken_at:%H:%M:%S} UTC: "
                    "raise its parameter minSnapshotHistoryWindowInSeconds above what a backup takes"
                )
                raise BackupError(msg) from error
            if unanswered(error):
                raise UnavailableError("MongoDB does not answer") from error
            raise


@answering
async def _instant(client: Client, database: str, session: AgnosticClientSession) -> datetime:
    """The first read of a snapshot session chooses the instant of all that follow."""
    names = sorted(one for one in await client[database].list_collection_names() if not one.startswith(_SYSTEM))
    if not names:
        return await _clock(client)  # of nothing there is one state only
    probe = {"find": names[0], "projection": {"_id": 1}, "limit": 1, "singleBatch": True}
    reply = await client[database].command(probe, session=session)
    at = reply["cursor"].get("atClusterTime")
    if not isinstance(at, Timestamp):
        raise BackupError("MongoDB does not say what instant it shows: snapshots need a replica set of 5.0 or newer")
    return datetime.fromtimestamp(at.time, UTC)


async def _clock(client: Client) -> datetime:
    hello = await client.admin.command("hello")
    now: datetime = hello["localTime"]
    return now.replace(tzinfo=UTC)  # commands answer without a zone


class MongoTarget:
    """A database that is to become what a backup holds; as a user who may make collections and indexes."""

    def __init__(self, url: str, database: str) -> None:
        """Connects with its first use."""
        self._client = open_client(url, "visitnow-restore", within=SECONDS)
        self._database: Database = self._client[database]

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    @property
    def name(self) -> str:
        """The database's."""
        return self._database.name

    @property
    def database(self) -> Database:
        """What is restored, for whoever looks into it afterwards."""
        return self._database

    @answering
    async def occupied(self) -> list[str]:
        """Collections in which there is anything."""
        names = [one for one in await self._database.list_collection_names() if not one.startswith(_SYSTEM)]
        return sorted([one for one in names if await self._database[one].find_one({}, {"_id": 1}) is not None])

    @answering
    async def restoring(self) -> str | None:
        """The backup whose restore began here and has not come to its end."""
        found = await self._database[RESTORING].find_one()
        return None if found is None else str(found["_id"])

    @answering
    async def begin(self, backup: str) -> None:
        """From now on whoever looks sees that this is half of something."""
        await self._database[RESTORING].insert_one({"_id": backup})

    @answering
    async def end(self) -> None:
        """It is whole."""
        await self._database[RESTORING].drop()

    @answering
    async def keys_of(self, content: bytes) -> Keys:
        """The keys among a vault's documents, and which of them are neither in this vault nor known to be buried."""
        documents = [decode(content[start:end]) for start, end in _bounds(content)]
        keys = [one for one in documents if "keyMaterial" in one]
        lacking: list[str] = []
        for start in range(0, len(keys), _INSERTED_AT_ONCE):
            some = {one["_id"]: str(one["keyAltNames"][0]) for one in keys[start : start + _INSERTED_AT_ONCE]}
            there = [
                {"_id": {"$in": list(some)}, **IS_KEY},
                {"keyAltNames": {"$in": list(some.values())}, "keyMaterial": {"$exists": False}},
            ]
            found = await self._database[VAULT_COLLECTION].find({"$or": there}, {"keyAltNames": 1}).to_list(None)
            names = {name for one in found for name in _strings(one["keyAltNames"])}
            lacking += [name for name in some.values() if name not in names]
        return Keys(len(keys), lacking)

    @answering
    async def accounts(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of them that this database knows."""
        found = [
            one
            for start in range(0, len(ids), _INSERTED_AT_ONCE)
            for one in await self._database["users"]
            .find({"_id": {"$in": list(ids[start : start + _INSERTED_AT_ONCE])}}, {"_id": 1})
            .to_list(None)
        ]
        return frozenset(str(one["_id"]) for one in found)

    @answering
    async def clock(self) -> datetime:
        """The server's own time."""
        return await _clock(self._client)

    @answering
    async def create(self, collection: str) -> None:
        """Make a bare collection: no index that would let documents expire while they are compared, no validator."""
        if collection not in await self._database.list_collection_names():
            await self._database.create_collection(collection)
            return
        await self._database[collection].drop_indexes()
        await self._database.command("collMod", collection, validator={})

    @answering
    async def insert(self, collection: str, content: bytes) -> int:
        """Put these documents there, as the bytes that they are; how many it were."""
        raw = self._database.get_collection(collection, codec_options=_RAW)
        documents = [RawBSONDocument(content[start:end]) for start, end in _bounds(content)]
        for start in range(0, len(documents), _INSERTED_AT_ONCE):
            await raw.insert_many(documents[start : start + _INSERTED_AT_ONCE])
        return len(documents)

    @answering
    async def empty(self, collection: str) -> None:
        """Drop all documents of one collection."""
        await self._database[collection].delete_many({})

    @answering
    async def measure(self, collection: str) -> Measure:
        """What is there now, read back in the order of the ids."""
        measure = Measure()
        cursor = self._database[collection].find_raw_batches(sort=_BY_ID, hint="_id_", batch_size=_AT_ONCE)
        async for content in cursor:
            measure.add(content, sum(1 for _ in _bounds(content)))
        return measure

    async def ensure_indexes(self) -> list[str]:
        """Declared validators and indexes; what differs from the declaration afterwards. Raises `UnavailableError`."""
        await indexes.ensure(self._database)
        return await indexes.compare(self._database)


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _bounds(content: bytes) -> Iterator[tuple[int, int]]:
    """Where each document begins and ends."""
    start = 0
    while start < len(content):
        end = start + int(_LENGTH.unpack_from(content, start)[0])
        yield start, end
        start = end
