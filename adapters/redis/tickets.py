"""Single-use tickets: they let a browser's EventSource, which sends no headers, open one stream."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from pydantic import ValidationError
from redis.asyncio import Redis

from adapters.redis.client import unavailable
from models.base import Model
from models.identity import Principal

TICKET_LIFETIME: Final = timedelta(seconds=60)
_TICKET_BYTES: Final = 32


class Ticket(Model):
    """What a ticket opens, and for whom."""

    principal: Principal
    target_id: str
    """The appointment, or the clinic whose day it is."""


class Tickets:
    """Issues and redeems tickets; only their hashes are stored. Raises `UnavailableError` while Redis is away."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        """`namespace` keeps installations on one Redis apart."""
        self._redis = redis
        self._namespace = namespace

    async def issue(self, ticket: Ticket) -> str:
        """A fresh ticket, good once within `TICKET_LIFETIME`."""
        token = secrets.token_urlsafe(_TICKET_BYTES)
        with unavailable():
            await self._redis.set(self._key(token), ticket.model_dump_json(), ex=TICKET_LIFETIME)
        return token

    async def redeem(self, token: str) -> Ticket | None:
        """What the ticket opens; None where it is spent, lapsed or unknown."""
        with unavailable():
            stored = await self._redis.getdel(self._key(token))
        if stored is None:
            return None
        try:
            return Ticket.model_validate_json(stored)
        except ValidationError:
            # Written by another release during a rolling update: the browser asks for a new one.
            return None

    def _key(self, token: str) -> str:
        return f"{self._namespace}:ticket:{hashlib.sha256(token.encode()).hexdigest()}"
