"""Publishing a provider's services and hours: the change, and what of the bookings made before it leaves outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from api.problems import invalid
from models.availability import Availability
from models.errors import Code, VisitNowError, not_found
from models.identity import Scope
from models.ports import Appointments, Claims, Page
from models.providers import Provider
from models.publishing import (
    Affected,
    Leave,
    LeaveRef,
    LeaveState,
    Published,
    ServiceDraft,
    Why,
    affected,
    check_services,
    left_outside,
    named,
)
from models.publishing_ports import Leaves, Publications
from models.wallclock import midnight
from workflows.gateway import AbsenceGateway, WorkflowGateway

LONGEST_LEAVE: Final = timedelta(days=366)

Noting = Callable[[Provider], Awaitable[None]]
"""Notes that something of a provider's is published: once nothing speaks against it, and before it counts."""


class Publisher:
    """Publishes within a scope; existing bookings are never touched."""

    def __init__(
        self,
        publications: Publications,
        appointments: Appointments,
        leaves: Leaves,
        claims: Claims,
        gateway: WorkflowGateway,
        absence: AbsenceGateway,
    ) -> None:
        """Where profiles, bookings, leaves and their blocks are; who takes leaves, and who sees to the patients."""
        self._publications = publications
        self._appointments = appointments
        self._leaves = leaves
        self._claims = claims
        self._gateway = gateway
        self._absence = absence

    async def published(self, scope: Scope, provider_id: str) -> Published:
        """What is published now. Raises `not_found`."""
        return await self._publications.find(scope, provider_id)

    async def publish_services(
        self, scope: Scope, provider_id: str, drafts: Sequence[ServiceDraft], replaces: int, first: Noting
    ) -> tuple[Published, list[Affected]]:
        """Put these services in place of that version. Raises `not_found`, `stale` and `invalid`."""
        before = await self._publications.find(scope, provider_id)
        if before.provider_version != replaces:
            raise VisitNowError(Code.STALE)
        services = named(drafts, {one.id for one in before.provider.services})
        await first(before.provider)
        version = await self._publications.set_services(scope, before.provider, services, replaces)
        provider = before.provider.model_copy(update={"services": services})
        return await self._was_published(scope, before._replace(provider=provider, provider_version=version))

    async def publish_availability(
        self, scope: Scope, provider_id: str, availability: Availability, replaces: int, first: Noting
    ) -> tuple[Published, list[Affected]]:
        """Put these hours in place of that version. Raises `not_found`, `stale` and `invalid`."""
        before = await self._publications.find(scope, provider_id)
        if before.availability_version != replaces:
            raise VisitNowError(Code.STALE)
        check_services(availability, {one.id for one in before.provider.services})
        await first(before.provider)
        version = await self._publications.set_availability(scope, before.provider, availability, replaces)
        return await self._was_published(
            scope, before._replace(availability=availability, availability_version=version)
        )

    async def _was_published(self, scope: Scope, now: Published) -> tuple[Published, list[Affected]]:
        """What follows every successful publication, in this one place: whoever waits for it is told from here."""
        return now, await self._left_outside(scope, now)

    async def _left_outside(self, scope: Scope, now: Published) -> list[Affected]:
        bookings = await self._appointments.upcoming(scope, now.provider, datetime.now(UTC), None)
        return left_outside(bookings, now.provider.services, now.availability, ZoneInfo(now.timezone))

    # Leave

    async def take_leave(self, scope: Scope, wanted: Leave, reason: str | None) -> tuple[Leave, list[Affected]]:
        """Take a leave; the same one again for the same id. Raises `idempotency_key_reused` and `unavailable`.

        From the first moment on nothing new can be booked within it; that its free time is blocked may take longer.
        """
        kept = await self._leaves.insert(scope, wanted, reason)
        if kept.body_hash != wanted.body_hash:
            raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
        if kept.state is LeaveState.TAKING:
            await self._gateway.take_leave(LeaveRef(tenant_id=kept.tenant_id, leave_id=kept.id))
        now = await self._leaves.find(scope, kept.id) or kept
        published = await self._publications.find(scope, now.provider_id)
        within = await self._appointments.upcoming(scope, published.provider, now.start, now.end)
        return now, [affected(one, Why.LEAVE) for one in within]

    async def leaves(
        self, scope: Scope, provider_id: str, limit: int, cursor: str | None
    ) -> tuple[Published, Page[tuple[Leave, str | None]]]:
        """Leaves that stand or are being given back. Raises `not_found`, and `ValueError` for a foreign cursor."""
        published = await self._publications.find(scope, provider_id)
        return published, await self._leaves.page(scope, published.provider, limit, cursor)

    async def end_leave(self, scope: Scope, leave_id: str, first: Noting) -> None:
        """Give the blocked time back; visits that still stand within it stay. Raises `not_found`.

        While it is being given back it is still listed, so that whoever was interrupted can ask again.
        """
        leave = await self._leaves.find(scope, leave_id)
        if leave is None:
            raise not_found()
        provider = (await self._publications.find(scope, leave.provider_id)).provider
        await first(provider)
        await self._leaves.advance(scope, leave, LeaveState.ENDING)
        await self._claims.unblock(scope, leave.id, provider)
        await self._leaves.advance(scope, leave, LeaveState.ENDED)
        await self._absence.ended(leave.id)


def leave_between(begin: datetime | date, end: datetime | date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants of a leave. Raises `invalid` where they are reversed, over already or too far apart."""
    if not isinstance(end, datetime):
        if end == date.max:
            raise invalid("end", "date_out_of_range", "outside the calendar")
        end = midnight(end + timedelta(days=1), zone)
    start = begin if isinstance(begin, datetime) else midnight(begin, zone)
    if end <= start:
        raise invalid("end", "range_reversed", "must come after `start`")
    if end <= datetime.now(UTC):
        raise invalid("end", "over", "must lie in the future")
    if end - start > LONGEST_LEAVE:
        raise invalid("end", "range_too_long", "must leave at most 366 days")
    return start, end
