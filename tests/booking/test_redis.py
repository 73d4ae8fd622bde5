"""Redis only speeds things up: emptied or killed at any moment, nothing is booked twice and nothing is lost."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from models.identity import Role
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
from tests.clinics import employee, offer
from tests.faults import forgetful
from tests.stack import LONG, Stack, eventually, running

VISIT = offer("steady", "visit")
CLASS = offer("steady", "class", "group")


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


async def test_a_race_while_redis_forgets(fragile: Stack, redis: Redis) -> None:
    start = await a_start(fragile, VISIT)
    async with forgetful(redis.url):
        outcome = await run(fragile, [(VISIT, start)], 30)
    await check(fragile, await temporal(fragile), outcome, 1)


@asynccontextmanager
async def searching(stack: Stack, searches: int = 8) -> AsyncIterator[list[int]]:
    """Within, people search without a pause; the status of each answer."""
    seen: list[int] = []

    async def search() -> None:
        async with stack.anonymous() as client:
            while True:
                answer = await client.get("/v1/providers", params={"q": "steady group", "limit": "100"})
                seen.append(answer.status_code)

    crowd = [asyncio.create_task(search()) for _ in range(searches)]
    try:
        yield seen
        assert not any(one.done() for one in crowd), "somebody has stopped searching"
    finally:
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)


async def test_searches_while_redis_dies_and_comes_back(fragile: Stack, redis: Redis) -> None:
    """A fee that changes with it, without it and with it again is found at once by whoever changed it."""
    path = f"/v1/providers/{CLASS.provider_id}/services"
    async with fragile.anonymous() as anybody, fragile.client(employee("steady", Role.ADMIN)) as admin:

        async def cheap() -> bool:
            answer = await anybody.get("/v1/providers", params={"q": "steady group", "fee_max": "100", "limit": "100"})
            return CLASS.provider_id in {one["id"] for one in ok(answer)["items"]}

        async def costs(paise: int) -> None:
            before = await admin.get(path)
            services = [{**one, "fee": {"amount": paise}, "payment": "online"} for one in before.json()["items"]]
            ok(await admin.put(path, json=services, headers={"If-Match": before.headers["etag"]}))
            assert await cheap() is (paise <= 100)

        async with searching(fragile) as seen:
            await costs(100)
            redis.process.kill()
            try:
                await costs(90_000)
                await costs(100)
                await costs(90_000)
                without = len(seen)
                await eventually(_length(seen), lambda count: count > without + 20)
            finally:
                redis.start()
            assert not await cheap(), "nothing of before comes back"
            for paise in (100, 90_000, 100):
                await costs(paise)
            again = len(seen)
            await eventually(_length(seen), lambda count: count > again + 20)
    assert set(seen) == {200}


def _length(seen: list[int]) -> Callable[[], Awaitable[int]]:
    async def look() -> int:
        return len(seen)

    return look


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
