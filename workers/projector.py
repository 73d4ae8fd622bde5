"""Keeps what searches read up with profiles, hours, leave, claims and ratings: one process at a time, in turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from adapters.mongo.providers import MongoDirectory
from adapters.mongo.search import MongoSearch
from models.errors import UnavailableError
from models.free_days import free_days, searched_span
from models.identity import System
from models.ids import random_id
from models.ports import Claims, Leases
from models.review_ports import Reviews
from models.search import FreeDay
from models.wallclock import midnight

PROJECTOR: Final = System("the projection of all tenants' free days is kept up")
REVIEW: Final = timedelta(minutes=10)
"""An entry is looked at this often even where nothing is heard of it: a lost word costs no more."""

SOONEST: Final = timedelta(seconds=5)
LEASE: Final = "projector"
LEASE_SECONDS: Final = 10.0
GAP_SECONDS: Final = 1.0
"""How long words about one practitioner are gathered before their days are counted again."""

REST: Final = 4.0
"""So many times as long as an entry took the next one waits: bookings come first."""

BATCH: Final = 20
PAGE: Final = 200
_ONE_DAY: Final = timedelta(days=1)

log = structlog.get_logger()


class Projector:
    """Counts free days again: of practitioners that it hears of, and of entries that are due."""

    def __init__(
        self,
        search: MongoSearch,
        directory: MongoDirectory,
        claims: Claims,
        reviews: Reviews,
        leases: Leases,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        """`changed` is told when searches may answer otherwise than before."""
        self._search = search
        self._directory = directory
        self._claims = claims
        self._reviews = reviews
        self._leases = leases
        self._changed = changed
        self._owner = random_id("projector")
        self._heard: set[str] = set()

    def time_changed(self, practitioner_id: str) -> None:
        """A practitioner's claims have changed."""
        self._heard.add(practitioner_id)

    def published(self, provider_id: str, practitioner_id: str) -> None:
        """A profile, its hours or its leave have changed."""
        del provider_id
        self._heard.add(practitioner_id)

    async def run(self) -> None:
        """Keep up until cancelled; gives the lease back at the end. An outage costs a pause."""
        try:
            while True:
                try:
                    if await self._leases.acquire(LEASE, self._owner, LEASE_SECONDS):
                        await self.turn()
                except UnavailableError as error:
                    log.warning("projector paused", error_type=type(error).__name__)
                await asyncio.sleep(GAP_SECONDS)
        finally:
            await self._leases.release(LEASE, self._owner)

    async def turn(self) -> int:
        """Look at what was heard of and at some of what is due; how many entries that were."""
        heard, self._heard = self._heard, set()
        wanted: dict[str, None] = {}
        for practitioner in heard:
            wanted |= dict.fromkeys(await self._search.of_practitioner(PROJECTOR, practitioner))
        due = await self._search.due(PROJECTOR, datetime.now(UTC), BATCH)
        wanted |= dict.fromkeys(one.provider_id for one in due)
        began, different = time.monotonic(), False
        for provider_id in wanted:
            started = time.monotonic()
            different |= await self.refresh(provider_id)
            if started - began < LEASE_SECONDS / 2:
                await asyncio.sleep(min(REST * (time.monotonic() - started), 0.2))
        if different:
            await self._changed()
        return len(wanted)

    async def refresh(self, provider_id: str) -> bool:
        """Count one provider's free days and ratings; whether a search may answer otherwise than before."""
        now = datetime.now(UTC)
        days: list[FreeDay] = []
        due = now + REVIEW
        offering = await self._directory.offering(PROJECTOR, provider_id)
        if offering is not None:
            first, last = searched_span(offering, now)
            zone = ZoneInfo(offering.clinic.timezone)
            # A day more on each side: claims of overnight sessions and of buffers reach over midnight.
            begin, end = midnight(first, zone) - _ONE_DAY, midnight(last, zone) + 2 * _ONE_DAY
            busy = await self._claims.busy(PROJECTOR, offering.provider.practitioner_id, begin, end)
            days = free_days(offering, busy, now)
            if days:
                # From then on the first free time is too soon to be booked.
                passes = days[0].first - timedelta(minutes=offering.min_notice_minutes)
                due = min(due, max(passes, now + SOONEST))
        rated = await self._search.put_rating(
            PROJECTOR, provider_id, await self._reviews.rating(PROJECTOR, provider_id)
        )
        return await self._search.put_days(PROJECTOR, provider_id, days, due) or rated

    async def rebuild(self) -> int:
        """Make every entry anew from what it is projected from; how many there are."""
        after, count = "", 0
        while providers := await self._directory.walk(PROJECTOR, after, PAGE):
            clinics = await self._directory.clinics(PROJECTOR, [one.clinic_id for one in providers])
            for provider in providers:
                if provider.clinic_id in clinics:
                    await self._search.put_profile(PROJECTOR, provider, clinics[provider.clinic_id])
                    await self.refresh(provider.id)
                    count += 1
            after = providers[-1].id
        await self._changed()
        return count
