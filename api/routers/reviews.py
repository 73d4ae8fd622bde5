"""Reviews: given by patients, read by everybody, ruled on by the platform's moderators."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query, Request

from api.guards import GUARD_CODES, PUBLIC, MayModerate, MayReview
from api.paging import Paging
from api.problems import problem_responses
from api.records import AppointmentId, found
from api.routing import Router
from api.schemas.reviews import (
    GiveReview,
    Moderate,
    ModeratedReview,
    ModerationPage,
    PublishedReview,
    ReviewPage,
    ReviewView,
)
from api.services import Wired
from models.errors import Code
from models.reviews import ReviewState

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)

ReviewId = Annotated[str, Path(max_length=100)]

router = Router(prefix="/v1", tags=["reviews"])


@router.put(
    "/appointments/{appointment_id}/review",
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.STATE_CONFLICT),
)
async def give_review(
    request: Request, appointment_id: AppointmentId, caller: MayReview, body: GiveReview, services: Wired
) -> ReviewView:
    """Rate a completed visit, within 60 days; a later rating takes the place of an earlier one."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    return ReviewView.of(await services.reviewing.give(request, caller, appointment, body.opinion))


@router.get("/appointments/{appointment_id}/review", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def own_review(request: Request, appointment_id: AppointmentId, caller: MayReview, services: Wired) -> ReviewView:
    """What the caller has said of a visit."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    return ReviewView.of(await services.reviewing.own(caller, appointment.id))


@router.get(
    "/providers/{provider_id}/reviews",
    dependencies=[PUBLIC],
    responses=problem_responses(Code.NOT_FOUND, Code.INVALID, Code.CURSOR_INVALID, Code.UNAVAILABLE),
)
async def reviews(provider_id: str, services: Wired, wanted: Annotated[Paging, Query()]) -> ReviewPage:
    """What patients say of a provider, newest first; nothing tells who they are."""
    page = await services.reviewing.of_provider(provider_id, wanted.limit, wanted.cursor)
    return ReviewPage(items=[PublishedReview.of(one) for one in page.items], next_cursor=page.next_cursor)


class ModerationFilters(Paging):
    """Which reviews a moderator lists."""

    state: ReviewState = ReviewState.PENDING


@router.get("/reviews", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def reviews_to_moderate(
    request: Request, caller: MayModerate, services: Wired, wanted: Annotated[ModerationFilters, Query()]
) -> ModerationPage:
    """Reviews of all practices in one state: those that wait, if nothing else is asked for."""
    page = await services.reviewing.in_state(wanted.state, wanted.limit, wanted.cursor)
    await services.audit.act(request, caller, f"reviews:{wanted.state}")
    return ModerationPage(items=[ModeratedReview.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post(
    "/reviews/{review_id}/moderation",
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.STALE),
)
async def moderate(
    request: Request, review_id: ReviewId, caller: MayModerate, body: Moderate, services: Wired
) -> ModeratedReview:
    """Publish or withhold a review; its author may change it, which has the rule look at it again."""
    return ModeratedReview.of(await services.reviewing.decide(request, caller, review_id, body.decision, body.version))
