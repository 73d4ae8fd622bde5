"""A change stream that wakes the outbox relay; since the relay also looks by itself, a lost event loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from pymongo.errors import PyMongoError

from adapters.mongo.client import Collection, Document, unanswered
from adapters.mongo.repositories import Repositories

# Every step of an appointment moves its version; the relay's own draining does not, and must not wake it again.
_STEPS: Final[Sequence[Document]] = (
    {"$match": {"$or": [{"operationType": "insert"}, {"updateDescription.updatedFields.version": {"$exists": True}}]}},
    {"$project": {"_id": 1}},
)
_AWAIT_MS: Final = 1_000
_REOPEN_SECONDS: Final = 1.0


class ChangeWake:
    """Implements `models.ports.Wake` over the changes of `appointments`; one stream for a whole process."""

    def __init__(self, appointments: Collection) -> None:
        """Hears nothing before `on`."""
        self._appointments = appointments
        self._happened = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def on(cls, stores: Repositories) -> AsyncIterator[Self]:
        """Listen as long as the context lasts."""
        wake = cls(stores.database["appointments"])
        wake._listening = listening = asyncio.create_task(wake._listen())
        try:
            yield wake
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def changed(self, seconds: float) -> None:
        """Return when an appointment has changed since the last call, or after `seconds`.

        Raises what ended the listening, should MongoDB have refused it.
        """
        if self._listening is not None and self._listening.done():
            self._listening.result()
        try:
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        except TimeoutError:
            return
        self._happened.clear()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._appointments.watch(list(_STEPS), max_await_time_ms=_AWAIT_MS) as stream:
                    async for _ in stream:
                        self._happened.set()
            except PyMongoError as error:
                if not unanswered(error):
                    raise
                # The relay looks by itself meanwhile, and reports the outage.
                await asyncio.sleep(_REOPEN_SECONDS)
