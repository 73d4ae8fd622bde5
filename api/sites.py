"""The clinic of a request's Host, and which pages may call through it (CORS): decided before any routing.

An origin is answered only where it is one of ours: the platform's sites, or the clinic's own hosts. No cookie carries
anybody's identity here, so credentials are never allowed.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response, refusal_of, request_id_of
from models.errors import UnavailableError, VisitNowError

PREFIX: Final = "/v1/"
"""Probes, documents and the codec server are nobody's site, and the codec server knows its own callers."""

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


class Sites:
    """One ASGI layer between the edge and the routes."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is what comes further in."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if its host is anybody's."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            allowed = await _allowed(scope, headers)
        except (VisitNowError, UnavailableError) as error:
            await _refused(scope, error)(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(allowed)(scope, receive, send)
            return
        await self._app(scope, receive, send if allowed is None else _opened(send, allowed))


async def _allowed(scope: Scope, headers: Headers) -> str | None:
    """The page's origin, where it may call. Raises `not_found` for a host that is nobody's."""
    hosts = scope["app"].state.services.hosts
    clinic = await hosts.clinic(headers.get("host", ""))
    origin = headers.get("origin")
    allowed: str | None = None if origin is None else await hosts.allowed_origin(origin, clinic)
    return allowed


def _refused(scope: Scope, error: Exception) -> Response:
    refusal, _ = refusal_of(error)
    scope["visitnow.code"] = refusal.code
    return problem_response(refusal, request_id_of(Request(scope)))


def _preflight(allowed: str | None) -> Response:
    headers = {"Vary": "Origin"}
    if allowed is not None:
        headers |= {
            "Access-Control-Allow-Origin": allowed,
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
    return Response(status_code=204, headers=headers)


def _opened(send: Send, allowed: str) -> Send:
    async def decorated(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers["Access-Control-Allow-Origin"] = allowed
            headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            headers.add_vary_header("Origin")
        await send(message)

    return decorated
