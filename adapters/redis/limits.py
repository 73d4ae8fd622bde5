"""Rate limits: so many hits per key and window, counted in Redis for all processes, or in this one where it is away."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from redis.asyncio import Redis

from adapters.redis.client import unavailable
from models.errors import UnavailableError

AWAY_SECONDS: Final = 1.0
"""How long Redis is left alone after it failed, so that each request does not wait for it again."""
_MAX_LOCAL_KEYS: Final = 10_000

_COUNT: Final = """
local hits = redis.call('INCR', KEYS[1])
if hits == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return hits
"""
"""Counting and forgetting in one step: a process that dies in between would leave a count that never lapses."""

_log = structlog.get_logger(__name__)


class Limit(NamedTuple):
    """At most `hits` per `seconds`; the windows are aligned to the clock."""

    name: str
    hits: int
    seconds: int


class RateLimiter:
    """Counts hits. An absent Redis never refuses anybody by itself: this process's own count is used instead."""

    def __init__(self, redis: Redis, namespace: str, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since 1970."""
        self._redis = redis
        self._namespace = namespace
        self._clock = clock
        self._away_until = 0.0
        self._local: dict[str, int] = {}

    async def hit(self, limit: Limit, key: str) -> int | None:
        """Count one hit; None where it is within the limit, else the seconds until it may be tried again."""
        now = self._clock()
        window, passed = divmod(now, limit.seconds)
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        name = f"{self._namespace}:limit:{limit.name}:{digest}:{int(window)}"
        hits = await self._count(name, limit.seconds, now)
        return math.ceil(limit.seconds - passed) if hits > limit.hits else None

    async def _count(self, name: str, seconds: int, now: float) -> int:
        if now >= self._away_until:
            try:
                return await self._count_together(name, seconds)
            except UnavailableError:
                self._away_until = now + AWAY_SECONDS
                _log.warning("limits.local")
        if name not in self._local and len(self._local) >= _MAX_LOCAL_KEYS:
            self._local.clear()
        self._local[name] = self._local.get(name, 0) + 1
        return self._local[name]

    async def _count_together(self, name: str, seconds: int) -> int:
        with unavailable():
            return int(await self._redis.eval(_COUNT, 1, name, seconds))
