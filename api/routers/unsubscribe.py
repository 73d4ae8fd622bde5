"""The end of what somebody did not ask for: by the link in an e-mail's header, or in the message itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Path, Request
from fastapi.responses import HTMLResponse

from adapters.redis.limits import Limit
from api.audit import origin_of
from api.guards import PUBLIC
from api.problems import problem_responses
from api.routing import Router
from api.services import Services, Wired
from models.consents import Purpose
from models.errors import Code, VisitNowError, not_found
from models.links import Link, LinkPurpose, read_link

OPENED_BY_ONE: Final = Limit("unsubscribe-by-origin", hits=300, seconds=60)

ENDED: Final = (Purpose.FOLLOW_UP, Purpose.PROMOTION)
"""What ends: what a visit itself needs is still told."""

_CODES: Final = (Code.INVALID, Code.NOT_FOUND, Code.LINK_SPENT, Code.RATE_LIMITED, Code.UNAVAILABLE)
_POLICY: Final = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEAD: Final = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Fewer messages</title>'
_PAGE: Final = f"""{_HEAD}<p>Shall we stop asking how visits were, reminding you of later ones and telling of offers?
What concerns a visit that you have booked is still told.</p>
<p lang="hi">क्या हम सवाल, आगे की याद और ऑफ़र भेजना बंद कर दें? आपकी बुक की गई मुलाक़ात की सूचना मिलती रहेगी।</p>
<form method="post"><button>Yes, stop · हाँ, बंद करें</button></form></html>"""
_DONE: Final = f'{_HEAD}<p>Done: you will get no more of them.</p><p lang="hi">हो गया।</p></html>'

router = Router(prefix="/v1/links", tags=["links"], dependencies=[PUBLIC])

Token = Annotated[str, Path(description="What the message's link ends with.", max_length=400)]


@router.get(
    "/{token}/unsubscribe",
    response_class=HTMLResponse,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **problem_responses(*_CODES, page=True),
    },
)
async def unsubscribe_page(request: Request, token: Token, services: Wired) -> HTMLResponse:
    """A page that asks; opening it changes nothing, because mail scanners open links before people do."""
    await _opened(request, services, token)
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.post(
    "/{token}/unsubscribe",
    response_class=HTMLResponse,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **problem_responses(*_CODES, page=True),
    },
)
async def unsubscribe(request: Request, token: Token, services: Wired) -> HTMLResponse:
    """End what was not asked for (RFC 8058, one click); saying it again changes nothing."""
    link = await _opened(request, services, token)
    for purpose in ENDED:
        await services.consenting.withdraw_by_link(request, link.subject_id, purpose)
    return HTMLResponse(_DONE, headers={"Content-Security-Policy": _POLICY})


async def _opened(request: Request, services: Services, token: str) -> Link:
    if (wait := await services.limiter.hit(OPENED_BY_ONE, origin_of(request) or "")) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    try:
        return read_link(services.settings.id_secret, LinkPurpose.UNSUBSCRIBE, token, datetime.now(UTC))
    except VisitNowError as error:
        raise (VisitNowError(Code.LINK_SPENT) if error.code is Code.TOKEN_EXPIRED else not_found()) from error
