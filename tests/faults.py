"""What befalls a stack's worker at one step: it is killed and replaced, or held up while something else happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.stack import Stack
from workers.faults import STRUCK

STRIKE_SECONDS: Final = 60.0


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


async def _revive(stack: Stack, armed: Path) -> None:
    await _until(lambda: not stack.worker.alive, f"{armed.name} does not strike")
    assert _struck(armed).exists(), f"the worker died of something else:\n{stack.worker.log_tail()}"
    _struck(armed).unlink()
    stack.restart_worker()


@asynccontextmanager
async def held_up(stack: Stack, point: str, then: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """A step waits at `before:step` or `after:step` while `then` happens; afterwards it goes on."""
    armed = _arm(stack, "wait", point)
    try:
        async with asyncio.TaskGroup() as beside:
            beside.create_task(_break(armed, then))
            yield
    finally:
        armed.unlink(missing_ok=True)
        _struck(armed).unlink(missing_ok=True)


async def _break(armed: Path, then: Callable[[], Awaitable[None]]) -> None:
    await _until(lambda: _struck(armed).exists(), f"{armed.name} does not strike")
    await then()
    _struck(armed).unlink(missing_ok=True)


def _arm(stack: Stack, effect: str, point: str) -> Path:
    armed = stack.faults / f"{effect}.{point.replace(':', '.')}"
    armed.touch()
    return armed


def _struck(armed: Path) -> Path:
    return armed.with_name(armed.name + STRUCK)


async def _until(good: Callable[[], bool], otherwise: str) -> None:
    give_up = time.monotonic() + STRIKE_SECONDS
    while not good():
        assert time.monotonic() < give_up, otherwise
        await asyncio.sleep(0.02)
