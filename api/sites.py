"""The clinic of a request's Host, and which pages may call through it (CORS): decided before any routing.

An origin is answered only where it is one of ours: the platform's sites, or the clinic's own hosts. No cookie carries
anybody's identity there, so credentials are never allowed; only the codec server takes a cookie, and only from the
Temporal UI's pages.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.codec import PATH, ui_origins
from api.problems import problem_response, refusal_of, request_id_of
from models.errors import UnavailableError, VisitNowError

PREFIX: Final = "/v1/"
"""Probes, documents and the codec server are nobody's site."""

CODEC_PREFIX: Final = f"{PATH}/"

ALLOWED_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
ALLOWED_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-Range, Last-Event-ID, Range, Step-Up, Tus-Resumable, "
    "Upload-Length, Upload-Metadata, Upload-Offset, X-Request-Id"
)
EXPOSED_HEADERS: Final = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Location, Retry-After, Tus-Resumable, Upload-Expires, "
    "Upload-Length, Upload-Offset, WWW-Authenticate, X-Request-Id"
)
PREFLIGHT_SECONDS: Final = 600

_OPENING: Final = "visitnow.opening"
_LAST_WORD_SECONDS: Final = 1.0


class Opening(NamedTuple):
    """What pages of one origin may send, and see of the answers."""

    origin: str
    methods: str = ALLOWED_METHODS
    headers: str = ALLOWED_HEADERS
    exposed: str = EXPOSED_HEADERS
    credentials: bool = False


def _codec_opening(origin: str) -> Opening:
    return Opening(origin, "POST", "Authorization, Content-Type, X-Namespace", "X-Request-Id", credentials=True)


class Sites:
    """One ASGI layer between the edge and the routes."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is what comes further in."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if its host is anybody's."""
        if scope["type"] != "http" or not _is_somebody_s(scope):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            opening = scope[_OPENING] = await _opening(scope, headers)
        except (VisitNowError, UnavailableError) as error:
            await _refused(scope, error)(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(opening)(scope, receive, send)
            return
        await self._app(scope, receive, send if opening is None else _opened(send, opening))


async def readable(scope: Scope, send: Send) -> Send:
    """`send` for a last word from outside the layer: a page that may call can read why it was refused."""
    if _OPENING not in scope:
        scope[_OPENING] = None
        if not _is_somebody_s(scope):
            return send
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                scope[_OPENING] = await _opening(scope, Headers(scope=scope))
        except (VisitNowError, UnavailableError, TimeoutError):
            return send
    opening: Opening | None = scope[_OPENING]
    return send if opening is None else _opened(send, opening)


def _is_somebody_s(scope: Scope) -> bool:
    return str(scope["path"]).startswith((PREFIX, CODEC_PREFIX))


async def _opening(scope: Scope, headers: Headers) -> Opening | None:
    """What the page may do that asks; None where it may not call. Raises `not_found` for a host that is nobody's."""
    services = scope["app"].state.services
    origin = headers.get("origin")
    if scope["path"].startswith(CODEC_PREFIX):
        return _codec_opening(origin) if origin in ui_origins(services.settings) else None
    clinic = await services.hosts.clinic(headers.get("host", ""))
    allowed: str | None = None if origin is None else await services.hosts.allowed_origin(origin, clinic)
    return None if allowed is None else Opening(allowed)


def _refused(scope: Scope, error: Exception) -> Response:
    refusal, _ = refusal_of(error)
    scope["visitnow.code"] = refusal.code
    return problem_response(refusal, request_id_of(Request(scope)))


def _preflight(opening: Opening | None) -> Response:
    headers = {"Vary": "Origin"}
    if opening is not None:
        headers |= {
            "Access-Control-Allow-Origin": opening.origin,
            "Access-Control-Allow-Methods": opening.methods,
            "Access-Control-Allow-Headers": opening.headers,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        if opening.credentials:
            headers["Access-Control-Allow-Credentials"] = "true"
    return Response(status_code=204, headers=headers)


def _opened(send: Send, opening: Opening) -> Send:
    async def decorated(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers["Access-Control-Allow-Origin"] = opening.origin
            headers["Access-Control-Expose-Headers"] = opening.exposed
            if opening.credentials:
                headers["Access-Control-Allow-Credentials"] = "true"
            headers.add_vary_header("Origin")
        await send(message)

    return decorated
