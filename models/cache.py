"""A small cache for values that may be a few seconds old, computed once however many ask at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FreshCache(Generic[K, V]):
    """Keeps values for `seconds`, at most `size` of them; failures are not kept."""

    def __init__(self, seconds: float, size: int = 1024) -> None:
        """An empty cache."""
        self._seconds = seconds
        self._size = size
        self._entries: dict[K, tuple[float, asyncio.Future[V]]] = {}

    async def get(self, key: K, compute: Callable[[], Awaitable[V]]) -> V:
        """The kept value, or the computed one; callers who come meanwhile share the computation."""
        now = time.monotonic()
        entry = self._entries.get(key)
        if entry is not None and entry[0] > now:
            return await asyncio.shield(entry[1])
        if len(self._entries) >= self._size:
            self._entries.clear()
        future = asyncio.ensure_future(compute())
        self._entries[key] = (now + self._seconds, future)
        try:
            return await asyncio.shield(future)
        except BaseException:
            if self._entries.get(key, (0.0, None))[1] is future:
                del self._entries[key]
            raise

    def peek(self, key: K) -> V | None:
        """The kept value, if there is one at once."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= time.monotonic() or not entry[1].done() or entry[1].cancelled():
            return None
        return None if entry[1].exception() else entry[1].result()

    def forget(self, key: K) -> None:
        """Drop one value."""
        self._entries.pop(key, None)


class Recently(Generic[K]):
    """Which keys were heard of within the last `seconds`; at most `size` of them are remembered."""

    def __init__(self, seconds: float, size: int = 4096) -> None:
        """Nothing was heard of yet."""
        self._seconds = seconds
        self._size = size
        self._heard: dict[K, float] = {}

    def again(self, key: K) -> bool:
        """Whether this key was heard of before; now it was."""
        now = time.monotonic()
        before = self._heard.pop(key, None)
        if len(self._heard) >= self._size:
            del self._heard[next(iter(self._heard))]
        self._heard[key] = now
        return before is not None and now - before < self._seconds
