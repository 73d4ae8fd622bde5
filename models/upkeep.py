"""What is looked after every minute: work that was promised and never begun, and words that nobody needs any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol

from models.base import Id, Model, UtcDatetime
from models.deletions import DeletionRef
from models.identity import Scope
from models.messaging import Channel, Template
from models.publishing import LeaveRef
from models.rights import RightsRef, RightsState

PATIENCE: Final = timedelta(seconds=30)
"""Whoever promised it is given this long to begin it."""

WORDS_KEPT: Final = timedelta(minutes=10)
"""How long a message outlives its expiry in words: a try that began before may still be asked about."""

DRAFTS_KEPT: Final = timedelta(days=1)
"""How long a draft whose mailbox nobody proved outlives the last link to it."""

INVITES_KEPT: Final = timedelta(days=30)
"""How long an invitation is kept after its end, so that a late click is told apart from a made-up one."""


class Unsent(Model):
    """A message that was kept, and whose delivery may never have begun."""

    tenant_id: Id
    subject_id: Id
    message_id: Id
    channel: Channel
    template: Template
    expires_at: UtcDatetime


class UnheardReview(Model):
    """A low review, as it was kept in that version, of which the visit's follow-up may never have heard."""

    review_id: Id
    tenant_id: Id
    appointment_id: Id
    subject_id: Id
    version: int


class UnheardRequest(Model):
    """A request by right, kept or answered in that version, whose workflow may never have heard of it."""

    about: RightsRef
    state: RightsState
    version: int


class UpkeepTally(Model):
    """What one turn has set going and what it has forgotten."""

    leaves: int = 0
    messages: int = 0
    exports: int = 0
    reviews: int = 0
    requests: int = 0
    deletions: int = 0
    words: int = 0
    strangers: int = 0
    files: int = 0


class Upkeep(Protocol):
    """What lies about in the stores."""

    async def unfinished_leaves(self, scope: Scope, before: datetime, limit: int) -> list[LeaveRef]:
        """Leaves that were asked for or ended before that instant and are neither taken nor over, oldest first."""
        ...

    async def unsent(self, scope: Scope, before: datetime, limit: int) -> list[Unsent]:
        """Messages kept before that instant that nobody has tried to send, oldest first."""
        ...

    async def unheard_reviews(self, scope: Scope, before: datetime, limit: int) -> list[UnheardReview]:
        """Low reviews kept before that instant whose follow-ups were not told by an upkeep yet, oldest first."""
        ...

    async def unheard_requests(self, scope: Scope, before: datetime, limit: int) -> list[UnheardRequest]:
        """Requests by right kept or answered before that instant whose workflows were not told by an upkeep yet."""
        ...

    async def heard(self, scope: Scope, what: UnheardReview | UnheardRequest) -> None:
        """Its workflow was told; what has changed meanwhile stays to be told."""
        ...

    async def unbegun_deletions(self, scope: Scope, before: datetime, limit: int) -> list[DeletionRef]:
        """Deletions that were confirmed before that instant and that nobody has begun, oldest first."""
        ...

    async def forget_words(self, scope: Scope, before: datetime) -> int:
        """Drop the words of messages that open something and expired before that instant; how many those were.

        That they were sent, to whose account and with what success stays.
        """
        ...

    async def forget_strangers(self, scope: Scope, at: datetime, limit: int) -> int:
        """Drop challenges, drafts and invitations that are over, and with them the keys of those who never came.

        At most `limit` of each; how many it were.
        """
        ...


class Beginner(Protocol):
    """How what was promised is begun, once, however often it is asked for."""

    async def begin_leave(self, leave: LeaveRef) -> object:
        """Have a leave's free time blocked, or given back where it was ended."""
        ...

    async def begin_message(self, message: Unsent) -> None:
        """Have a kept message delivered."""
        ...

    async def begin_follow_up(self, review: UnheardReview) -> None:
        """Have a visit's follow-up look at its review."""
        ...

    async def begin_request(self, request: UnheardRequest) -> None:
        """Have the clock of a request by right run, or its answer passed on."""
        ...

    async def begin_deletion(self, about: DeletionRef) -> None:
        """Have somebody forgotten who has confirmed it."""
        ...
