"""Links in messages after a visit: its summary, and a page to rate it; both without signing in.

A GET never changes anything, because mail scanners open links before people do.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import Form, Path, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BeforeValidator

from adapters.redis.limits import Limit
from api.after_visit import AfterVisit
from api.audit import origin_of
from api.guards import PUBLIC
from api.problems import problem_responses
from api.routing import Router
from api.services import Services, Wired
from models.errors import Code, VisitNowError
from models.links import LinkPurpose
from models.reviews import Comment, Likelihood, Opinion, Stars

OPENED_BY_ONE: Final = Limit("after-visit-by-origin", hits=300, seconds=60)

router = Router(prefix="/v1/links", tags=["links"], dependencies=[PUBLIC])

Token = Annotated[str, Path(description="What the message's link ends with.", max_length=400)]
Language = Annotated[Literal["en", "hi"] | None, Query(alias="lang", description="The page's language.")]

_CODES: Final = (Code.INVALID, Code.NOT_FOUND, Code.LINK_SPENT, Code.RATE_LIMITED, Code.UNAVAILABLE)
_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_PAGE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}


def _unless_empty(value: object) -> object:
    """A form sends what was left out as an empty text."""
    return None if isinstance(value, str) and not value.strip() else value


@router.get(
    "/{token}/review", response_class=HTMLResponse, responses={**_PAGE, **problem_responses(*_CODES, page=True)}
)
async def review_page(request: Request, token: Token, services: Wired, language: Language = None) -> HTMLResponse:
    """A page with stars, what was said so far among them."""
    opened = await _opened(request, services, LinkPurpose.REVIEW, token)
    opinion = await services.after_visits.opinion(opened)
    doctor = await services.after_visits.doctor(opened)
    return services.after_visit_pages.review(_path(token, "review"), language, opened, doctor, opinion, given=False)


@router.post(
    "/{token}/review",
    response_class=HTMLResponse,
    responses={**_PAGE, **problem_responses(*_CODES, *_BODY, Code.STATE_CONFLICT, page=True)},
)
async def review_by_link(
    *,
    request: Request,
    token: Token,
    services: Wired,
    rating: Annotated[Stars, Form()],
    nps: Annotated[Likelihood | None, BeforeValidator(_unless_empty), Form()] = None,
    comment: Annotated[Comment | None, BeforeValidator(_unless_empty), Form()] = None,
    language: Language = None,
) -> HTMLResponse:
    """Rate the visit; a later rating takes the place of an earlier one."""
    opened = await _opened(request, services, LinkPurpose.REVIEW, token)
    opinion = Opinion(rating=rating, nps=nps, comment=comment)
    await services.after_visits.rate(request, opened, opinion)
    doctor = await services.after_visits.doctor(opened)
    return services.after_visit_pages.review(_path(token, "review"), language, opened, doctor, opinion, given=True)


@router.get(
    "/{token}/summary",
    response_class=HTMLResponse,
    responses={**_PAGE, **problem_responses(*_CODES, Code.ERASED, page=True)},
)
async def summary_page(request: Request, token: Token, services: Wired, language: Language = None) -> HTMLResponse:
    """What the doctor wrote, as it stands now, with links of a few minutes to the visit's documents."""
    opened = await _opened(request, services, LinkPurpose.SUMMARY, token)
    record = await services.after_visits.record(request, opened)
    documents = await services.after_visits.documents(opened)
    return services.after_visit_pages.summary(_path(token, "summary"), language, opened, record, documents)


async def _opened(request: Request, services: Services, purpose: LinkPurpose, token: str) -> AfterVisit:
    if (wait := await services.limiter.hit(OPENED_BY_ONE, origin_of(request) or "")) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    return await services.after_visits.open(purpose, token)


def _path(token: str, page: str) -> str:
    return f"/v1/links/{quote(token, safe='')}/{page}"
