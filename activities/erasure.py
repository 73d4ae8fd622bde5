"""Erasing, one store at a time. Payloads carry ids and numbers only."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from temporalio import activity

from activities.failures import typed_failures
from models.erasure import EraseStore, ErasureReceipt, Store
from models.erasure_ports import Eraser

HEARTBEAT_SECONDS: Final = 10.0


class ErasureActivities:
    """Has stores forget somebody; whoever calls it has made sure that nothing forbids it."""

    def __init__(self, erasers: Mapping[Store, Eraser]) -> None:
        """Every store's eraser."""
        self._erasers = erasers

    @activity.defn(name="erasure.erase")
    async def erase(self, step: EraseStore) -> list[ErasureReceipt]:
        """Erase in one store what is kept no longer than for that time; it may be run again at any moment."""
        with typed_failures():
            eraser = self._erasers[step.store]
            return list(await _alive(eraser.erase(step.subject_id, step.data_class, step.at)))


async def _alive(work: Coroutine[Any, Any, Sequence[ErasureReceipt]]) -> Sequence[ErasureReceipt]:
    """The work's result, while we say every now and then that we are alive: a store may have to be waited for."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=HEARTBEAT_SECONDS))[0]:
            activity.heartbeat()
        return await task
    finally:
        task.cancel()
