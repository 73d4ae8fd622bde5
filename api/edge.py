"""What surrounds every request: its id, limits, security headers, one metric and one log line.

One pure ASGI layer, outside the routing: whatever goes wrong further in, the answer is a problem and nothing of the
exception's text leaves the process.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import structlog
from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import secure
from api.metrics import Metrics
from api.problems import Page, answer_of
from models.errors import Code, VisitNowError
from models.files import MAX_DOCUMENT_BYTES, MAX_UPLOAD_BYTES

MAX_BODY_BYTES: Final = 64 * 1024
"""No request under /v1 is longer; a webhook of the payment gateway has about 5 KB."""

CODEC_PATHS: Final = frozenset({"/codec/encode", "/codec/decode"})
MAX_CODEC_BYTES: Final = 4 * 1024 * 1024
"""The Temporal UI sends all payloads of a history's page at once; Temporal's own limit for one message is 4 MiB."""

MAX_FORM_BYTES: Final = MAX_DOCUMENT_BYTES + MAX_BODY_BYTES
"""A document in one request, and what a form puts around it."""

_FORMS: Final = re.compile(r"/v1/(onboarding/applications|appointments)/[^/]+/documents")
_UPLOADS: Final = re.compile(r"/v1/uploads/[^/]+")

FIRST_BYTE_SECONDS: Final = 20.0
"""Until the answer begins; above the 10 s that a command waits for the workflow service. A stream may go on.

Whoever sends a file on a slow line is given as long again with everything that arrives.
"""

WHOLE_BODY_SECONDS: Final = 900.0
"""Nobody sends longer than this, however little at a time: the longest body then comes at 60 kB/s."""

STALLED_SECONDS: Final = 60.0
"""Whoever takes nothing of an answer for so long is let go, a stream's reader too."""


def arrived_at(request: Request) -> datetime:
    """When this request came, to its last byte: once it is read, whoever sends that late comes late."""
    arrived: datetime = request.scope["visitnow.arrived_at"]
    return arrived


class TimeLimits(NamedTuple):
    """How long each part of an exchange may take, in seconds."""

    first_byte: float = FIRST_BYTE_SECONDS
    whole_body: float = WHOLE_BODY_SECONDS
    stalled: float = STALLED_SECONDS


USUAL: Final = TimeLimits()

LastWord = Callable[[Scope, Send], Awaitable[Send]]

UNMATCHED: Final = "unmatched"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_log = structlog.get_logger(__name__)


class Edge:
    """The outermost layer of ours."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        limits: TimeLimits = USUAL,
        *,
        page: Page | None = None,
        last_word: LastWord | None = None,
    ) -> None:
        """`app` is what comes further in, `page` what people see who have followed a link.

        `last_word` sends what is refused here, which passes none of the layers further in.
        """
        self._app = app
        self._metrics = metrics
        self._page = page
        self._last_word = last_word
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._limits, self._page, self._last_word)
        await exchange.serve(self._app, self._metrics)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        limits: TimeLimits,
        page: Page | None,
        last_word: LastWord | None,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limits = limits
        self._page = page
        self._last_word = last_word
        self._began = time.perf_counter()
        self._status = 0
        self._received = 0
        self._limit: asyncio.Timeout | None = None
        self._last_moment = asyncio.get_running_loop().time() + limits.whole_body
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._request_id = _given_id(headers) or os.urandom(8).hex()
        self._length = _content_length(headers)
        self._longest = _longest(scope["path"])
        scope["visitnow.request_id"] = self._request_id
        scope["visitnow.arrived_at"] = datetime.now(UTC)

    async def serve(self, app: ASGIApp, metrics: Metrics) -> None:
        try:
            if self._length > self._longest:
                await self._refuse(VisitNowError(Code.TOO_LARGE))
            else:
                await self._run(app)
        finally:
            self._account(metrics)

    async def _run(self, app: ASGIApp) -> None:
        try:
            async with asyncio.timeout(self._limits.first_byte) as self._limit:
                await app(self._scope, self._bounded_receive, self._decorated_send)
        except TimeoutError:
            await self._refuse(VisitNowError(Code.UNAVAILABLE))
        except Exception as error:  # noqa: BLE001  the last place where an answer can still be given
            _log.error("request.failed", request_id=self._request_id, route=self._route, **failure(error))
            await self._refuse(VisitNowError(Code.INTERNAL))

    async def _refuse(self, error: VisitNowError) -> None:
        self._limit = None  # it is over, and must not be touched again
        if self._status == 0:
            self._scope["visitnow.code"] = error.code
            response = answer_of(Request(self._scope), error, self._page)
            send: Send = self._decorated_send
            if self._last_word is not None:
                send = await self._last_word(self._scope, send)
            await response(self._scope, self._receive, send)

    async def _bounded_receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._scope["visitnow.arrived_at"] = datetime.now(UTC)
            if self._limit is not None and self._longest > MAX_BODY_BYTES:
                again = asyncio.get_running_loop().time() + self._limits.first_byte
                self._limit.reschedule(min(again, self._last_moment))
            if self._received > self._longest:
                # The framework passes its own exception on where it would turn any other into a 400.
                raise HTTPException(413)
        return message

    async def _decorated_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            headers["X-Request-Id"] = self._request_id
            secure(headers)
            if self._limit is not None:
                self._limit.reschedule(None)
        async with asyncio.timeout(self._limits.stalled):
            await self._send(message)

    @property
    def _route(self) -> str:
        return str(getattr(self._scope.get("route"), "path", UNMATCHED))

    def _account(self, metrics: Metrics) -> None:
        seconds = time.perf_counter() - self._began
        method, route = self._scope["method"], self._route
        metrics.request(method if route != UNMATCHED else "_OTHER", route, self._status, seconds)
        _log.info(
            "request",
            request_id=self._request_id,
            method=method,
            route=route,
            status=self._status,
            code=self._scope.get("visitnow.code"),
            duration_ms=round(seconds * 1000, 1),
        )


def _longest(path: str) -> int:
    """How many bytes a request to that path may have."""
    if path in CODEC_PATHS:
        return MAX_CODEC_BYTES
    if _UPLOADS.fullmatch(path):
        return MAX_UPLOAD_BYTES
    return MAX_FORM_BYTES if _FORMS.fullmatch(path) else MAX_BODY_BYTES


def _given_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            return text if _REQUEST_ID.fullmatch(text) else None
    return None


def _content_length(headers: list[tuple[bytes, bytes]]) -> int:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def failure(error: BaseException) -> dict[str, str]:
    """What may be logged of an exception: its type and where it arose; its text may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    return {"error": type(error).__name__, "where": where}
