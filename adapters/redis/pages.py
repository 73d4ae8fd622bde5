"""Answers to searches that all processes of an installation share, dropped together when something has changed."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis

from adapters.redis.client import unavailable

KEPT: Final = timedelta(seconds=15)
"""For how long a page is believed even where nothing is heard: it bounds what a lost invalidation costs."""

_EPOCH_BYTES: Final = 8


class Pages:
    """Each page carries the epoch it began in; a change sets a new one. Raises `UnavailableError`.

    After a FLUSHALL there is neither a page nor an epoch, and the next one is random: an old page never fits it.
    """

    def __init__(self, redis: Redis, namespace: str) -> None:
        """`namespace` keeps installations on one Redis apart."""
        self._redis = redis
        self._prefix = f"{namespace}:search"

    async def get(self, question: str) -> tuple[bytes, bytes | None]:
        """The present epoch, and the kept answer where it is of this epoch."""
        with unavailable():
            found_epoch, kept = await self._redis.mget(f"{self._prefix}:epoch", self._key(question))
        epoch, page = _bytes(found_epoch), _bytes(kept)
        began, found, body = page.partition(b"\n")
        return epoch, body if found and began == epoch else None

    async def put(self, question: str, epoch: bytes, body: bytes) -> None:
        """Keep an answer that was computed after `epoch` was read."""
        with unavailable():
            await self._redis.set(self._key(question), epoch + b"\n" + body, ex=KEPT)

    async def drop_all(self) -> None:
        """Something has changed: no answer that is kept holds any longer."""
        with unavailable():
            await self._redis.set(f"{self._prefix}:epoch", secrets.token_hex(_EPOCH_BYTES))

    def _key(self, question: str) -> str:
        return f"{self._prefix}:{hashlib.sha256(question.encode()).hexdigest()}"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
