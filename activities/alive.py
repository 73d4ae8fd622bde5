"""Long steps that wait for others: whoever watches them is told that they are alive."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from temporalio import activity

HEARTBEAT_SECONDS: Final = 10.0

T = TypeVar("T")


async def alive(work: Coroutine[Any, Any, T]) -> T:
    """The work's result, with a heartbeat every now and then; each thing that it waits for has a time of its own."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=HEARTBEAT_SECONDS))[0]:
            activity.heartbeat()
        return await task
    finally:
        task.cancel()
