"""What the visit's records ask of the outside, as `models.ports` does for the rest."""

from __future__ import annotations

from typing import Protocol

from models.consultation import SummaryVersion
from models.identity import Scope


class Consultations(Protocol):
    """The summaries of visits, version by version."""

    async def add(self, scope: Scope, version: SummaryVersion) -> None:
        """Write the next version; those before it stay. Raises `stale` where it is not the next one."""
        ...

    async def newest(self, scope: Scope, appointment_id: str) -> SummaryVersion | None:
        """The version that stands, opened; None where nothing was written."""
        ...

    async def find(self, scope: Scope, appointment_id: str, version: int) -> SummaryVersion | None:
        """One version, opened."""
        ...

    async def before(self, scope: Scope, appointment_id: str, version: int, limit: int) -> list[SummaryVersion]:
        """Versions older than that one, newest first, opened."""
        ...
