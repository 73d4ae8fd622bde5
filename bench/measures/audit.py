"""What it costs that the audit can be trusted: verifying its seals against plainly hashing, and writes per change."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from pymongo import MongoClient
from temporalio.testing import ActivityEnvironment

from activities.compliance import AuditActivities, SealEverything
from adapters.connections import mongo_addresses
from adapters.mongo import compliance, seals
from adapters.mongo.client import Client, Document, open_client
from adapters.mongo.compliance import MongoAuditTrail
from adapters.mongo.seals import KeptSeal, MongoAuditSeals
from adapters.seal_heads import StoredSealHeads
from adapters.settings import Settings
from adapters.tokens import Statements
from bench.figures import Figure, at_least, at_most, median_ratio
from bench.product import BenchError
from bench.rig import Rig
from cli.verifying import VERIFYING, State, Verifier
from models.compliance import AuditAction, AuditEntry
from models.identity import Scope

NUMBER: Final = 13
TENANT: Final = "tnt_bench_audit"
DATABASE: Final = "bench_audit"
AT_ONCE: Final = 2_000
CHANGES_BOOKINGS: Final = 20
DRAINED_SECONDS: Final = 30.0
_FOREVER: Final = 2**63


class _Remembered(MongoAuditSeals):
    """Keeps what was read once, so that a second verification finds everything at hand."""

    def __init__(self, client: Client) -> None:
        super().__init__(client[DATABASE])
        self.pages: dict[tuple[str, int], list[KeptSeal]] = {}
        self.batches: dict[int, list[bytes]] = {}
        self._counts: dict[str, tuple[int, int]] = {}

    async def page(self, scope: Scope, tenant_id: str, after: int, limit: int) -> list[KeptSeal]:
        if (tenant_id, after) not in self.pages:
            self.pages[tenant_id, after] = await super().page(scope, tenant_id, after, limit)
        return self.pages[tenant_id, after]

    async def raw(self, scope: Scope, tenant_id: str, after: int, upto: int) -> AsyncIterator[bytes]:
        if after not in self.batches:
            self.batches[after] = [one async for one in super().raw(scope, tenant_id, after, upto)]
        for batch in self.batches[after]:
            yield batch

    async def count(self, scope: Scope, tenant_id: str, after: int) -> tuple[int, int]:
        if tenant_id not in self._counts:
            self._counts[tenant_id] = await super().count(scope, tenant_id, after)
        return self._counts[tenant_id]


async def measure(rig: Rig) -> list[Figure]:
    """Row 13."""
    return [*await _verifying(rig), await _writes(rig)]


async def _verifying(rig: Rig) -> list[Figure]:
    settings = rig.stack.settings.model_copy(update={"database": DATABASE, "storage_url": None})
    with MongoClient[Document](rig.stack.addresses.owner_mongodb_url(DATABASE)) as owner:
        # Only those that verifying needs: the others would make filling slow, and nothing else.
        for declared in (compliance.DECLARED, seals.DECLARED):
            chain = [one for one in declared.indexes if one.document["name"] == "chain"]
            owner[DATABASE][declared.collection].create_indexes(chain)
    client = open_client(mongo_addresses(settings).audit_url, "visitnow-bench")
    try:
        rig.tell(f"audit: writing and sealing {rig.plan.audited:,} entries")
        await _fill(MongoAuditTrail(client[DATABASE]), rig.plan.audited)
        sides = await _sides(settings, client, rig.plan.audited)
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rig.plan.rounds):
            rig.tell(f"audit: round {number + 1} of {rig.plan.rounds}")
            for name, side in sides.items():
                rates[name].append(rig.plan.audited / await _seconds(side))
    finally:
        client.close()
        with MongoClient[Document](rig.stack.addresses.owner_mongodb_url(DATABASE)) as owner:
            owner.drop_database(DATABASE)
    return _figures(rig.plan.audited, rates)


def _figures(entries: int, rates: dict[str, list[float]]) -> list[Figure]:
    last = {name: f"{values[-1]:,.0f}" for name, values in rates.items()}
    whole = median_ratio(rates["from the database"], rates["hashing"])
    return [
        Figure(
            NUMBER,
            "verifying the audit: entries/s ÷ plainly hashing the same bytes",
            median_ratio(rates["at hand"], rates["hashing"]),
            at_least(0.3),
            f"{last['at hand']} against {last['hashing']} of {entries:,} entries at hand",
            rounds=rates,
        ),
        Figure(
            NUMBER,
            "the same from the database ÷ plainly reading and hashing",
            median_ratio(rates["from the database"], rates["reading and hashing"]),
            at_least(0.3),
            f"{last['from the database']} against {last['reading and hashing']}; {whole:.2f} of hashing alone",
            rounds=rates,
        ),
    ]


async def _fill(trail: MongoAuditTrail, count: int) -> None:
    now = datetime.now(UTC)
    for start in range(0, count, AT_ONCE):
        await trail.append([_entry(number, now) for number in range(start, min(count, start + AT_ONCE))])


def _entry(number: int, now: datetime) -> AuditEntry:
    return AuditEntry(
        id=f"aud_{number:026}",
        tenant_id=TENANT,
        at=now,
        actor="usr_abcdefghijklmnopqrstuvwxyz",
        actor_kind="clinic",
        action=AuditAction.RECORD_READ,
        target=f"apt_{number:026}",
        subject_id=f"usr_{number % 1000:026}",
        why="GET /v1/appointments/{appointment_id}",
        origin="203.0.113.7",
    )


async def _sides(settings: Settings, client: Client, entries: int) -> dict[str, Callable[[], Awaitable[None]]]:
    """Seal everything, and what is to be timed."""
    statements, heads = Statements(settings.token_keys), StoredSealHeads(None)
    stored = MongoAuditSeals(client[DATABASE])
    sealing = AuditActivities(stored, heads, statements)
    tally = await ActivityEnvironment().run(sealing.seal, SealEverything(settle_seconds=0))
    if tally.entries != entries:
        raise BenchError(f"{tally.entries} of {entries} entries were sealed")
    remembered = _Remembered(client)
    await _verify(Verifier(remembered, heads, statements), entries)
    documents = [one for batches in remembered.batches.values() for batch in batches for one in _split(batch)]

    async def hashing() -> None:
        _hash(documents)

    async def reading_and_hashing() -> None:
        async for batch in stored.raw(VERIFYING, TENANT, 0, _FOREVER):
            _hash(_split(batch))

    return {
        "at hand": lambda: _verify(Verifier(remembered, heads, statements), entries),
        "hashing": hashing,
        "from the database": lambda: _verify(Verifier(stored, heads, statements), entries),
        "reading and hashing": reading_and_hashing,
    }


async def _verify(verifier: Verifier, entries: int) -> None:
    report = await verifier.run(State(), lambda _: None, lambda _: None)
    if report.findings or report.entries != entries:
        raise BenchError("the audit does not verify")


def _split(batch: bytes) -> list[bytes]:
    documents, start = [], 0
    while start < len(batch):
        end = start + int.from_bytes(batch[start : start + 4], "little")
        documents.append(batch[start:end])
        start = end
    return documents


def _hash(documents: list[bytes]) -> None:
    for one in documents:
        hashlib.sha256(one).digest()


async def _seconds(side: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await side()
    return time.perf_counter() - began


async def _writes(rig: Rig) -> Figure:
    """Commands that write to the audit while people book, as the server notes them, over the changes they are for."""
    database = rig.stack.settings.database
    with MongoClient[Document](rig.stack.addresses.owner_mongodb_url(database), tz_aware=True) as owner:
        await asyncio.to_thread(_drained, owner, database)
        before = owner[database]["audit"].count_documents({})
        owner[database].command("profile", 1, filter={"ns": f"{database}.audit", "op": {"$in": ["insert", "update"]}})
        for _ in range(CHANGES_BOOKINGS):
            await rig.product.book()
        await asyncio.to_thread(_drained, owner, database)
        owner[database].command("profile", 0)
        writes = owner[database]["system.profile"].count_documents({"ns": f"{database}.audit"})
        changes = owner[database]["audit"].count_documents({}) - before
    return Figure(
        NUMBER,
        "writes to the audit per change of state",
        writes / changes,
        at_most(1),
        f"{writes} for {changes} changes of {CHANGES_BOOKINGS} paid bookings: what happens together is noted together",
    )


def _drained(owner: MongoClient[Document], database: str) -> None:
    """Return once the relay has carried everything. Raises `BenchError`."""
    until = time.monotonic() + DRAINED_SECONDS
    while owner[database]["appointments"].find_one({"outbox.0": {"$exists": True}}) is not None:
        if time.monotonic() > until:
            raise BenchError("the relay does not carry events")
        time.sleep(0.1)
