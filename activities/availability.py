"""A leave's steps in the database: its free time is blocked, counted and given back; repeating one changes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from temporalio import activity

from activities.failures import typed_failures
from models.availability import open_hours, unclaimed
from models.base import Model, UtcDatetime
from models.identity import System, Tenant
from models.ports import Appointments, Claims
from models.publishing import STANDING, Leave, LeaveRef, LeaveState, LeaveTally, Published
from models.publishing_ports import Leaves, Publications
from models.wallclock import midnight

DAYS: Final = 14
"""How many days one step blocks: seconds of work, whatever the hours are."""

LONGEST_BLOCK: Final = timedelta(hours=12)
TRIES: Final = 5
"""How often a day is looked at again where somebody booked in between; after that it is full."""

_BUSY: Final = System("a person's time is one everywhere: a leave blocks what no clinic has taken")


class BlockLeave(Model):
    """Block a leave's free time from an instant on; None: from its start."""

    leave: LeaveRef
    since: UtcDatetime | None = None


class AvailabilityActivities:
    """Leaves."""

    def __init__(self, leaves: Leaves, publications: Publications, claims: Claims, appointments: Appointments) -> None:
        """The stores to read and write."""
        self._leaves = leaves
        self._publications = publications
        self._claims = claims
        self._appointments = appointments

    @activity.defn(name="availability.block_leave")
    async def block_leave(self, step: BlockLeave) -> datetime | None:
        """Block the free hours of some days; where the next step begins, None where nothing is left to do."""
        scope = Tenant(step.leave.tenant_id)
        with typed_failures():
            leave = await self._leaves.find(scope, step.leave.leave_id)
            if leave is None or leave.state not in STANDING:
                return None
            published = await self._publications.find(scope, leave.provider_id)
            zone = ZoneInfo(published.timezone)
            begin = step.since or leave.start
            stop = min(leave.end, midnight(begin.astimezone(zone).date() + timedelta(days=DAYS), zone))
            await self._block(scope, leave, published, begin, stop)
        return stop if stop < leave.end else None

    @activity.defn(name="availability.settle_leave")
    async def settle_leave(self, ref: LeaveRef) -> LeaveTally:
        """Count what the leave has met; where it was ended meanwhile, give its time back."""
        scope = Tenant(ref.tenant_id)
        with typed_failures():
            leave = await self._leaves.find(scope, ref.leave_id)
            if leave is None:
                return LeaveTally()
            published = await self._publications.find(scope, leave.provider_id)
            bookings = await self._appointments.upcoming(scope, published.provider, leave.start, leave.end)
            tally = LeaveTally(appointments=len(bookings), blocks=await self._claims.blocks(scope, leave.id))
            state = await self._leaves.advance(scope, leave, LeaveState.TAKEN, tally)
            if state not in STANDING:
                # Whoever ended it may have looked for blocks before the last of them were there.
                await self._claims.unblock(scope, leave.id, published.provider)
                await self._leaves.advance(scope, leave, LeaveState.ENDED)
                return LeaveTally()
        return tally

    async def _block(self, scope: Tenant, leave: Leave, published: Published, begin: datetime, stop: datetime) -> None:
        provider = published.provider
        hours = open_hours(published.availability, ZoneInfo(published.timezone), begin, stop)
        for _ in range(TRIES):
            busy = await self._claims.busy(_BUSY, provider.practitioner_id, begin, stop)
            free = unclaimed(hours, busy, LONGEST_BLOCK)
            taken = [await self._claims.block(scope, leave.id, provider, *piece) for piece in free]
            if all(taken):
                return
