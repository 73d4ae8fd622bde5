"""What requests by right ask of the outside; each method may raise `UnavailableError`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from models.identity import Scope
from models.ports import Page
from models.rights import RightsKind, RightsOutcome, RightsRequest, RightsState


class RightsRequests(Protocol):
    """The requests' documents."""

    async def keep(self, scope: Scope, request: RightsRequest) -> RightsRequest:
        """Keep it once per id; the request as it is kept."""
        ...

    async def find(self, scope: Scope, request_id: str) -> RightsRequest | None:
        """One request."""
        ...

    async def waiting(self, scope: Scope, subject_id: str) -> int:
        """How many of a person's requests nobody has answered yet."""
        ...

    async def of_subject(
        self, scope: Scope, subject_id: str, kind: RightsKind, limit: int, cursor: str | None
    ) -> Page[RightsRequest]:
        """A person's requests, newest first. Raises `ValueError` for a foreign cursor."""
        ...

    async def in_state(self, scope: Scope, state: RightsState, limit: int, cursor: str | None) -> Page[RightsRequest]:
        """What somebody is to answer or has answered, the first due first. Raises `ValueError` for a foreign cursor."""
        ...

    async def reach(self, scope: Scope, request_id: str, percent: int) -> bool:
        """Note how far its clock is; whether it still waits."""
        ...

    async def answer(
        self, scope: Scope, request_id: str, outcome: RightsOutcome, text: str, at: datetime
    ) -> RightsRequest:
        """Answer it, once. Raises `not_found`, and `state_conflict` where it has another answer."""
        ...
