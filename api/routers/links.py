"""Links in messages: a page, or JSON, about one visit; what is asked there is done without signing in.

A GET never changes anything, because mail scanners open links before people do. After a POST a browser is led back to
the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from adapters.redis.limits import Limit as RateLimit
from api.audit import origin_of
from api.guards import PUBLIC
from api.link_pages import wants_page
from api.links import Opened
from api.problems import problem_responses
from api.routing import Router
from api.schemas.links import LinkedVisitView
from api.schemas.values import Instant
from api.services import Services, Wired
from models.errors import Code, VisitNowError

OPENED: Final = RateLimit("links", hits=60, seconds=60)
"""How often one link is opened or used."""

OPENED_BY_ONE: Final = RateLimit("links-by-origin", hits=600, seconds=60)
"""How often links are from one address: a clinic's waiting room may share one."""

router = Router(prefix="/v1/links", tags=["links"], dependencies=[PUBLIC])

Token = Annotated[str, Path(description="What the message's link ends with.", max_length=400)]
Language = Annotated[Literal["en", "hi"] | None, Query(alias="lang", description="The page's language.")]

_CODES: Final = (Code.INVALID, Code.NOT_FOUND, Code.LINK_SPENT, Code.RATE_LIMITED, Code.UNAVAILABLE)
_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The visit, as a page where `Accept` asks for one.",
        "content": {"text/html": {"schema": {"type": "string"}}},
    }
}
_DONE: Final[dict[int | str, dict[str, Any]]] = {
    **_PAGE,
    303: {
        "description": "Done; a browser is led back to the page.",
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
}
_MOVED: Final = (
    Code.STATE_CONFLICT,
    Code.WINDOW_CLOSED,
    Code.SLOT_TAKEN,
    Code.SLOT_INVALID,
    Code.TOO_SOON,
    Code.TOO_FAR,
)


@router.get("/{token}", response_model=LinkedVisitView, responses={**_PAGE, **problem_responses(*_CODES, page=True)})
async def open_link(request: Request, token: Token, services: Wired, language: Language = None) -> Any:  # noqa: ANN401  a page or a model
    """The visit that a message is about, and what its patient may do now."""
    return await _Turn(request, services, token, language).answered(None)


@router.post(
    "/{token}/confirm",
    response_model=LinkedVisitView,
    responses={**_DONE, **problem_responses(*_CODES, Code.STATE_CONFLICT, page=True)},
)
async def confirm_by_link(request: Request, token: Token, services: Wired, language: Language = None) -> Any:  # noqa: ANN401  as above
    """The patient says that they come."""
    return await _Turn(request, services, token, language).answered(services.links.confirm)


@router.post(
    "/{token}/cancel",
    response_model=LinkedVisitView,
    responses={**_DONE, **problem_responses(*_CODES, Code.STATE_CONFLICT, page=True)},
)
async def cancel_by_link(request: Request, token: Token, services: Wired, language: Language = None) -> Any:  # noqa: ANN401  as above
    """The patient cancels; what goes back of a payment follows the policy."""
    return await _Turn(request, services, token, language).answered(services.links.cancel)


@router.post(
    "/{token}/reschedule",
    response_model=LinkedVisitView,
    responses={**_DONE, **problem_responses(*_CODES, *_MOVED, page=True)},
)
async def reschedule_by_link(
    request: Request,
    token: Token,
    services: Wired,
    start: Annotated[Instant, Query(description="One of the visit's `times`.")],
    language: Language = None,
) -> Any:  # noqa: ANN401  as above
    """The patient chooses another time."""

    async def move(opened: Opened) -> None:
        await services.links.reschedule(opened, start)

    return await _Turn(request, services, token, language).answered(move)


class _Turn:
    """One request with a link, answered as it was asked: with a page or with JSON."""

    def __init__(self, request: Request, services: Services, token: str, language: str | None) -> None:
        self._request = request
        self._services = services
        self._token = token
        self._path = f"/v1/links/{quote(token, safe='')}"
        self._wish = language
        self._as_page = wants_page(request)

    async def answered(self, act: Callable[[Opened], Awaitable[None]] | None) -> LinkedVisitView | Response:
        """Do what is asked, if anything is, and show how the visit stands then."""
        if not self._as_page:
            return await self._services.links.view(await self._done(await self._opened(), act))
        try:
            opened = await self._opened()
        except VisitNowError as error:
            return self._services.link_pages.answer(self._path, self._language(None), problem=error)
        language = self._language(await self._services.links.locale(opened))
        problem: VisitNowError | None = None
        try:
            opened = await self._done(opened, act)
        except VisitNowError as error:
            problem = error
        if act is not None and problem is None:
            return RedirectResponse(f"{self._path}?lang={language}", status_code=303)
        view = await self._services.links.view(opened)
        return self._services.link_pages.answer(self._path, language, view, problem)

    async def _opened(self) -> Opened:
        for limit, key in ((OPENED_BY_ONE, origin_of(self._request) or ""), (OPENED, self._token)):
            if (wait := await self._services.limiter.hit(limit, key)) is not None:
                raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
        return await self._services.links.open(self._token)

    async def _done(self, opened: Opened, act: Callable[[Opened], Awaitable[None]] | None) -> Opened:
        """What the link opens afterwards; that it was used is audited before."""
        if act is None:
            return opened
        await self._services.audit.link_used(self._request, opened.holder, opened.appointment)
        await act(opened)
        return await self._services.links.open(self._token)

    def _language(self, locale: str | None) -> str:
        """What was asked for, what the patient reads, or what their browser does."""
        accepted = [part.partition(";")[0] for part in self._request.headers.get("accept-language", "").split(",")]
        return self._services.link_pages.language(self._wish, locale, *accepted)
