"""Reviews of completed visits: one per visit, by who came, published by a rule or by a person's decision."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime
from models.booking import Appointment, AppointmentState
from models.ids import review_id

WINDOW: Final = timedelta(days=60)
"""How long after the visit it may be rated, and the rating changed."""

PRIOR_COUNT: Final = 5
PRIOR_MEAN: Final = 4.0
"""A provider is shown as if these many ratings of this mean had come first, so that a single one says little."""

LOW: Final = 2
"""A rating of so few stars, or fewer, is a reason for somebody of the practice to get in touch."""

Stars = Annotated[int, Field(ge=1, le=5)]
Likelihood = Annotated[int, Field(ge=0, le=10, description="0 to 10: how likely one is to recommend the provider.")]
Comment = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]

_CONTACT: Final = re.compile(
    r"https?:|www\.|\S@\S|\b[\w-]+\.(?:com|in|org|net|co|io)\b|(?:\d[\s().-]?){7,}", re.IGNORECASE
)
"""A link, an address or a telephone number: somebody's, and nothing that a review needs."""


class ReviewState(StrEnum):
    """Whether everybody may read it."""

    PENDING = "pending"
    PUBLISHED = "published"
    WITHHELD = "withheld"


class Decision(StrEnum):
    """What a moderator decides."""

    PUBLISH = "publish"
    WITHHOLD = "withhold"

    @property
    def state(self) -> ReviewState:
        """What becomes of the review."""
        return ReviewState.PUBLISHED if self is Decision.PUBLISH else ReviewState.WITHHELD


class Opinion(Model):
    """What somebody says of a visit. `nps` is for the practice alone, the rest is to be read by everybody."""

    rating: Stars
    nps: Likelihood | None = None
    comment: Comment | None = None


class Review(Model):
    """An opinion as it is kept; its words are sealed under the patient's identity key and vanish with it."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    practitioner_id: Id
    appointment_id: Id
    subject_id: Id
    visited_at: UtcDatetime
    opinion: Opinion
    state: ReviewState
    version: int = Field(ge=1)
    created_at: UtcDatetime
    updated_at: UtcDatetime
    erased: bool = False
    """Whether there was a comment whose key is gone."""

    @property
    def is_low(self) -> bool:
        """Whether somebody should get in touch."""
        return self.opinion.rating <= LOW


class Rating(Model):
    """All published ratings of one provider."""

    count: int = Field(ge=0)
    total: int = Field(ge=0)

    @property
    def mean(self) -> float | None:
        """The Bayesian average, 1 to 5; None where nobody has rated."""
        if not self.count:
            return None
        return (PRIOR_COUNT * PRIOR_MEAN + self.total) / (PRIOR_COUNT + self.count)


def ruling(opinion: Opinion) -> ReviewState:
    """What the rule says: stars alone are published, and words too unless they carry a way to reach somebody.

    Those wait for a person. How good or bad a rating is plays no part.
    """
    waits = opinion.comment is not None and _CONTACT.search(opinion.comment) is not None
    return ReviewState.PENDING if waits else ReviewState.PUBLISHED


def may_review(appointment: Appointment, now: datetime) -> bool:
    """Whether a visit may be rated: it was completed, and not too long ago."""
    return appointment.state is AppointmentState.COMPLETED and now < appointment.end + WINDOW


def review_of(appointment: Appointment, opinion: Opinion, now: datetime) -> Review:
    """The first version of a visit's review, its instants as precise as a database keeps them."""
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return Review(
        id=review_id(appointment.id),
        tenant_id=appointment.tenant_id,
        clinic_id=appointment.clinic_id,
        provider_id=appointment.provider_id,
        practitioner_id=appointment.practitioner_id,
        appointment_id=appointment.id,
        subject_id=appointment.subject_id,
        visited_at=appointment.start,
        opinion=opinion,
        state=ruling(opinion),
        version=1,
        created_at=now,
        updated_at=now,
    )
