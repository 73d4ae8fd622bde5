"""Requests by right: grievances and corrections, each with a clock that the law sets."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Query, Request

from adapters.redis.limits import Limit as RateLimit
from api.guards import GUARD_CODES, MayAnswerRights, OwnRights
from api.paging import Paging
from api.problems import problem_responses
from api.records import optional_key
from api.routing import Router
from api.schemas.rights import AnswerRight, ClaimRight, RightPage, RightView
from api.services import Services, Wired
from models.errors import Code, VisitNowError
from models.identity import Principal
from models.rights import RightsKind, RightsState

CLAIMS: Final = RateLimit("rights", hits=30, seconds=3600)
"""One person's requests; how many may wait has a limit of its own."""

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_CLAIMED: Final = problem_responses(
    *GUARD_CODES, *_BODY, Code.IDEMPOTENCY_KEY_REUSED, Code.STATE_CONFLICT, Code.RATE_LIMITED
)

Key = Annotated[str | None, Depends(optional_key)]
RequestId = Annotated[str, Path(max_length=100)]

router = Router(prefix="/v1", tags=["privacy"])


@router.post("/me/grievances", status_code=201, responses=_CLAIMED)
async def claim_grievance(
    request: Request, caller: OwnRights, key: Key, body: ClaimRight, services: Wired
) -> RightView:
    """Complain about how one's data is handled; answered within 90 days."""
    return await _claimed(request, services, caller, RightsKind.GRIEVANCE, body, key)


@router.get("/me/grievances", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def grievances(caller: OwnRights, services: Wired, wanted: Annotated[Paging, Query()]) -> RightPage:
    """One's grievances, newest first, with their answers."""
    return await _own(services, caller, RightsKind.GRIEVANCE, wanted)


@router.post("/me/corrections", status_code=201, responses=_CLAIMED)
async def claim_correction(
    request: Request, caller: OwnRights, key: Key, body: ClaimRight, services: Wired
) -> RightView:
    """Ask for something to be corrected or completed; answered within 30 days."""
    return await _claimed(request, services, caller, RightsKind.CORRECTION, body, key)


@router.get("/me/corrections", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def corrections(caller: OwnRights, services: Wired, wanted: Annotated[Paging, Query()]) -> RightPage:
    """One's wishes for correction, newest first, with their answers."""
    return await _own(services, caller, RightsKind.CORRECTION, wanted)


async def _claimed(
    request: Request, services: Services, caller: Principal, kind: RightsKind, body: ClaimRight, key: str | None
) -> RightView:
    if (wait := await services.limiter.hit(CLAIMS, caller.subject)) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    said = (body.text, body.appointment_id)
    return RightView.of(await services.rights.ask(request, caller, kind, said, key))


async def _own(services: Services, caller: Principal, kind: RightsKind, wanted: Paging) -> RightPage:
    page = await services.rights.own(caller, kind, wanted.limit, wanted.cursor)
    return RightPage(items=[RightView.of(one) for one in page.items], next_cursor=page.next_cursor)


class RightsFilters(Paging):
    """Which requests are listed."""

    state: RightsState = RightsState.RECEIVED


@router.get("/rights-requests", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def rights_to_answer(
    request: Request, caller: MayAnswerRights, services: Wired, wanted: Annotated[RightsFilters, Query()]
) -> RightPage:
    """What the caller's tenant is to answer, the first due first."""
    page = await services.rights.to_answer(request, caller, wanted.state, wanted.limit, wanted.cursor)
    return RightPage(items=[RightView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post(
    "/rights-requests/{request_id}/answer",
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.STATE_CONFLICT),
)
async def answer_right(
    request: Request, request_id: RequestId, caller: MayAnswerRights, body: AnswerRight, services: Wired
) -> RightView:
    """Answer, once; whoever asked is told that there is an answer."""
    return RightView.of(await services.rights.answer(request, caller, request_id, body.outcome, body.text))
