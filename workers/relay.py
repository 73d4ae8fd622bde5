"""The relay: drains the appointments' outboxes into the audit and the feed, one process at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from models.booking import Event
from models.compliance import audit_of, audit_of_application
from models.errors import UnavailableError
from models.ids import random_id
from models.onboarding_ports import Applications
from models.ports import Appointments, AuditOutbox, AuditTrail, Feed, Follower, Leases, Wake

LEASE = "outbox"
LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0
"""Within these the lease is surely still ours, so a turn need not ask."""

IDLE_SECONDS = 1.0
GAP_SECONDS = 0.1
"""Least time from one turn to the next: after a pause an event goes out at once, under load they go together."""

BATCH = 200
AT_ONCE = 16
"""So many events are told at once: a follower mostly waits for the workflow service."""

log = structlog.get_logger()


class Relay:
    """At least once and in any number of processes: entries have ids, so a second delivery changes nothing."""

    def __init__(
        self,
        appointments: Appointments,
        applications: Applications,
        audit: AuditTrail,
        feed: Feed,
        leases: Leases,
        wake: Wake,
        *,
        outboxes: Sequence[AuditOutbox] = (),
        followers: Sequence[Follower] = (),
    ) -> None:
        """Where events come from, where they go, who may carry them, what wakes us and who goes on from there.

        `outboxes` hold entries that go to the audit as they are.
        """
        self._appointments = appointments
        self._applications = applications
        self._audit = audit
        self._feed = feed
        self._leases = leases
        self._wake = wake
        self._outboxes = outboxes
        self._followers = followers
        self._owner = random_id("relay")
        self._ours_until = 0.0

    async def run(self) -> None:
        """Carry events until cancelled; gives the lease back at the end."""
        try:
            while True:
                began = time.monotonic()
                if not await self._turn():
                    await self._wake.changed(IDLE_SECONDS)
                    await asyncio.sleep(max(0.0, began + GAP_SECONDS - time.monotonic()))
        finally:
            await self._leases.release(LEASE, self._owner)

    async def _turn(self) -> bool:
        """One batch; whether there may be more at once. An outage costs a pause, never an event."""
        try:
            if not await self._is_ours():
                return False
            noted = await self.drain_entries()
            onboarded = await self.drain_applications()
            return BATCH in (await self.drain(), onboarded, noted)
        except UnavailableError as error:
            log.warning("relay paused", error_type=type(error).__name__)
            await asyncio.sleep(IDLE_SECONDS)
            return False

    async def _is_ours(self) -> bool:
        now = time.monotonic()
        if now < self._ours_until:
            return True
        ours = await self._leases.acquire(LEASE, self._owner, LEASE_SECONDS)
        self._ours_until = now + RENEW_SECONDS if ours else 0.0
        return ours

    async def drain(self) -> int:
        """Carry one batch: audit first, since it must not lose any; the number of events."""
        events = await self._appointments.events(BATCH)
        if not events:
            return 0
        await self._audit.append([audit_of(event) for event in events])
        await self._announce(events)
        # Only what everybody has taken note of leaves the outbox: an outage repeats it, and each knows it by its id.
        await self._follow(events)
        await self._appointments.drained(events)
        return len(events)

    async def _follow(self, events: Sequence[Event]) -> None:
        """Tell every follower of every event, some at once, in any order; raises what one of them could not do."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def tell(follower: Follower, event: Event) -> None:
            async with turns:
                await follower.follow(event)

        told = await asyncio.gather(
            *(tell(follower, event) for follower in self._followers for event in events), return_exceptions=True
        )
        for failure in told:
            if failure is not None:
                raise failure

    async def drain_applications(self) -> int:
        """Carry one batch of what happened to applications into the audit; the number of events."""
        events = await self._applications.events(BATCH)
        if events:
            await self._audit.append([audit_of_application(event) for event in events])
            await self._applications.drained(events)
        return len(events)

    async def drain_entries(self) -> int:
        """Carry one batch of each outbox of entries; the number of those of the fullest."""
        most = 0
        for outbox in self._outboxes:
            entries = await outbox.entries(BATCH)
            if entries:
                await self._audit.append(entries)
                await outbox.carried(entries)
            most = max(most, len(entries))
        return most

    async def _announce(self, events: Sequence[Event]) -> None:
        """Whoever watches also looks by themselves, so a feed that is away holds nothing up."""
        try:
            for appointment_id, version in _latest(events).items():
                await self._feed.appointment_changed(appointment_id, version)
            for clinic_id in sorted({event.clinic_id for event in events}):
                await self._feed.day_changed(clinic_id)
        except UnavailableError:
            log.warning("feed away", events=len(events))


def _latest(events: Sequence[Event]) -> dict[str, int]:
    latest: dict[str, int] = {}
    for event in events:
        latest[event.appointment_id] = max(event.version, latest.get(event.appointment_id, 0))
    return latest
