"""What the inside asks of the outside about hours, services and leave; see `models.ports` for what holds of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.availability import Availability
from models.identity import Scope
from models.ports import Page
from models.providers import Provider, Service
from models.publishing import Leave, LeaveState, LeaveTally, Published


class Publications(Protocol):
    """What a practice has published of its providers, and changing it."""

    async def find(self, scope: Scope, provider_id: str) -> Published:
        """A profile with its hours, live or not. Raises `not_found`."""
        ...

    async def set_services(self, scope: Scope, provider: Provider, services: Sequence[Service], replaces: int) -> int:
        """Publish other services in place of that version; the new version. Raises `stale` and `not_found`."""
        ...

    async def set_availability(
        self, scope: Scope, provider: Provider, availability: Availability, replaces: int
    ) -> int:
        """Publish other hours in place of that version; the new version. Raises `stale` and `not_found`."""
        ...


class Leaves(Protocol):
    """Times in which providers do not work."""

    async def insert(self, scope: Scope, leave: Leave, reason: str | None) -> Leave:
        """Keep a leave once, its reason sealed; the leave as it stands."""
        ...

    async def find(self, scope: Scope, leave_id: str) -> Leave | None:
        """One leave."""
        ...

    async def page(
        self, scope: Scope, provider: Provider, limit: int, cursor: str | None
    ) -> Page[tuple[Leave, str | None]]:
        """A provider's leaves that are not over and done with, the latest first, with their opened reasons.

        Raises `ValueError` for a foreign cursor.
        """
        ...

    async def advance(
        self, scope: Scope, leave: Leave, to: LeaveState, tally: LeaveTally | None = None
    ) -> LeaveState | None:
        """Move it forward; where it stands now, None where it is unknown."""
        ...
