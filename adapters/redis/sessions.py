"""What processes tell each other about sessions, to ask MongoDB less often; without Redis they ask it each time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis

from adapters.redis.client import unavailable
from adapters.redis.limits import AWAY_SECONDS
from models.errors import UnavailableError
from models.sessions import ACCESS_LIFETIME

LIVE_LIFETIME: Final = timedelta(seconds=5)
"""How long a session that was seen alive is believed to be; so an end that Redis was never told counts as soon."""
ENDED_LIFETIME: Final = ACCESS_LIFETIME + timedelta(minutes=1)
"""Longer than any access token of an ended session."""

_LIVE: Final = b"live"
_ENDED: Final = b"ended"
_log = structlog.get_logger(__name__)


class SessionCache:
    """What is known of sessions; an absent Redis knows nothing, and is left alone for a moment."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        """`namespace` keeps installations on one Redis apart."""
        self._redis = redis
        self._namespace = namespace
        self._away_until = 0.0

    async def is_live(self, session_id: str) -> bool | None:
        """Whether it goes on; None where nothing is known."""
        if time.monotonic() < self._away_until:
            return None
        try:
            with unavailable():
                word = await self._redis.get(self._key(session_id))
        except UnavailableError:
            self._leave_alone()
            return None
        return None if word is None else word == _LIVE

    async def seen_live(self, session_id: str) -> None:
        """It was alive just now; an end that was told meanwhile stays."""
        await self._tell(session_id, _LIVE, LIVE_LIFETIME, only_new=True)

    async def ended(self, session_ids: Iterable[str]) -> None:
        """They are over."""
        for session_id in session_ids:
            await self._tell(session_id, _ENDED, ENDED_LIFETIME, only_new=False)

    async def _tell(self, session_id: str, word: bytes, lifetime: timedelta, *, only_new: bool) -> None:
        if time.monotonic() < self._away_until:
            return
        try:
            with unavailable():
                await self._redis.set(self._key(session_id), word, ex=lifetime, nx=only_new)
        except UnavailableError:
            self._leave_alone()

    def _leave_alone(self) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS
        _log.warning("sessions.uncached")

    def _key(self, session_id: str) -> str:
        return f"{self._namespace}:session:{session_id}"
