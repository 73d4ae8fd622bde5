"""What the day list asks of the outside: the visits of a day, the numbers that they were given, and who comes.

Every method of a store takes the scope whose documents it may touch, and may raise `UnavailableError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple, Protocol

from models.booking import Intake
from models.day_list import Visit
from models.identity import Scope


class DayQuery(NamedTuple):
    """The visits at a clinic that start within [start, end), of one of its doctors or of all."""

    tenant_id: str
    clinic_id: str
    provider_id: str | None
    start: datetime
    end: datetime


class DoctorsTokens(NamedTuple):
    """Whose tokens of which date of the clinic's calendar."""

    tenant_id: str
    clinic_id: str
    provider_id: str
    day: date


class Visits(Protocol):
    """The appointments of a day."""

    async def of_day(self, scope: Scope, wanted: DayQuery) -> list[Visit]:
        """All of them, in whatever state, their sealed parts left closed."""
        ...

    async def intakes(self, scope: Scope, appointment_ids: Sequence[str]) -> dict[str, Intake | None]:
        """What was told for a page of appointments, None where it was erased; those without any words are missing."""
        ...


class Tokens(Protocol):
    """The numbers that visits are called by."""

    async def of_day(
        self, scope: Scope, clinic_id: str, provider_ids: Sequence[str], day: date
    ) -> dict[str, list[str]]:
        """By provider, the visits in the order in which they were given their numbers."""
        ...

    async def give(self, scope: Scope, whose: DoctorsTokens, visits: Sequence[str]) -> list[str]:
        """Give those that have none the next numbers, in their order; all that were given, as above."""
        ...


class Names(Protocol):
    """What people are called."""

    async def names(self, scope: Scope, user_ids: Sequence[str]) -> dict[str, str]:
        """By account; those that have no name or have left, or whose name was erased, are missing."""
        ...
