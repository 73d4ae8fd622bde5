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
from typing import Any

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
    async with _grown(rig, many) as url, pool(rig.stack.api_url, 1) as near, pool(url, 1) as far:
        large = await asyncio.to_thread(write_booked_time, owner, GROWN, many)
        sides = (
            Side(rig.stack.api_url, rig.stack.settings.database, few, near),
            # As many different doctors as on the other side, from all over the collection.
            Side(url, GROWN, many[:: plan.growth], far),
        )
        keys = [await _keys_examined(owner, side, len(few)) for side in sides]
        ours, theirs = await _play(rig, sides)
    middles = {"1×": [one.p50 for one in theirs], f"{plan.growth}×": [one.p50 for one in ours]}
    sizes = f"{len(few)} doctors with {small} bookings against {len(many)} with {large}"
    asked = f"{plan.growth_requests} questions a round that no cache can answer"
    detail = f"{_median(middles[f'{plan.growth}×']):.2f} against {_median(middles['1×']):.2f} ms; {asked}; {sizes}"
    times = f"slots at {plan.growth}× data ÷ 1×"
    examined = f"{keys[1]:.1f} against {keys[0]:.1f} keys a request"
    slower = median_ratio([one.p50 for one in ours], [one.p50 for one in theirs])
    return [
        Figure(NUMBER, f"{times}: index keys", keys[1] / keys[0], at_most(1), examined),
        Figure(NUMBER, f"{times}: p50", slower, at_most(1.2), detail, rounds=middles),
    ]


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


async def _play(rig: Rig, sides: tuple[Side, Side]) -> tuple[list[Sample], list[Sample]]:
    small, large = sides
    ours: list[Sample] = []
    theirs: list[Sample] = []
    for number in range(rig.plan.rounds + 1):
        rig.tell(f"growth: round {number} of {rig.plan.rounds}")
        theirs.append(await closed_loop(small.ask, rig.plan.growth_requests, 1, limit=LIMIT_SECONDS))
        ours.append(await closed_loop(large.ask, rig.plan.growth_requests, 1, limit=LIMIT_SECONDS))
    return ours[1:], theirs[1:]  # the first round only warms both up


async def _keys_examined(owner_url: str, side: Side, requests: int) -> float:
    """Index keys per request, as MongoDB's profiler counts them over everything that the requests made it do."""
    with MongoClient[dict[str, Any]](owner_url, timeoutMS=SECONDS) as client:
        database = client[side.database]
        # Only what reads: the relay's own turns are not the requests'.
        database.command("profile", 2, filter={"ns": {"$in": [f"{side.database}.{name}" for name in _READ]}})
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
async def _grown(rig: Rig, doctors: tuple[Profile, ...]) -> AsyncIterator[str]:
    """A second database with so many doctors, and the address of an API process that serves it."""
    addresses = rig.stack.addresses
    settings = rig.stack.settings.model_copy(
        update={
            "database": GROWN,
            "mongodb_url": SecretStr(addresses.mongodb_url(GROWN)),
            "audit_mongodb_url": SecretStr(addresses.audit_mongodb_url(GROWN)),
        }
    )
    await prepare_stores(settings, addresses.owner_mongodb_url(GROWN))
    await write(settings, catalogue(len(doctors)))
    port = free_port()
    child = _api(settings, port, rig.folder / "grown-api.log")
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
    return Process("grown api", command, log=log, environment=environment)


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
