"""Closed-loop load: a fixed number of jobs, a fixed number of them in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.figures import Sample

Job = Callable[[], Awaitable[None]]


async def closed_loop(job: Job, count: int, in_flight: int, *, limit: float) -> Sample:
    """Run `count` jobs, `in_flight` at a time, and time each. Raises `TimeoutError` after `limit` seconds."""
    turns = iter(range(count))
    latencies: list[float] = []

    async def client() -> None:
        for _ in turns:
            started = time.perf_counter()
            await job()
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    async with asyncio.timeout(limit), asyncio.TaskGroup() as clients:
        for _ in range(in_flight):
            clients.create_task(client())
    return Sample(count, time.perf_counter() - started, tuple(latencies))


async def for_seconds(job: Job, seconds: float, in_flight: int, *, limit: float) -> Sample:
    """Run jobs, `in_flight` at a time, begin none after `seconds`. Raises `TimeoutError` after `limit` seconds."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def client() -> None:
        while (begun := time.perf_counter()) - started < seconds:
            await job()
            latencies.append(time.perf_counter() - begun)

    async with asyncio.timeout(limit), asyncio.TaskGroup() as clients:
        for _ in range(in_flight):
            clients.create_task(client())
    return Sample(len(latencies), time.perf_counter() - started, tuple(latencies))
