"""Forgetting somebody in Redis, where everything lapses by itself; what is theirs goes at once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from pydantic import ValidationError
from redis.asyncio import Redis

from adapters.redis.client import unavailable
from adapters.redis.tickets import Ticket
from models.data_classes import RetentionClass
from models.erasure import ErasureReceipt, Store
from models.erasure_ports import Remains
from models.identity import Subject

_AT_ONCE: Final = 1000
_DIGEST: Final = 32
PARTS: Final = ("session", "ticket", "limit", "search")
"""Words about sessions, tickets to streams, counted requests, and pages of searches."""


class RedisEraser:
    """Implements `models.erasure_ports.Eraser` for the keys of one installation."""

    def __init__(self, redis: Redis, namespace: str, remains: Remains) -> None:
        """`remains` knows their sessions; `namespace` keeps installations on one Redis apart."""
        self._redis = redis
        self._namespace = namespace
        self._remains = remains

    @property
    def store(self) -> Store:
        """Redis."""
        return Store.REDIS

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """One walk over the keys; every class takes all of theirs."""
        del data_class
        return Counter([part async for part, _ in self._theirs(subject_id)])

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """One walk over the keys; search pages hold nobody's data and go all the same, since they lapse in seconds."""
        gone: Counter[str] = Counter()
        async for part, key in self._theirs(subject_id):
            with unavailable():
                gone[part] += int(await self._redis.unlink(key))
        return [
            ErasureReceipt(store=Store.REDIS, part=part, data_class=data_class, erased=gone[part], at=at)
            for part in PARTS
        ]

    async def _theirs(self, subject_id: str) -> AsyncIterator[tuple[str, bytes]]:
        """Each key that goes, and what kind it is of."""
        sessions = frozenset(await self._remains.ids(Subject(subject_id), "sessions", subject_id))
        counted = hashlib.sha256(subject_id.encode()).hexdigest()[:_DIGEST]
        async for part, rest, key in self._keys():
            match part:
                case "session":
                    theirs = rest in sessions
                case "limit":
                    theirs = f":{counted}:" in rest
                case "ticket":
                    theirs = await self._is_their_ticket(key, subject_id)
                case _:
                    theirs = part == "search"
            if theirs:
                yield part, key

    async def _keys(self) -> AsyncIterator[tuple[str, str, bytes]]:
        """Each key of the installation: what kind it is of, what follows, and the key itself."""
        prefix = f"{self._namespace}:"
        with unavailable():
            async for key in self._redis.scan_iter(match=f"{prefix}*", count=_AT_ONCE):
                part, _, rest = key.decode(errors="replace").removeprefix(prefix).partition(":")
                yield part, rest, key

    async def _is_their_ticket(self, key: bytes, subject_id: str) -> bool:
        with unavailable():
            stored = await self._redis.get(key)
        if stored is None:
            return False
        try:
            return Ticket.model_validate_json(stored).principal.subject == subject_id
        except ValidationError:
            return False
