"""The audit, as those read it whom it is about and those who answer for it."""

from __future__ import annotations

from typing import Protocol

from models.compliance import AuditQuery, NotedEntry
from models.identity import Scope
from models.ports import Page


class AuditReader(Protocol):
    """Entries in the order in which they were noted, newest first."""

    async def page(self, scope: Scope, query: AuditQuery, cursor: str | None) -> Page[NotedEntry]:
        """Entries that are asked for. Raises `ValueError` for a foreign cursor."""
        ...

    async def looks(self, scope: Scope, subject_id: str, limit: int, cursor: str | None) -> Page[NotedEntry]:
        """Who else has read somebody's record. Raises `ValueError` for a foreign cursor."""
        ...
