"""Free times, answered from memory while nothing has changed: a warm request asks no server.

An answer is believed for at most five seconds, and only while the feed's subscription stands: whatever changes a
practitioner's time says so there. Without the feed every request computes; those that ask for the same thing at the
same time still share one computation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from api.schemas.providers import SlotList, SlotView
from models.availability import Busy, Slot, slots
from models.cache import FreshCache
from models.errors import not_found
from models.identity import Public, Scope
from models.providers import Offering, Service
from models.wallclock import midnight

FRESH_SECONDS: Final = 5.0
MAX_BYTES: Final = 64 * 1024 * 1024
AROUND: Final = 1024
"""Bytes that an answer takes beside its body: whoever asks for ever new days without a free time is counted too."""
_ONE_DAY: Final = timedelta(days=1)


class Question(NamedTuple):
    """Whose free times, for which service, on which dates (inclusive, in the clinic's zone)."""

    provider_id: str
    service_id: str
    first: date
    last: date


class Offerings(Protocol):
    """What is read of the directory."""

    async def offering(self, scope: Scope, provider_id: str) -> Offering | None:
        """A live provider with clinic, availability and tenant policy."""
        ...


class TakenTimes(Protocol):
    """What is read of the claims."""

    async def busy(self, scope: Scope, practitioner_id: str, start: datetime, end: datetime) -> list[Busy]:
        """Live claims that overlap [start, end)."""
        ...


class Subscription(Protocol):
    """What a cache needs to know of the feed: whether something may have been missed."""

    @property
    def connected(self) -> bool:
        """Whether nothing was missed since `generation` last changed."""
        ...

    @property
    def generation(self) -> int:
        """Changes with each loss and each return of the subscription."""
        ...


class _Answer(NamedTuple):
    body: bytes
    until: float
    generation: int


class FreeTimes:
    """Lists of free times as JSON."""

    def __init__(
        self,
        directory: Offerings,
        claims: TakenTimes,
        subscription: Subscription,
        count: Callable[[str], None],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`count` is told where each answer came from: `cache` or `computed`."""
        self._max_bytes = max_bytes
        self._directory = directory
        self._claims = claims
        self._subscription = subscription
        self._count = count
        self._offerings: FreshCache[str, Offering | None] = FreshCache(FRESH_SECONDS)
        self._answers: dict[Question, _Answer] = {}
        self._bytes = 0
        self._by_practitioner: dict[str, set[Question]] = {}
        self._changes: dict[str, int] = {}
        self._running: dict[Question, asyncio.Task[bytes]] = {}

    def time_changed(self, practitioner_id: str) -> None:
        """Forget what is kept of this practitioner, and what is just being computed."""
        self._changes[practitioner_id] = self._changes.get(practitioner_id, 0) + 1
        for question in self._by_practitioner.pop(practitioner_id, ()):
            self._answers.pop(question, None)
            # Who asks from now on must not share a computation that began before the change.
            self._running.pop(question, None)

    def published(self, provider_id: str, practitioner_id: str) -> None:
        """Forget what is kept of this profile, its hours and the free times that followed from them."""
        self._offerings.forget(provider_id)
        self.time_changed(practitioner_id)

    async def offering(self, provider_id: str) -> Offering:
        """A live provider, at most five seconds old. Raises `not_found`."""
        found = await self._offerings.get(provider_id, lambda: self._directory.offering(Public(), provider_id))
        if found is None:
            raise not_found()
        return found

    async def listed(self, question: Question) -> bytes:
        """The free times as the JSON of a `SlotList`. Raises `not_found` and `UnavailableError`."""
        answer = self._answers.get(question)
        if answer is not None and self._holds(answer):
            self._count("cache")
            return answer.body
        self._count("computed")
        running = self._running.get(question)
        if running is None:
            running = asyncio.create_task(self._computed(question))
            self._running[question] = running
            running.add_done_callback(lambda task: self._ended(question, task))
        return await asyncio.shield(running)

    def _holds(self, answer: _Answer) -> bool:
        feed = self._subscription
        return feed.connected and answer.generation == feed.generation and time.monotonic() < answer.until

    def _ended(self, question: Question, task: asyncio.Task[bytes]) -> None:
        if self._running.get(question) is task:
            del self._running[question]
        if not task.cancelled():
            # Everybody who asked may have gone: a failure is theirs, and retrieved here.
            task.exception()

    async def _computed(self, question: Question) -> bytes:
        offering = await self.offering(question.provider_id)
        service = offering.provider.service(question.service_id)
        if service is None:
            raise not_found()
        practitioner = offering.provider.practitioner_id
        self._by_practitioner.setdefault(practitioner, set()).add(question)
        changes, generation = self._changes.get(practitioner, 0), self._subscription.generation
        body = await self._list(question, offering, service)
        if self._changes.get(practitioner, 0) == changes and self._subscription.connected:
            self._keep(practitioner, question, _Answer(body, time.monotonic() + FRESH_SECONDS, generation))
        return body

    def _keep(self, practitioner: str, question: Question, answer: _Answer) -> None:
        size = len(answer.body) + AROUND
        self._bytes += size
        if self._bytes > self._max_bytes:
            self._answers.clear()
            self._by_practitioner.clear()
            self._bytes = size
        self._answers[question] = answer
        self._by_practitioner.setdefault(practitioner, set()).add(question)

    async def _list(self, question: Question, offering: Offering, service: Service) -> bytes:
        zone = ZoneInfo(offering.clinic.timezone)
        now = datetime.now(UTC)
        today = now.astimezone(zone).date()
        first, last = max(question.first, today), min(question.last, today + timedelta(days=offering.horizon_days))
        found: list[Slot] = []
        if first <= last:
            # A day more on each side: claims of overnight sessions and of buffers reach over midnight.
            begin, end = midnight(first, zone) - _ONE_DAY, midnight(last, zone) + 2 * _ONE_DAY
            found = slots(
                offering.availability,
                service.timing,
                zone,
                first,
                last,
                now=now,
                busy=[
                    *offering.absences,
                    *await self._claims.busy(Public(), offering.provider.practitioner_id, begin, end),
                ],
                min_notice_minutes=offering.min_notice_minutes,
                horizon_days=offering.horizon_days,
            )
        listed = SlotList(timezone=offering.clinic.timezone, items=[_view(slot) for slot in found])
        return listed.model_dump_json().encode()


def _view(slot: Slot) -> SlotView:
    return SlotView.model_construct(start=slot.start, end=slot.end, seats_left=slot.seats_left)
