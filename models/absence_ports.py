"""What a leave asks of the outside for those whom it affects; see `models.ports` for what holds of each method."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from models.absence import Offer, OfferState, OfferTally, Within
from models.booking import Cancelled
from models.identity import Scope
from models.providers import Provider


class Waiting(NamedTuple):
    """Some offers of a leave, and when the next of the others is due (None: there is none)."""

    offers: Sequence[Offer]
    next_due: datetime | None


class LatestOffers(Protocol):
    """What somebody is offered because of a leave, as far as others need to know."""

    async def latest(self, scope: Scope, appointment_id: str) -> Offer | None:
        """The newest offer for a visit."""
        ...


class Offers(LatestOffers, Protocol):
    """What those are offered whose visit lies within a leave."""

    async def within(self, scope: Scope, provider: Provider, start: datetime, end: datetime) -> list[Within]:
        """A provider's visits, held or confirmed, that overlap [start, end) with their buffers, by start."""
        ...

    async def add(self, scope: Scope, offers: Sequence[Offer], at: datetime) -> None:
        """Keep new offers; those that were there before stay as they are."""
        ...

    async def known(self, scope: Scope, offer_ids: Sequence[str]) -> set[str]:
        """Which of them are there."""
        ...

    async def untold(self, scope: Scope, leave_id: str, limit: int) -> list[Offer]:
        """New ones, the most urgent first."""
        ...

    async def due(self, scope: Scope, leave_id: str, before: datetime | None, limit: int) -> Waiting:
        """Told ones that are due before an instant (None: all of them), the most urgent first."""
        ...

    async def advance(
        self, scope: Scope, offer: Offer, to: OfferState, at: datetime, sources: Sequence[OfferState]
    ) -> bool:
        """Move one on from one of these states; False where it stands elsewhere already."""
        ...

    async def postpone(self, scope: Scope, offer: Offer, until: datetime) -> None:
        """Let one that could not be settled wait, so that it keeps none of the others waiting."""
        ...

    async def tally(self, scope: Scope, leave_id: str) -> OfferTally:
        """How many stand where."""
        ...


class Counted(Protocol):
    """The leaves, as far as their tallies go."""

    async def count(self, scope: Scope, leave_id: str, tally: OfferTally) -> None:
        """Show how a leave's offers stand."""
        ...


class Bookings(Protocol):
    """The workflows that own appointments, as others may command them."""

    async def cancel_by_clinic(self, appointment_id: str, cause: str, only_at: datetime) -> Cancelled:
        """Cancel a visit as the clinic, as long as it begins then; `cause` is the id of what made it do so.

        Raises `state_conflict` where the booking is over.
        """
        ...
