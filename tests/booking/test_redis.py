"""Redis only speeds things up: emptied or killed at any moment, nothing is booked twice and nothing is lost."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis as RedisClient

from sandbox.servers.provision import Provisioner
from sandbox.servers.redis import Redis
from sandbox.servers.stack import Addresses
from tests import clinics
from tests.booking.crowd import check, run
from tests.booking.support import (
    a_start,
    ask,
    book,
    cancel,
    look,
    ok,
    problem,
    somebody,
    temporal,
    the_books_hold,
    until,
    until_refunded,
)
from tests.clinics import offer
from tests.stack import LONG, Stack, eventually, running

VISIT = offer("steady", "visit")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that only this module uses."""
    server = Redis(Provisioner().redis(), tmp_path_factory.mktemp("redis") / "data")
    server.start()
    yield server
    server.process.kill()


@pytest.fixture(scope="module")
def fragile(
    servers: Addresses, redis: Redis, module_database_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack on that Redis."""
    addresses = dataclasses.replace(servers, redis_url=redis.url)
    folder = tmp_path_factory.mktemp("stack")
    with running(
        addresses, f"{module_database_name}_redis", folder, LONG, catalogue=clinics.catalogue(LONG)
    ) as started:
        yield started


@asynccontextmanager
async def forgetting(redis: Redis) -> AsyncIterator[None]:
    """Within, Redis forgets everything over and over."""
    client = RedisClient.from_url(redis.url)

    async def forget() -> None:
        while True:
            await client.flushall()
            await asyncio.sleep(0.005)

    forgetting_task = asyncio.create_task(forget())
    try:
        yield
        assert not forgetting_task.done(), "Redis was not emptied"
    finally:
        forgetting_task.cancel()
        await asyncio.gather(forgetting_task, return_exceptions=True)
        await client.aclose()


async def test_a_race_while_redis_forgets(fragile: Stack, redis: Redis) -> None:
    start = await a_start(fragile, VISIT)
    async with forgetting(redis):
        outcome = await run(fragile, [(VISIT, start)], 30)
    await check(fragile, await temporal(fragile), outcome, 1)


async def test_a_whole_life_while_redis_is_away(fragile: Stack, redis: Redis) -> None:
    """Held with it, killed, paid and cancelled without it, and back with it."""
    async with fragile.client(somebody()) as who, fragile.client(somebody()) as other:
        held = await book(fragile, who, VISIT)
        redis.process.kill()
        try:
            problem(await ask(fragile, other, VISIT, held["start"]), 409, "slot_taken")
            free = await fragile.free_starts(VISIT.provider_id, VISIT.service_id)
            assert held["start"] not in free
            theirs = ok(await ask(fragile, other, VISIT, free[0], key="without"), 201)
            assert free[0] not in await fragile.free_starts(VISIT.provider_id, VISIT.service_id)
            outcome = await run(fragile, [(VISIT, free[1])], 20)
            await check(fragile, await temporal(fragile), outcome, 1)
            await fragile.pay(held["payment"]["order_id"])
            await until(who, held["id"], state="confirmed")
        finally:
            redis.start()
        assert ok(await ask(fragile, other, VISIT, free[0], key="without"), 201)["id"] == theirs["id"]
        ok(await cancel(who, held["id"]))
        await until_refunded(who, held["id"], "processed")
        assert (await look(other, theirs["id"]))["state"] == "held"

        async def offered_again() -> bool:
            return held["start"] in await fragile.free_starts(VISIT.provider_id, VISIT.service_id)

        await eventually(offered_again, bool)
    async with fragile.client(somebody()) as who:
        # Tickets work again.
        again = await book(fragile, who, offer("steady", "free"))
        ok(await who.post(f"/v1/appointments/{again['id']}/events-ticket"), 201)
    await the_books_hold(fragile)
