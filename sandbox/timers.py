"""Work in the background: each task and timer is known, stops with the app, and never fails unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)


class Timers:
    """Owns the app's background tasks and delayed calls; lives in one event loop."""

    def __init__(self) -> None:
        """Start with nothing running."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._handles: dict[int, asyncio.TimerHandle] = {}
        self._serial = 0

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run a coroutine in the background; what it raises is logged under `name`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def later(self, seconds: float, call: Callable[[], object], name: str) -> int:
        """Call something once after so many seconds; what it raises is logged. The answer serves to cancel it."""
        self._serial += 1
        serial = self._serial
        self._handles[serial] = asyncio.get_running_loop().call_later(seconds, self._fire, serial, call, name)
        return serial

    def cancel(self, serial: int) -> None:
        """Forget a delayed call; one that has happened already is left alone."""
        handle = self._handles.pop(serial, None)
        if handle is not None:
            handle.cancel()

    def clear(self) -> None:
        """Cancel everything that is running or waiting."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Cancel everything and wait until the tasks have ended."""
        tasks = list(self._tasks)
        self.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fire(self, serial: int, call: Callable[[], object], name: str) -> None:
        self._handles.pop(serial, None)
        try:
            call()
        except Exception:
            log.exception("delayed call failed: %s", name)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background task failed: %s", task.get_name(), exc_info=task.exception())
