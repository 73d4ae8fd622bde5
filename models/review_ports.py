"""What reviews ask of the outside; as everywhere in `models.ports`, each method may raise `UnavailableError`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from models.identity import Scope
from models.ports import Page
from models.reviews import Rating, Review, ReviewState


class Reviews(Protocol):
    """What patients say of their visits."""

    async def put(self, scope: Scope, review: Review) -> Review:
        """Keep it, or its opinion in place of the one that is there; the review as it then stands."""
        ...

    async def decide(self, scope: Scope, review_id: str, state: ReviewState, version: int, at: datetime) -> Review:
        """Publish or withhold that version. Raises `not_found`, and `stale` where it was changed meanwhile."""
        ...

    async def find(self, scope: Scope, review_id: str) -> Review | None:
        """One review."""
        ...

    async def of_provider(self, scope: Scope, provider_id: str, limit: int, cursor: str | None) -> Page[Review]:
        """What is published of a provider, newest first. Raises `ValueError` for a foreign cursor."""
        ...

    async def in_state(self, scope: Scope, state: ReviewState, limit: int, cursor: str | None) -> Page[Review]:
        """What stands there, newest first. Raises `ValueError` for a foreign cursor."""
        ...

    async def rating(self, scope: Scope, provider_id: str) -> Rating:
        """How many have rated a provider and with how many stars in all."""
        ...
