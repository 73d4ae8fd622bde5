"""Ending somebody's sessions from a process that serves none: the database counts, the cache only hurries it."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.mongo.sessions import MongoSessions
from adapters.redis.sessions import SessionCache
from models.identity import Subject
from models.sessions import EndReason


class EndedSessions:
    """Implements `models.deletions_ports.SessionEnds`."""

    def __init__(self, sessions: MongoSessions, cache: SessionCache) -> None:
        """Where sessions are kept, and where processes tell each other of them."""
        self._sessions = sessions
        self._cache = cache

    async def end_all(self, subject_id: str, reason: EndReason) -> None:
        """End all of somebody's."""
        ended = await self._sessions.end_all(Subject(subject_id), subject_id, reason, datetime.now(UTC))
        await self._cache.ended(ended)
