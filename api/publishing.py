"""Publishing a provider's services and hours: the change, and what of the bookings made before it leaves outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from models.availability import Availability
from models.errors import Code, VisitNowError
from models.identity import Scope
from models.ports import Appointments, Publications
from models.publishing import Affected, Published, ServiceDraft, check_services, left_outside, named


class Publisher:
    """Publishes within a scope; existing bookings are never touched."""

    def __init__(self, publications: Publications, appointments: Appointments) -> None:
        """Where profiles and bookings are."""
        self._publications = publications
        self._appointments = appointments

    async def published(self, scope: Scope, provider_id: str) -> Published:
        """What is published now. Raises `not_found`."""
        return await self._publications.find(scope, provider_id)

    async def publish_services(
        self, scope: Scope, provider_id: str, drafts: Sequence[ServiceDraft], replaces: int
    ) -> tuple[Published, list[Affected]]:
        """Put these services in place of that version. Raises `not_found`, `stale` and `invalid`."""
        before = await self._publications.find(scope, provider_id)
        if before.provider_version != replaces:
            raise VisitNowError(Code.STALE)
        services = named(drafts, {one.id for one in before.provider.services})
        version = await self._publications.set_services(scope, before.provider, services, replaces)
        provider = before.provider.model_copy(update={"services": services})
        return await self._was_published(scope, before._replace(provider=provider, provider_version=version))

    async def publish_availability(
        self, scope: Scope, provider_id: str, availability: Availability, replaces: int
    ) -> tuple[Published, list[Affected]]:
        """Put these hours in place of that version. Raises `not_found`, `stale` and `invalid`."""
        before = await self._publications.find(scope, provider_id)
        if before.availability_version != replaces:
            raise VisitNowError(Code.STALE)
        check_services(availability, {one.id for one in before.provider.services})
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
