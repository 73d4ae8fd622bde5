"""Values computed once however many ask, and failures forgotten."""

import asyncio

import pytest

from models.cache import FreshCache


async def test_many_who_ask_at_once_share_one_computation() -> None:
    cache: FreshCache[str, int] = FreshCache(60)
    calls = 0
    started = asyncio.Event()

    async def compute() -> int:
        nonlocal calls
        calls += 1
        await started.wait()
        return calls

    waiting = [asyncio.create_task(cache.get("a", compute)) for _ in range(20)]
    await asyncio.sleep(0)
    started.set()
    assert await asyncio.gather(*waiting) == [1] * 20


async def test_failures_are_not_kept() -> None:
    cache: FreshCache[str, int] = FreshCache(60)

    async def fail() -> int:
        raise LookupError

    async def succeed() -> int:
        return 7

    with pytest.raises(LookupError):
        await cache.get("a", fail)
    assert await cache.get("a", succeed) == 7


async def test_values_grow_old_and_can_be_forgotten() -> None:
    numbers = iter(range(10))

    async def compute() -> int:
        return next(numbers)

    stale: FreshCache[str, int] = FreshCache(0)
    assert [await stale.get("a", compute), await stale.get("a", compute)] == [0, 1]
    fresh: FreshCache[str, int] = FreshCache(60, size=2)
    assert [await fresh.get("a", compute), await fresh.get("a", compute)] == [2, 2]
    fresh.forget("a")
    assert await fresh.get("a", compute) == 3


async def test_one_who_gives_up_does_not_take_the_others_along() -> None:
    cache: FreshCache[str, int] = FreshCache(60)
    started = asyncio.Event()

    async def compute() -> int:
        await started.wait()
        return 1

    first = asyncio.create_task(cache.get("a", compute))
    await asyncio.sleep(0)
    second = asyncio.create_task(cache.get("a", compute))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    started.set()
    assert await second == 1


async def test_a_peek_sees_only_what_is_there_at_once() -> None:
    cache: FreshCache[str, int] = FreshCache(60)
    started = asyncio.Event()

    async def compute() -> int:
        await started.wait()
        return 1

    assert cache.peek("a") is None
    waiting = asyncio.create_task(cache.get("a", compute))
    await asyncio.sleep(0)
    assert cache.peek("a") is None
    started.set()
    assert await waiting == 1
    assert cache.peek("a") == 1
    cache.forget("a")
    assert cache.peek("a") is None
