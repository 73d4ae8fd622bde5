"""Problem answers (RFC 9457): every refusal of this API, from the one table of codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from models.errors import ERRORS, Code, FieldError, GatewayError, Retry, UnavailableError, VisitNowError

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:visitnow:problem:"
RETRY_AFTER_SECONDS: Final = 1
MAX_FIELD_ERRORS: Final = 50

_HTTP_CODES: Final = {
    400: Code.MALFORMED,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    503: Code.UNAVAILABLE,
}
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


Page = Callable[[Request, VisitNowError], Response | None]
"""What a person sees who has followed a link; None where a program asks."""


class FieldProblem(BaseModel):
    """What is wrong with one field; the value that was sent is never repeated."""

    field: str = Field(description="Dotted path of the field, or the name of the parameter or header.")
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details; `code` is stable and one of the published table."""

    type: str = Field(description="`urn:visitnow:problem:<code>`")
    title: str
    status: int
    detail: str
    code: Code
    instance: str = Field(description="`urn:visitnow:request:<id>`, the id of the X-Request-Id header.")
    errors: list[FieldProblem] | None = Field(default=None, description="With `invalid`: what is wrong where.")
    alternatives: list[datetime] | None = Field(
        default=None, description="With `slot_taken`: the next free starts of the same service, at most three."
    )


def problem_response(error: VisitNowError, request_id: str) -> Response:
    """The answer for an expected refusal."""
    kind = ERRORS[error.code]
    problem = Problem(
        type=TYPE_PREFIX + error.code,
        title=kind.title,
        status=kind.status,
        detail=error.detail,
        code=error.code,
        instance=f"urn:visitnow:request:{request_id}",
        errors=[FieldProblem(field=one.field, code=one.code, message=one.message) for one in error.errors] or None,
        alternatives=list(error.alternatives) if error.alternatives is not None else None,
    )
    return Response(problem.model_dump_json(exclude_none=True), kind.status, _headers(error), MEDIA_TYPE)


def _headers(error: VisitNowError) -> dict[str, str]:
    """What goes with a refusal, whatever it looks like."""
    kind, headers = ERRORS[error.code], {}
    retry_after = error.retry_after or (RETRY_AFTER_SECONDS if kind.retry is Retry.HELPS else None)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if kind.status == 401:  # noqa: PLR2004  RFC 9110: a 401 names the scheme
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def invalid(field: str, code: str, message: str) -> VisitNowError:
    """One field that a rule of ours refuses."""
    return VisitNowError(Code.INVALID, errors=[FieldError(field, code, message)])


def request_id_of(request: Request) -> str:
    """The id that the edge gave this request."""
    return str(request.scope["visitnow.request_id"])


def answer_of(request: Request, error: VisitNowError, page: Page | None) -> Response:
    """The page that a person sees in the place of a problem, or the problem; what goes with a refusal in both."""
    shown = None if page is None else page(request, error)
    response = shown or problem_response(error, request_id_of(request))
    response.headers.update(_headers(error))
    return response


def install(app: FastAPI, page: Page | None = None) -> None:
    """Answer every exception that is expected with a problem, or with the page that a person sees in its place.

    The edge answers those that are not expected, in the same way.
    """

    async def answer(request: Request, exception: Exception) -> Response:
        error, headers = refusal_of(exception, request.headers.get("content-type", ""))
        request.scope["visitnow.code"] = error.code
        response = answer_of(request, error, page)
        response.headers.update(headers)
        return response

    for kind in (VisitNowError, UnavailableError, GatewayError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def refusal_of(exception: Exception, content_type: str = "") -> tuple[VisitNowError, Mapping[str, str]]:
    """The refusal that an exception stands for, and headers that go with it."""
    match exception:
        case VisitNowError():
            return exception, {}
        case UnavailableError():
            return VisitNowError(Code.UNAVAILABLE), {}
        case GatewayError():
            return VisitNowError(Code.GATEWAY_UNAVAILABLE), {}
        case RequestValidationError():
            return _validation_refusal(exception, content_type), {}
        case HTTPException():
            code = _HTTP_CODES.get(exception.status_code, Code.INTERNAL)
            return VisitNowError(code), exception.headers or {}
        case _:
            return VisitNowError(Code.INTERNAL), {}


def _validation_refusal(exception: RequestValidationError, content_type: str) -> VisitNowError:
    problems: Sequence[Mapping[str, Any]] = exception.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return VisitNowError(Code.MALFORMED)
    unread = any(tuple(problem["loc"]) == ("body",) and problem["type"] != "missing" for problem in problems)
    if unread and not is_json(content_type):
        return VisitNowError(Code.UNSUPPORTED_MEDIA_TYPE)
    return VisitNowError(Code.INVALID, errors=[_field_error(problem) for problem in problems[:MAX_FIELD_ERRORS]])


def is_json(content_type: str) -> bool:
    """Whether the media type is JSON or built on it."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _field_error(problem: Mapping[str, Any]) -> FieldError:
    parts = [str(part) for part in problem["loc"]]
    name = ".".join(parts[1:] or parts)
    # A field that is not ours carries the client's own name, which may be anything.
    field = name if _FIELD_NAME.fullmatch(name) else "unknown"
    return FieldError(field, str(problem["type"]), str(problem["msg"]).removeprefix("Value error, "))


def problem_responses(*codes: Code, page: bool = False) -> dict[int | str, dict[str, Any]]:
    """What a route declares as `responses`: its codes by status; `page`: browsers get one."""
    by_status: dict[int | str, list[Code]] = {}
    for code in codes:
        by_status.setdefault(ERRORS[code].status, []).append(code)
    return {
        status: _declared(listed, page=page)
        for status, listed in sorted(by_status.items(), key=lambda item: int(item[0]))
    }


def _declared(codes: Sequence[Code], *, page: bool) -> dict[str, Any]:
    named = {"properties": {"code": {"enum": [code.value for code in codes]}}}
    content: dict[str, Any] = {MEDIA_TYPE: {"schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, named]}}}
    if page:
        content["text/html"] = {"schema": {"type": "string"}}
    return {
        "description": "; ".join(f"`{code.value}`: {ERRORS[code].title}" for code in codes),
        "content": content,
    }
