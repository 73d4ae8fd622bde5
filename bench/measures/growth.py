"""Whether listing free times gets slower with the data: the same questions on one and on ten times as much of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr
from pymongo import MongoClient

from adapters.settings import Settings
from bench.catalogue import SECONDS, catalogue, first_day, listed_doctors, write_booked_time
from bench.figures import Figure, Sample, at_most, median_ratio
from bench.http import Pool, pool, prepared
from bench.load import closed_loop
from bench.product import BenchError
from bench.rig import Rig
from cli.migrate import prepare_stores
from cli.running import environment_of
from cli.seed.catalogue import Profile
from cli.seed.write import write
from sandbox.servers.processes import HOST, Process, StartError, free_port

NUMBER = 4
GROWN = "visitnow_grown"
DAYS = 7
LIMIT_SECONDS = 60.0
READY_SECONDS = 30.0
POLL_SECONDS = 0.1
ROOT = Path(__file__).parents[2]


class Asked(Protocol):
    """One amount of data, in a database of its own, with somebody who asks about it."""

    database: str

    async def ask(self) -> None:
        """The next question that nobody has asked before."""
        ...


class Side:
    """One amount of data, and an API process that serves it."""

    def __init__(self, url: str, database: str, doctors: tuple[Profile, ...], connections: Pool) -> None:
        """`doctors` are those that are asked for."""
        self.database = database
        self._url = url
        self._doctors = doctors
        self._connections = connections
        self._asked = 0

    async def ask(self) -> None:
        """The next question that nobody has asked before: every doctor for seven days, then for those a day later."""
        ahead, index = divmod(self._asked, len(self._doctors))
        self._asked += 1
        # Measure 3 asks for the first seven days, and its answers may still be kept.
        first = first_day() + timedelta(days=1 + ahead)
        answer = await self._connections.ask(_question(self._url, self._doctors[index], first))
        if answer.status != HTTPStatus.OK:
            raise BenchError(f"{answer.status}: {answer.body[:200]!r}")


def _question(url: str, doctor: Profile, first: date) -> bytes:
    provider = doctor.provider
    query = f"service_id={provider.services[0].id}&from={first}&to={first + timedelta(days=DAYS - 1)}"
    return prepared("GET", f"{url}/v1/providers/{provider.id}/slots?{query}")


async def measure(rig: Rig) -> list[Figure]:
    """Row 4, twice: index keys examined and how long an answer takes."""
    plan = rig.plan
    rig.tell(f"growth: writing {plan.growth} times the doctors and bookings")
    few, many = listed_doctors(plan.doctors), listed_doctors(plan.doctors * plan.growth)
    owner = rig.stack.addresses.owner_mongodb_url("admin")
    small = await asyncio.to_thread(write_booked_time, owner, rig.stack.settings.database, few)
    async with served(rig, GROWN, len(many)) as url, pool(rig.stack.api_url, 1) as near, pool(url, 1) as far:
        large = await asyncio.to_thread(write_booked_time, owner, GROWN, many)
        sides = (
            Side(rig.stack.api_url, rig.stack.settings.database, few, near),
            # As many different doctors as on the other side, from all over the collection.
            Side(url, GROWN, many[:: plan.growth], far),
        )
        keys = [await keys_examined(owner, side, len(few), _READ) for side in sides]
        ours, theirs = await play(rig, "growth", sides)
    middles = {"1×": [one.p50 for one in theirs], f"{plan.growth}×": [one.p50 for one in ours]}
    sizes = f"{len(few)} doctors with {small} bookings against {len(many)} with {large}"
    asked = f"{plan.growth_requests} questions a round that no cache can answer"
    detail = f"{median(middles[f'{plan.growth}×']):.2f} against {median(middles['1×']):.2f} ms; {asked}; {sizes}"
    times = f"slots at {plan.growth}× data ÷ 1×"
    examined = f"{keys[1]:.1f} against {keys[0]:.1f} keys a request"
    slower = median_ratio([one.p50 for one in ours], [one.p50 for one in theirs])
    return [
        Figure(NUMBER, f"{times}: index keys", keys[1] / keys[0], at_most(1), examined),
        Figure(NUMBER, f"{times}: p50", slower, at_most(1.2), detail, rounds=middles),
    ]


def median(values: list[float]) -> float:
    """The middle round, for the text beside a ratio."""
    return sorted(values)[len(values) // 2]


async def play(rig: Rig, name: str, sides: tuple[Asked, Asked]) -> tuple[list[Sample], list[Sample]]:
    """The large side's and the small one's rounds, `sides` being small and large; the first only warms both up."""
    small, large = sides
    ours: list[Sample] = []
    theirs: list[Sample] = []
    for number in range(rig.plan.rounds + 1):
        rig.tell(f"{name}: round {number} of {rig.plan.rounds}")
        theirs.append(await closed_loop(small.ask, rig.plan.growth_requests, 1, limit=LIMIT_SECONDS))
        ours.append(await closed_loop(large.ask, rig.plan.growth_requests, 1, limit=LIMIT_SECONDS))
    return ours[1:], theirs[1:]


async def keys_examined(owner_url: str, side: Asked, requests: int, read: tuple[str, ...]) -> float:
    """Index keys per request, as MongoDB's profiler counts them over all reads of the collections `read`."""
    with MongoClient[dict[str, Any]](owner_url, timeoutMS=SECONDS) as client:
        database = client[side.database]
        # Only what reads: the relay's own turns are not the requests'.
        database.command("profile", 2, filter={"ns": {"$in": [f"{side.database}.{name}" for name in read]}})
        try:
            for _ in range(requests):
                await side.ask()
        finally:
            database.command("profile", 0)
        found = list(database["system.profile"].find({"keysExamined": {"$exists": True}}, {"keysExamined": 1}))
        database["system.profile"].drop()
    if not found:
        raise BenchError("the profiler saw no query: the answers came from a cache")
    return sum(int(entry["keysExamined"]) for entry in found) / requests


_READ = ("providers", "practitioners", "clinics", "tenants", "availability", "leaves", "slots")


@asynccontextmanager
async def served(rig: Rig, database: str, listed: int) -> AsyncIterator[str]:
    """A database of its own with so many listed doctors, and the address of an API process that serves it."""
    addresses = rig.stack.addresses
    settings = rig.stack.settings.model_copy(
        update={
            "database": database,
            "mongodb_url": SecretStr(addresses.mongodb_url(database)),
            "audit_mongodb_url": SecretStr(addresses.audit_mongodb_url(database)),
        }
    )
    await prepare_stores(settings, addresses.owner_mongodb_url(database))
    await write(settings, catalogue(listed))
    port = free_port()
    child = _api(settings, port, rig.folder / f"{database}-api.log")
    url = f"http://{HOST}:{port}"
    child.start()
    try:
        await _ready(url, child)
        yield url
    finally:
        await asyncio.to_thread(child.stop)


def _api(settings: Settings, port: int, log: Path) -> Process:
    environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "cli", "api", "--host", HOST, "--port", str(port)]
    return Process("second api", command, log=log, environment=environment)


async def _ready(url: str, child: Process) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            if not child.alive:
                raise StartError(f"the second API has ended\n{child.log_tail()}")
            try:
                async with pool(url, 1) as connections:
                    if (await connections.ask(prepared("GET", f"{url}/readyz"))).status == HTTPStatus.OK:
                        return
            except OSError:
                pass  # it does not listen yet
            await asyncio.sleep(POLL_SECONDS)
