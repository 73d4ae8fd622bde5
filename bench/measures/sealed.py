"""What it costs that patients' names are sealed: a page of them, opened, against the same page in clear."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from adapters.connections import mongo_addresses
from adapters.mongo.client import Collection, Document, open_client
from adapters.mongo.encryption import Vault
from bench.figures import Figure, Sample, at_most, median_ratio
from bench.product import BenchError
from bench.rig import Rig
from models.data_classes import DataClass

NUMBER = 9
PATIENTS: Final = 50
TURNS: Final = 100


async def measure(rig: Rig) -> list[Figure]:
    """Row 9: one page of fifty, warm: its keys have been used before, as those of whoever is on today's list."""
    addresses = mongo_addresses(rig.stack.settings)
    vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
    client = open_client(addresses.url, "visitnow-bench")
    try:
        patients: Collection = client[addresses.database]["users"]
        await _fill(patients, vault)

        async def plain() -> int:
            return len(await patients.find({"_id": {"$regex": "^bench_plain_"}}).to_list(None))

        async def sealed() -> int:
            found = await patients.find({"_id": {"$regex": "^bench_sealed_"}}).to_list(None)
            return sum(isinstance(one, dict) for one in await vault.open([_bytes(one["sealed"]) for one in found]))

        ours, theirs = [], []
        for number in range(rig.plan.rounds + 1):
            rig.tell(f"sealed list: round {number} of {rig.plan.rounds}")
            ours.append(await _timed(sealed))
            theirs.append(await _timed(plain))
        await patients.delete_many({"_id": {"$regex": "^bench_(plain|sealed)_"}})
    finally:
        client.close()
        await vault.close()
    # The first round only warms both up.
    middles = {"sealed": [one.p50 for one in ours[1:]], "plain": [one.p50 for one in theirs[1:]]}
    return [
        Figure(
            NUMBER,
            "50 patients, sealed p50 ÷ in clear p50",
            median_ratio(middles["sealed"], middles["plain"]),
            at_most(4),
            f"{middles['sealed'][-1]:.1f} against {middles['plain'][-1]:.1f} ms; five fields each, one key per patient",
            rounds=middles,
        )
    ]


async def _fill(patients: Collection, vault: Vault) -> None:
    for number in range(PATIENTS):
        fields: Document = {
            "name": f"Patient Number {number}",
            "phone": f"+9198000{number:05d}",
            "email": f"patient{number}@bench.example",
            "date_of_birth": "1990-01-31",
            "address": f"{number} Test Road, Bengaluru 560038",
        }
        owner: Document = {"tenant_id": "platform", "version": 1}
        sealed = await vault.seal(f"bench_{number}", DataClass.IDENTITY, fields)
        for key, document in ((f"bench_plain_{number}", fields), (f"bench_sealed_{number}", {"sealed": sealed})):
            whole: Document = {**owner, **document, "subject_id": key}
            await patients.replace_one({"_id": key}, whole, upsert=True)


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise BenchError("a sealed patient is not")
    return value


async def _timed(page: Callable[[], Awaitable[int]]) -> Sample:
    latencies = []
    for _ in range(TURNS):
        began = time.perf_counter()
        if await page() != PATIENTS:
            raise BenchError("the list is not whole")
        latencies.append(time.perf_counter() - began)
    return Sample(TURNS, sum(latencies), tuple(latencies))
