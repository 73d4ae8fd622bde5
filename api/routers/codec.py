"""The codec server: lets the Temporal UI and CLI show encrypted payloads in clear (Temporal's remote codecs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payload, Payloads

from api.codec import LASTING, PATH, SIGN_IN_PATH, is_own_form
from api.guards import PUBLIC, MayReadPayloads
from api.problems import problem_responses
from api.routing import Router
from api.services import Wired
from api.sign_in import Typed
from models.addresses import MAX_EMAIL, normal_email
from models.credentials import MAX_PASSWORD
from models.errors import Code, VisitNowError

MAX_DEPTH: Final = 20
MAX_CODE: Final = 32

_CODES: Final = (
    Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_EXPIRED, Code.FORBIDDEN, Code.STEP_UP_REQUIRED, Code.MALFORMED,
    Code.INVALID, Code.TOO_LARGE, Code.UNAVAILABLE,
)  # fmt: skip
_PAYLOADS: Final = {
    "type": "object",
    "description": "`temporal.api.common.v1.Payloads` as protobuf's JSON.",
    "properties": {"payloads": {"type": "array", "items": {"type": "object"}}},
}
_DOCUMENTED: Final = {"requestBody": {"required": True, "content": {"application/json": {"schema": _PAYLOADS}}}}
_ANSWERS: Final = {200: {"content": {"application/json": {"schema": _PAYLOADS}}}, **problem_responses(*_CODES)}

router = Router(prefix=PATH, tags=["codec"])


@router.post("/encode", response_class=Response, responses=_ANSWERS, openapi_extra=_DOCUMENTED)
async def encode(request: Request, writer: MayReadPayloads, services: Wired) -> Response:
    """Encrypt payloads, for what an operator sends by hand."""
    return _answer(await services.codec_desk.encode(request, writer, await _sent(request)))


@router.post("/decode", response_class=Response, responses=_ANSWERS, openapi_extra=_DOCUMENTED)
async def decode(request: Request, reader: MayReadPayloads, services: Wired) -> Response:
    """Decrypt payloads, for what an operator reads; each look is in the audit."""
    return _answer(await services.codec_desk.decode(request, reader, await _sent(request)))


async def _sent(request: Request) -> Sequence[Payload]:
    try:
        return Parse(await request.body(), Payloads(), max_recursion_depth=MAX_DEPTH).payloads
    except (ParseError, UnicodeDecodeError) as error:
        raise VisitNowError(Code.MALFORMED) from error


def _answer(payloads: Sequence[Payload]) -> Response:
    return Response(MessageToJson(Payloads(payloads=payloads)), media_type="application/json")


@router.get("/sign-in", dependencies=[PUBLIC], include_in_schema=False)
async def sign_in_page(request: Request, services: Wired) -> HTMLResponse:
    """A form, or the way out for whoever has signed in."""
    desk = services.codec_desk
    try:
        await desk.signed_in(request)
    except VisitNowError:
        return services.codec_page.answer(signed_in=False, totp_needed=desk.needs_totp)
    return services.codec_page.answer(signed_in=True, totp_needed=desk.needs_totp)


@router.post("/sign-in", dependencies=[PUBLIC], include_in_schema=False)
async def sign_in(
    request: Request,
    services: Wired,
    email: Annotated[str, Form(max_length=MAX_EMAIL)],
    password: Annotated[str, Form(max_length=MAX_PASSWORD)],
    totp: Annotated[str, Form(max_length=MAX_CODE)] = "",
) -> Response:
    """Let an operator's browser read payloads for an hour."""
    desk = services.codec_desk
    try:
        token = await desk.sign_in(request, _typed(request, email, password, totp))
    except VisitNowError as problem:
        request.scope["visitnow.code"] = problem.code
        return services.codec_page.answer(signed_in=False, totp_needed=desk.needs_totp, problem=problem)
    answer = RedirectResponse(SIGN_IN_PATH, status_code=303)
    answer.set_cookie(
        desk.cookie,
        token,
        max_age=int(LASTING.total_seconds()),
        path=PATH,
        secure=desk.is_secure,
        httponly=True,
        samesite="strict",
    )
    return answer


def _typed(request: Request, email: str, password: str, totp: str) -> Typed:
    """What stands in the form. Raises `forbidden`, `credentials_invalid`."""
    if not is_own_form(request):
        raise VisitNowError(Code.FORBIDDEN)
    try:
        return Typed(normal_email(email.strip()), password, totp.strip() or None)
    except ValueError as error:
        raise VisitNowError(Code.CREDENTIALS_INVALID) from error


@router.post("/sign-out", dependencies=[PUBLIC], include_in_schema=False)
async def sign_out(request: Request, services: Wired) -> Response:
    """End it before its time."""
    if not is_own_form(request):
        raise VisitNowError(Code.FORBIDDEN)
    desk = services.codec_desk
    await desk.sign_out(request)
    answer = RedirectResponse(SIGN_IN_PATH, status_code=303)
    answer.delete_cookie(desk.cookie, path=PATH, secure=desk.is_secure, httponly=True, samesite="strict")
    return answer
