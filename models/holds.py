"""Legal holds: what a law, a court or a claim forbids to erase, although its time is over or its subject asks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Protocol

from pydantic import StringConstraints

from models.base import Id, Model, UtcDatetime
from models.data_classes import RetentionClass
from models.identity import Scope

MOST_HOLDS: Final = 50
"""So many may stand on one person at once."""

Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9/._-]{0,59}$")]
"""What the authority or the file calls the matter; never a person's name."""


class HoldReason(StrEnum):
    """Why something must stay; a hold carries no words of its own, which could name somebody."""

    COURT_ORDER = "court_order"
    AUTHORITY = "authority"
    """An authority that may ask for it by law."""
    CLAIM = "claim"
    """A legal claim that is made, defended or expected."""
    SAFETY = "safety"
    """An inquiry into what happened to a patient."""


class LegalHold(Model):
    """One hold on what is kept of a person, or on one class of it."""

    id: Id
    subject_id: Id
    account_id: Id | None = None
    """Whose account what is kept of them lies with, where they have none of their own."""
    retained_under: RetentionClass | None = None
    """The class that must stay; None: all of them."""
    reason: HoldReason
    reference: Reference
    placed_by: Id
    placed_at: UtcDatetime
    until: UtcDatetime
    lifted_at: UtcDatetime | None = None
    lifted_by: Id | None = None

    def stands(self, now: datetime) -> bool:
        """Whether it still forbids."""
        return self.lifted_at is None and now < self.until

    def covers(self, retained_under: RetentionClass) -> bool:
        """Whether it is about that class."""
        return self.retained_under is None or self.retained_under is retained_under


def held_by(holds: Iterable[LegalHold], retained_under: RetentionClass, now: datetime) -> LegalHold | None:
    """The hold that keeps that class longest; None where nothing does."""
    standing = (one for one in holds if one.stands(now) and one.covers(retained_under))
    return max(standing, key=lambda one: one.until, default=None)


class LegalHolds(Protocol):
    """Where holds are kept; each method may raise `UnavailableError`."""

    async def place(self, scope: Scope, hold: LegalHold) -> LegalHold:
        """Keep it once per id; the hold as it is kept."""
        ...

    async def find(self, scope: Scope, hold_id: str) -> LegalHold | None:
        """One hold."""
        ...

    async def lift(self, scope: Scope, hold_id: str, by: str, at: datetime) -> LegalHold:
        """End it before its time, once. Raises `not_found`."""
        ...

    async def standing(self, scope: Scope, subject_id: str, now: datetime) -> list[LegalHold]:
        """Those that stand on a person and whom they answer for, by their end; at most `MOST_HOLDS`."""
        ...

    async def page(
        self, scope: Scope, subject_id: str | None, now: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> list[LegalHold]:
        """Those, or anybody's, by their end and their id: the first ones behind an end and an id."""
        ...
