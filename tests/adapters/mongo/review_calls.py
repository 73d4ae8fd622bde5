"""One review, and every method of the repository of reviews."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.mongo.repositories import Repositories
from models.booking import PlaceBooking
from models.identity import Scope, System
from models.reviews import Opinion, Review, ReviewState
from models.upkeep import UnheardReview
from tests.adapters.mongo.builders import DAY, new

_WORLD = System("the tests' world")
Call = Callable[[Scope], Awaitable[object]]


def a_review(of: PlaceBooking, **changes: object) -> Review:
    """Four stars and a word."""
    fields: dict[str, object] = {
        "id": new("rev"),
        "tenant_id": of.tenant_id,
        "clinic_id": of.clinic_id,
        "provider_id": of.provider_id,
        "practitioner_id": of.practitioner_id,
        "appointment_id": of.appointment_id,
        "subject_id": of.subject_id,
        "visited_at": of.start,
        "opinion": Opinion(rating=4, nps=9, comment="Listened well."),
        "state": ReviewState.PUBLISHED,
        "version": 1,
        "created_at": DAY,
        "updated_at": DAY,
    }
    return Review.model_validate({**fields, **changes})


def unheard(review: Review) -> UnheardReview:
    """That review, as the upkeep finds it."""
    same = review.model_dump(include={"tenant_id", "appointment_id", "subject_id", "version"})
    return UnheardReview(review_id=review.id, **same)


async def build(stores: Repositories, of: PlaceBooking) -> Review:
    """Put it there."""
    return await stores.reviews.put(_WORLD, a_review(of))


def on_records(stores: Repositories, review: Review) -> dict[str, Call]:
    """Methods on what belongs to a tenant, clinic, provider and patient."""
    reviews = stores.reviews
    other = review.model_copy(update={"opinion": Opinion(rating=2)})

    async def in_state(scope: Scope) -> list[Review]:
        return list((await reviews.in_state(scope, ReviewState.PUBLISHED, 5, None)).items)

    return {
        "reviews.find": lambda scope: reviews.find(scope, review.id),
        "reviews.in_state": in_state,
        "reviews.put": lambda scope: reviews.put(scope, other),
        "reviews.decide": lambda scope: reviews.decide(scope, review.id, ReviewState.WITHHELD, 2, DAY),
    }


def of_everybody(stores: Repositories, provider_id: str) -> dict[str, Call]:
    """What everybody may read."""

    async def published(scope: Scope) -> list[Review]:
        return list((await stores.reviews.of_provider(scope, provider_id, 5, None)).items)

    return {
        "reviews.of_provider": published,
        "reviews.rating": lambda scope: stores.reviews.rating(scope, provider_id),
    }
