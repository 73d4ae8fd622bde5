"""Leases: one holder at a time, by the server's clock."""

from __future__ import annotations

import asyncio
import time

from adapters.mongo.repositories import Repositories
from tests.adapters.mongo.builders import new


async def test_of_many_one_gets_it_and_keeps_it_by_renewing(stores: Repositories) -> None:
    name = new("lease")
    owners = [new("relay") for _ in range(30)]
    got = await asyncio.gather(*(stores.leases.acquire(name, owner, 60) for owner in owners))
    assert sum(got) == 1
    holder = owners[got.index(True)]
    assert await stores.leases.acquire(name, holder, 60)
    assert sum(await asyncio.gather(*(stores.leases.acquire(name, owner, 60) for owner in owners))) == 1


async def test_it_can_be_given_back_by_its_holder_only(stores: Repositories) -> None:
    name, mine, other = new("lease"), new("relay"), new("relay")
    assert await stores.leases.acquire(name, mine, 60)
    await stores.leases.release(name, other)
    assert not await stores.leases.acquire(name, other, 60)
    await stores.leases.release(name, mine)
    await stores.leases.release(name, mine)
    assert await stores.leases.acquire(name, other, 60)
    assert not await stores.leases.acquire(name, mine, 60)


async def test_it_runs_out_by_itself(stores: Repositories) -> None:
    name, dead = new("lease"), new("relay")
    began = time.monotonic()
    assert await stores.leases.acquire(name, dead, 0.3)
    others = [new("relay") for _ in range(5)]
    deadline = began + 5
    while not any(got := await asyncio.gather(*(stores.leases.acquire(name, one, 60) for one in others))):
        assert time.monotonic() < deadline
    assert time.monotonic() - began >= 0.3
    assert sum(got) == 1
    assert not await stores.leases.acquire(name, dead, 60)
