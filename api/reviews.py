"""What patients say of their visits: given by them, published by a rule or a moderator, read by everybody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from fastapi import Request

from api.audit import AuditLog
from models.booking import Appointment
from models.compliance import AuditAction
from models.errors import Code, VisitNowError, not_found
from models.follow_up_ports import FollowedUp
from models.identity import Principal, Public, Subject, System
from models.ids import review_id
from models.ports import Directory, Page
from models.review_ports import Reviews
from models.reviews import Decision, Opinion, Review, ReviewState, may_review, review_of

MODERATION: Final = System("the platform's moderators rule on all practices' reviews")


class Reviewing:
    """Takes, shows and rules on reviews."""

    def __init__(self, reviews: Reviews, directory: Directory, audit: AuditLog, followed_up: FollowedUp) -> None:
        """Where reviews are kept, who can be found, what notes who did what, and what waits for reviews."""
        self._followed_up = followed_up
        self._reviews = reviews
        self._directory = directory
        self._audit = audit

    async def give(self, request: Request, caller: Principal, appointment: Appointment, opinion: Opinion) -> Review:
        """The caller's review of their own visit, in place of an earlier one. Raises `state_conflict`."""
        now = datetime.now(UTC)
        if not may_review(appointment, now):
            raise VisitNowError(Code.STATE_CONFLICT, "Only a completed visit can be rated, and for 60 days")
        review = review_of(appointment, opinion, now)
        await self._audit.note(request, caller, AuditAction.REVIEWED, review.id)
        given = await self._reviews.put(Subject(caller.subject), review)
        # Whoever gets no answer says it again: so no review is left that nobody has looked at.
        await self._followed_up.look_again(appointment.tenant_id, appointment.id, appointment.subject_id)
        return given

    async def own(self, caller: Principal, appointment_id: str) -> Review:
        """What the caller has said of a visit. Raises `not_found`."""
        found = await self._reviews.find(Subject(caller.subject), review_id(appointment_id))
        if found is None:
            raise not_found()
        return found

    async def of_provider(self, provider_id: str, limit: int, cursor: str | None) -> Page[Review]:
        """What everybody may read of a provider who can be found. Raises `not_found`, `cursor_invalid`."""
        if provider_id not in await self._directory.profiles(Public(), [provider_id]):
            raise not_found()
        try:
            return await self._reviews.of_provider(Public(), provider_id, limit, cursor)
        except ValueError as error:
            raise VisitNowError(Code.CURSOR_INVALID) from error

    async def in_state(self, state: ReviewState, limit: int, cursor: str | None) -> Page[Review]:
        """For moderators. Raises `cursor_invalid`."""
        try:
            return await self._reviews.in_state(MODERATION, state, limit, cursor)
        except ValueError as error:
            raise VisitNowError(Code.CURSOR_INVALID) from error

    async def decide(
        self, request: Request, moderator: Principal, wanted: str, decision: Decision, version: int | None
    ) -> Review:
        """Publish or withhold. Raises `not_found`; `stale` where it is not, or no longer, the version that was read."""
        before = await self._reviews.find(MODERATION, wanted)
        if before is None:
            raise not_found()
        read = before.version if version is None else version
        if read != before.version:
            raise VisitNowError(Code.STALE)
        await self._audit.note(request, moderator, AuditAction.REVIEW_MODERATED, wanted)
        return await self._reviews.decide(MODERATION, wanted, decision.state, read, datetime.now(UTC))
