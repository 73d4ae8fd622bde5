"""Seals in the database, and the audit's entries as bytes in the order of their stamps.

An entry is written within the writer's time-out, which the server keeps to, and becomes visible in the order of the
replica set's own clock. So below a stamp that is older than that time-out by the clock of what a majority has seen,
nothing can be added any more but by force: what lies there and is under no seal was put there later.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from bson import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.compliance import number_of, stamp_of
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, scoped
from models.identity import Scope
from models.seals import Batch, Seal, SignedSeal, StoredEntry, UntrustedSealError

_RAW: Final[CodecOptions[RawBSONDocument]] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
_MAJORITY: Final = ReadConcern("majority")
_AT_ONCE: Final = 20_000

DECLARED: Final = Declared(
    "audit_seals",
    [
        IndexModel([("tenant_id", ASCENDING), ("number", ASCENDING)], name="chain", unique=True),
        IndexModel([("tenant_id", ASCENDING), ("stamps.upto", ASCENDING)], name="covering"),
    ],
)


_LENGTH: Final = struct.Struct("<i")
"""A document begins with its own length (BSON)."""


def leaves_in(batch: bytes) -> bytes:
    """The leaves of documents that stand one after another: `models.seals.leaf` of each, without a call for each."""
    length, sha256, leaves, start, end = _LENGTH.unpack_from, hashlib.sha256, [], 0, len(batch)
    while start < end:
        following = start + length(batch, start)[0]
        leaves.append(sha256(b"\x00" + batch[start:following]).digest())
        start = following
    return b"".join(leaves)


class KeptSeal(NamedTuple):
    """A seal and the leaves that it keeps of its entries."""

    signed: SignedSeal
    leaves: bytes


class MongoAuditSeals:
    """Implements `models.seal_ports.AuditSeals` on `audit` and `audit_seals`, and gives what verifying needs."""

    def __init__(self, database: Database) -> None:
        """The database as the audit writer sees it: insert and find."""
        self._database = database
        self._audit: Collection = database.get_collection("audit", read_concern=_MAJORITY)
        self._raw = database.get_collection("audit", codec_options=_RAW, read_concern=_MAJORITY)
        self._seals: Collection = database.get_collection("audit_seals", read_concern=_MAJORITY)

    # Sealing

    @answering
    async def tenants(self, scope: Scope) -> list[str]:
        """Two walks over the distinct keys of an index."""
        found = [
            str(one)
            for collection in (self._audit, self._seals)
            for one in await collection.distinct("tenant_id", scoped(scope, {}), comment=reason_of(scope))
        ]
        return sorted(set(found))

    @answering
    async def settled(self, scope: Scope, seconds: int) -> int:
        """By the clock of what a majority of the replica set has seen."""
        hello = await self._database.command("hello", comment=reason_of(scope))
        seen = number_of(hello["lastWrite"]["majorityOpTime"]["ts"])
        return max(0, seen - (seconds << 32))

    @answering
    async def last(self, scope: Scope, tenant_id: str) -> SignedSeal | None:
        """One indexed read."""
        found = await self._seals.find_one(
            scoped(scope, {"tenant_id": tenant_id}),
            {"ids": 0, "leaves": 0},
            sort=[("number", DESCENDING)],
            comment=reason_of(scope),
        )
        return None if found is None else _signed(found)

    @answering
    async def unsealed(self, scope: Scope, tenant_id: str, after: int, upto: int, limit: int) -> list[StoredEntry]:
        """One indexed read, in the order of the stamps."""
        return await self._entries(scope, tenant_id, after, upto, limit)

    @answering
    async def add(self, scope: Scope, signed: SignedSeal, batch: Batch) -> bool:
        """One insert; the number is unique in its chain."""
        seal = signed.seal
        document: Document = {
            "_id": f"{seal.tenant_id}:{seal.number}",
            **seal.model_dump(exclude={"after", "upto"}),
            # Not at the top, where the server would put its time in place of the first one's empty beginning.
            "stamps": {"after": stamp_of(seal.after), "upto": stamp_of(seal.upto)},
            "signature": signed.signature,
            "leaves": batch.leaves,
            "ids": list(batch.ids),
        }
        try:
            await self._seals.insert_one(document, comment=reason_of(scope))
        except DuplicateKeyError:
            return False
        return True

    # Verifying

    @answering
    async def page(self, scope: Scope, tenant_id: str, after: int, limit: int) -> list[KeptSeal]:
        """The seals after that number, in the order of the chain."""
        found = self._seals.find(
            scoped(scope, {"tenant_id": tenant_id, "number": {"$gt": after}}),
            {"ids": 0},
            sort=[("number", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [KeptSeal(_signed(one), _bytes(one["leaves"])) for one in await found.to_list(None)]

    @answering
    async def ids(self, scope: Scope, tenant_id: str, number: int) -> tuple[str, ...]:
        """The ids of a seal's entries."""
        found = await self._seals.find_one(
            scoped(scope, {"tenant_id": tenant_id, "number": number}), {"ids": 1}, comment=reason_of(scope)
        )
        listed = found["ids"] if found is not None else ()
        return tuple(str(one) for one in listed) if isinstance(listed, list) else ()

    async def raw(self, scope: Scope, tenant_id: str, after: int, upto: int) -> AsyncIterator[bytes]:
        """The entries' bytes one after another, many at a time: nothing is read that need not be."""
        cursor = self._audit.find_raw_batches(
            scoped(scope, _between(tenant_id, after, upto)),
            sort=[("stamp", ASCENDING)],
            batch_size=_AT_ONCE,
            comment=reason_of(scope),
        )
        async for batch in cursor:
            yield batch

    @answering
    async def between(self, scope: Scope, tenant_id: str, after: int, upto: int) -> list[StoredEntry]:
        """A seal's entries as they lie now."""
        return await self._entries(scope, tenant_id, after, upto, 0)

    @answering
    async def count(self, scope: Scope, tenant_id: str, after: int) -> tuple[int, int]:
        """How many entries come after a stamp, and how many there are in all, those without a stamp included."""
        everything: Document = {"tenant_id": tenant_id}
        later: Document = {**everything, "stamp": {"$gt": stamp_of(after)}}
        counts = [
            await self._audit.count_documents(scoped(scope, query), comment=reason_of(scope))
            for query in (later, everything)
        ]
        return counts[0], counts[1]

    @answering
    async def unstamped(self, scope: Scope, tenant_id: str) -> list[str]:
        """Entries that stand outside the order: nothing of ours writes one."""
        outside: list[Document] = [{"stamp": {"$not": {"$type": "timestamp"}}}, {"stamp": {"$lte": stamp_of(0)}}]
        query: Document = {"tenant_id": tenant_id, "$or": outside}
        found = self._audit.find(scoped(scope, query), {"_id": 1}, comment=reason_of(scope))
        return [str(one["_id"]) for one in await found.to_list(None)]

    @answering
    async def entry(self, scope: Scope, entry_id: str) -> tuple[str, StoredEntry] | None:
        """One entry and its tenant."""
        found = await self._raw.find_one(scoped(scope, {"_id": entry_id}), comment=reason_of(scope))
        return None if found is None else (str(found["tenant_id"]), _stored(found))

    @answering
    async def covering(self, scope: Scope, tenant_id: str, stamp: int) -> KeptSeal | None:
        """The seal over that stamp; None where it is not sealed yet."""
        found = await self._seals.find_one(
            scoped(scope, {"tenant_id": tenant_id, "stamps.upto": {"$gte": stamp_of(stamp)}}),
            {"ids": 0},
            sort=[("stamps.upto", ASCENDING)],
            comment=reason_of(scope),
        )
        return None if found is None else KeptSeal(_signed(found), _bytes(found["leaves"]))

    async def _entries(self, scope: Scope, tenant_id: str, after: int, upto: int, limit: int) -> list[StoredEntry]:
        found = self._raw.find(
            scoped(scope, _between(tenant_id, after, upto)),
            sort=[("stamp", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [_stored(one) for one in await found.to_list(None)]


def _between(tenant_id: str, after: int, upto: int) -> Document:
    return {"tenant_id": tenant_id, "stamp": {"$gt": stamp_of(after), "$lte": stamp_of(upto)}}


def _stored(found: object) -> StoredEntry:
    if not isinstance(found, RawBSONDocument):
        raise TypeError("an entry was not read as its bytes")
    return StoredEntry(str(found["_id"]), number_of(found["stamp"]), bytes(found.raw))


def _signed(found: Document) -> SignedSeal:
    """The seal. Raises `UntrustedSealError` for what nothing of ours has put there."""
    known = {name: found[name] for name in Seal.model_fields if name in found}
    stamps = found.get("stamps")
    try:
        bounds = {name: number_of(stamp) for name, stamp in stamps.items()} if isinstance(stamps, dict) else {}
        return SignedSeal(seal=Seal.model_validate({**known, **bounds}), signature=str(found.get("signature")))
    except (TypeError, ValueError) as error:
        raise UntrustedSealError(f"{found['_id']} in audit_seals is no seal") from error


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
