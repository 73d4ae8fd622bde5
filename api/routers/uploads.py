"""Large files in pieces, by the tus protocol 1.0.0 (core, creation, expiration and termination)."""

from __future__ import annotations

from email.utils import format_datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Path, Request, Response

from adapters.redis.limits import Limit as RateLimit
from api.guards import GUARD_CODES, MayAddDocument, preflight
from api.problems import invalid, problem_responses
from api.routing import Router
from api.services import Wired
from models.documents import Upload
from models.errors import Code, VisitNowError
from models.files import MAX_UPLOAD_BYTES

VERSION: Final = "1.0.0"
UPLOADS: Final = RateLimit("uploads", hits=60, seconds=3600)
PIECES_TYPE: Final = "application/offset+octet-stream"

_EXTENSIONS: Final = "creation,expiration,termination"
_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_ONE: Final = (*GUARD_CODES, Code.NOT_FOUND, Code.UPLOAD_VERSION)
_CAPABILITIES: Final = {
    "Tus-Resumable": VERSION,
    "Tus-Version": VERSION,
    "Tus-Extension": _EXTENSIONS,
    "Tus-Max-Size": str(MAX_UPLOAD_BYTES),
}
_BINARY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {PIECES_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_DIGITS: Final = 18

UploadId = Annotated[str, Path(max_length=100, description="`upl_` and 26 characters.")]
Resumable = Annotated[str | None, Header(alias="Tus-Resumable", description="Required: `1.0.0`.")]

router = Router(prefix="/v1/uploads", tags=["documents"])


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_OFFSET_HEADERS: Final = {"Upload-Offset": _header("How many bytes have arrived."), "Tus-Resumable": _header(VERSION)}


@router.options("", dependencies=[Depends(preflight)], status_code=204, include_in_schema=False)
async def upload_options(response: Response) -> None:
    """What of the protocol is spoken here."""
    response.headers.update(_CAPABILITIES)


@router.post(
    "",
    status_code=201,
    response_class=Response,
    responses={
        201: {"headers": {"Location": _header("The upload."), "Upload-Expires": _header("When it is given up.")}},
        **problem_responses(*GUARD_CODES, Code.UPLOAD_VERSION, Code.TOO_LARGE, Code.RATE_LIMITED),
    },
)
async def begin_upload(
    caller: MayAddDocument,
    services: Wired,
    resumable: Resumable = None,
    length: Annotated[str | None, Header(alias="Upload-Length", description="Required: bytes in all.")] = None,
    metadata: Annotated[
        str | None, Header(alias="Upload-Metadata", description="`filename` and its value in base64.")
    ] = None,
) -> Response:
    """Begin to send a file of at most 50 MiB; whoever is broken off asks `HEAD` and goes on with `PATCH`."""
    _speaks(resumable)
    if (wait := await services.limiter.hit(UPLOADS, caller.subject)) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    upload = await services.receiving.begin(caller, _number("Upload-Length", length, least=1), metadata)
    headers = {**_state(upload), "Location": f"/v1/uploads/{upload.id}"}
    return Response(status_code=201, headers=headers)


@router.head("/{upload_id}", include_in_schema=False)
async def upload_state(
    upload_id: UploadId, caller: MayAddDocument, services: Wired, resumable: Resumable = None
) -> Response:
    """How far it has come."""
    upload = await services.receiving.find(caller, upload_id)
    _speaks(resumable)
    return Response(status_code=200, headers={**_state(upload), "Upload-Length": str(upload.length)})


@router.patch(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    responses={204: {"headers": _OFFSET_HEADERS}, **problem_responses(*_ONE, *_BODY, Code.STATE_CONFLICT)},
    openapi_extra=_BINARY,
)
async def send_piece(
    request: Request,
    upload_id: UploadId,
    caller: MayAddDocument,
    services: Wired,
    resumable: Resumable = None,
    offset: Annotated[str | None, Header(alias="Upload-Offset", description="Required: where the bytes begin.")] = None,
) -> Response:
    """Send the bytes from `Upload-Offset` on; whatever arrives is kept, however the request ends."""
    upload = await services.receiving.find(caller, upload_id)
    _speaks(resumable)
    if request.headers.get("content-type", "").strip().lower() != PIECES_TYPE:
        raise VisitNowError(Code.UNSUPPORTED_MEDIA_TYPE)
    begin = _number("Upload-Offset", offset, least=0)
    reached = await services.receiving.receive(upload, begin, request.stream())
    return Response(status_code=204, headers=_state(upload.model_copy(update={"offset": reached})))


@router.delete("/{upload_id}", status_code=204, response_class=Response, responses=problem_responses(*_ONE))
async def end_upload(
    upload_id: UploadId, caller: MayAddDocument, services: Wired, resumable: Resumable = None
) -> Response:
    """Give it up; what has arrived is removed."""
    upload = await services.receiving.find(caller, upload_id)
    _speaks(resumable)
    await services.receiving.end(upload)
    return Response(status_code=204, headers={"Tus-Resumable": VERSION})


def _state(upload: Upload) -> dict[str, str]:
    return {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }


def _speaks(resumable: str | None) -> None:
    if resumable != VERSION:
        raise VisitNowError(Code.UPLOAD_VERSION)


def _number(name: str, text: str | None, *, least: int) -> int:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > _DIGITS or int(text) < least:
        raise invalid(name, "int_parsing", f"must be a whole number, {least} or more")
    return int(text)
