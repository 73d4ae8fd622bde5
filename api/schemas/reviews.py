"""Reviews over the wire."""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.base import Model, UtcDatetime
from models.reviews import Comment, Decision, Likelihood, Opinion, Review, ReviewState, Stars


class GiveReview(Model):
    """What somebody says of a visit."""

    rating: Stars
    nps: Likelihood | None = None
    comment: Comment | None = None

    @property
    def opinion(self) -> Opinion:
        """As it is kept."""
        return Opinion(rating=self.rating, nps=self.nps, comment=self.comment)


class Moderate(Model):
    """A moderator's decision."""

    decision: Decision
    version: int | None = Field(default=None, ge=1, description="The one that was read; the latest if absent.")


class PublishedReview(BaseModel):
    """A review as everybody may read it: nothing says whose it is."""

    id: str
    rating: int
    comment: str | None
    visited_in: str = Field(description="Year and month of the visit (UTC).")
    created_at: UtcDatetime

    @classmethod
    def of(cls, review: Review) -> PublishedReview:
        """What is public of it."""
        return cls(
            id=review.id,
            rating=review.opinion.rating,
            comment=review.opinion.comment,
            visited_in=f"{review.visited_at:%Y-%m}",
            created_at=review.created_at,
        )


class ReviewPage(BaseModel):
    """Published reviews of one provider, newest first."""

    items: list[PublishedReview]
    next_cursor: str | None


class ModeratedReview(PublishedReview):
    """A review as a moderator sees it: still not whose it is."""

    provider_id: str
    state: ReviewState
    version: int

    @classmethod
    def of(cls, review: Review) -> ModeratedReview:
        """What a decision needs."""
        shown = dict(PublishedReview.of(review))
        return cls(**shown, provider_id=review.provider_id, state=review.state, version=review.version)


class ModerationPage(BaseModel):
    """Reviews in one state, newest first."""

    items: list[ModeratedReview]
    next_cursor: str | None


class ReviewView(ModeratedReview):
    """A review as its author sees it."""

    appointment_id: str
    nps: int | None
    updated_at: UtcDatetime

    @classmethod
    def of(cls, review: Review) -> ReviewView:
        """All of it."""
        shown = dict(ModeratedReview.of(review))
        return cls(**shown, appointment_id=review.appointment_id, nps=review.opinion.nps, updated_at=review.updated_at)
