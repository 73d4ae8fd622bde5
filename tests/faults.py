"""What befalls a stack: its worker is killed and replaced at one step or held up there, its Redis forgets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from tests.stack import Stack
from workers.faults import STRUCK

STRIKE_SECONDS: Final = 120.0


def _always() -> bool:
    return True


@asynccontextmanager
async def dying(stack: Stack, point: str) -> AsyncIterator[None]:
    """The worker is killed at `before:step` or `after:step` within the block, and replaced at once."""
    armed = _arm(stack, "kill", point)
    try:
        async with asyncio.TaskGroup() as beside:
            beside.create_task(_revive(stack, armed))
            yield
    finally:
        armed.unlink(missing_ok=True)
        if not stack.worker.alive:
            stack.restart_worker()


@asynccontextmanager
async def dying_after(stack: Stack, step: str, when: Callable[[], bool]) -> AsyncIterator[None]:
    """The worker is killed when it has taken a step for which `when` held before it, and replaced at once."""
    armed = _place(stack, "kill", f"after:{step}")

    async def arm() -> None:
        _arm(stack, "kill", f"after:{step}")

    try:
        async with asyncio.TaskGroup() as beside, held_up(stack, f"before:{step}", arm, when=when):
            beside.create_task(_revive(stack, armed))
            yield
    finally:
        armed.unlink(missing_ok=True)
        if not stack.worker.alive:
            stack.restart_worker()


async def _revive(stack: Stack, armed: Path) -> None:
    await _until(lambda: not stack.worker.alive, f"{armed.name} does not strike")
    assert _struck(armed).exists(), f"the worker died of something else:\n{stack.worker.log_tail()}"
    _struck(armed).unlink()
    stack.restart_worker()


@asynccontextmanager
async def held_up(
    stack: Stack, point: str, then: Callable[[], Awaitable[None]], *, when: Callable[[], bool] = _always
) -> AsyncIterator[None]:
    """A step waits at `before:step` or `after:step` while `then` happens; afterwards it goes on.

    Where `when` does not hold, it goes on at once, and the next one waits.
    """
    armed = _arm(stack, "wait", point)
    try:
        async with asyncio.TaskGroup() as beside:
            beside.create_task(_break(armed, then, when))
            yield
    finally:
        armed.unlink(missing_ok=True)
        _struck(armed).unlink(missing_ok=True)


async def _break(armed: Path, then: Callable[[], Awaitable[None]], when: Callable[[], bool]) -> None:
    await _until(lambda: _struck(armed).exists(), f"{armed.name} does not strike")
    while not when():
        _let_go(armed)
        await _until(lambda: _struck(armed).exists(), f"{armed.name} does not strike again")
    await then()
    _struck(armed).unlink(missing_ok=True)


def _let_go(armed: Path) -> None:
    """Whoever waits goes on, and whoever comes next waits."""
    armed.touch()
    _struck(armed).unlink()


def _arm(stack: Stack, effect: str, point: str) -> Path:
    armed = _place(stack, effect, point)
    armed.touch()
    return armed


def _place(stack: Stack, effect: str, point: str) -> Path:
    return stack.faults / f"{effect}.{point.replace(':', '.')}"


def _struck(armed: Path) -> Path:
    return armed.with_name(armed.name + STRUCK)


async def _until(good: Callable[[], bool], otherwise: str) -> None:
    give_up = time.monotonic() + STRIKE_SECONDS
    while not good():
        assert time.monotonic() < give_up, otherwise
        await asyncio.sleep(0.02)


@asynccontextmanager
async def forgetful(redis_url: str) -> AsyncIterator[None]:
    """Within the block this Redis is emptied over and over."""
    async with Redis.from_url(redis_url, socket_timeout=20) as redis:
        enough = asyncio.Event()
        emptying = asyncio.create_task(_keep_empty(redis, enough))
        try:
            yield
            assert not emptying.done(), "Redis was not emptied"
        finally:
            # Asked and not cancelled: a cancellation that comes while an answer arrives can be lost in the client.
            enough.set()
            await emptying


async def _keep_empty(redis: Redis, enough: asyncio.Event) -> None:
    while not enough.is_set():
        await redis.flushall()
        await asyncio.sleep(0.005)
