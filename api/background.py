"""Work that goes on after its answer has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

from api.edge import failure
from models.errors import UnavailableError

_log = structlog.get_logger(__name__)


class Background:
    """Work that goes on after its answer has left; the process waits for it before it ends."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run it; an outage is logged, since whatever is started here is also found by a sweep."""
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, seconds: float) -> None:
        """Wait for what is running, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)


async def _logged(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except UnavailableError as error:
        _log.warning("background.deferred", **failure(error))
