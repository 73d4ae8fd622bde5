"""The codec server: lets the Temporal UI and CLI show encrypted payloads in clear (Temporal's remote codecs)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payload, Payloads

from adapters.temporal.codec import CodecError
from api.guards import MayUseCodec, preflight, ui_origins
from api.problems import invalid, problem_responses
from api.services import Services, Wired
from models.errors import Code, VisitNowError

MAX_DEPTH: Final = 20

_CODES: Final = (
    Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_EXPIRED, Code.FORBIDDEN, Code.MALFORMED, Code.INVALID,
    Code.TOO_LARGE,
)  # fmt: skip
_PAYLOADS: Final = {
    "type": "object",
    "description": "`temporal.api.common.v1.Payloads` as protobuf's JSON.",
    "properties": {"payloads": {"type": "array", "items": {"type": "object"}}},
}
_DOCUMENTED: Final = {"requestBody": {"required": True, "content": {"application/json": {"schema": _PAYLOADS}}}}
_ANSWERS: Final = {200: {"content": {"application/json": {"schema": _PAYLOADS}}}, **problem_responses(*_CODES)}

router = APIRouter(prefix="/codec", tags=["codec"])
GUARD: Final = Depends(MayUseCodec())


def _cors(request: Request, services: Services) -> dict[str, str]:
    """Headers for the UI's origin and no other; never a reflected one."""
    origin = request.headers.get("origin", "")
    headers = {"Vary": "Origin"}
    if origin in ui_origins(services.settings):
        headers["Access-Control-Allow-Origin"] = origin
    return headers


@router.post("/encode", dependencies=[GUARD], response_class=Response, responses=_ANSWERS, openapi_extra=_DOCUMENTED)
async def encode(request: Request, services: Wired) -> Response:
    """Encrypt payloads, for what an operator sends by hand."""
    return await _converted(request, services, services.codec.encode)


@router.post("/decode", dependencies=[GUARD], response_class=Response, responses=_ANSWERS, openapi_extra=_DOCUMENTED)
async def decode(request: Request, services: Wired) -> Response:
    """Decrypt payloads, for what an operator reads."""
    return await _converted(request, services, services.codec.decode)


async def _converted(
    request: Request, services: Services, convert: Callable[[Sequence[Payload]], Awaitable[list[Payload]]]
) -> Response:
    try:
        payloads = Parse(await request.body(), Payloads(), max_recursion_depth=MAX_DEPTH)
    except (ParseError, UnicodeDecodeError) as error:
        raise VisitNowError(Code.MALFORMED) from error
    try:
        converted = await convert(payloads.payloads)
    except CodecError as error:
        raise invalid("payloads", "undecodable", "a payload does not open with any of our keys") from error
    return Response(
        MessageToJson(Payloads(payloads=converted)), media_type="application/json", headers=_cors(request, services)
    )


@router.options("/encode", dependencies=[Depends(preflight)], include_in_schema=False)
@router.options("/decode", dependencies=[Depends(preflight)], include_in_schema=False)
async def allowed(request: Request, services: Wired) -> Response:
    """Tell a browser whether its page may use the codec server."""
    headers = _cors(request, services)
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Allow-Methods"] = "POST"
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Namespace"
        headers["Access-Control-Max-Age"] = "600"
    return Response(status_code=204, headers=headers)
