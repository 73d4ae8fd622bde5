"""Files over HTTP: whole, or the one range that is asked for (RFC 9110, sections 13 and 14), never all in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.problems import problem_response, problem_responses, request_id_of
from models.byte_ranges import ByteRange, UnsatisfiableRangeError, wanted_range
from models.documents_ports import DamagedError
from models.errors import Code, VisitNowError

CODES: Final = (
    Code.INVALID, Code.TOKEN_INVALID, Code.NOT_FOUND, Code.ERASED, Code.RANGE_NOT_SATISFIABLE, Code.DAMAGED,
    Code.UNAVAILABLE,
)  # fmt: skip
"""What fetching a file by its link may be refused with."""


class File(NamedTuple):
    """What is sent: `tag` changes with the bytes, `disposition` says under which name a browser keeps them."""

    size: int
    tag: str
    media_type: str
    disposition: str


def file_responses(media_type: str, *, page: bool = False) -> dict[int | str, dict[str, Any]]:
    """The documented answers; with `page`, a browser is told of a refusal by a page."""
    content = {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
    return {
        200: content,
        206: {"description": "The bytes that `Range` asks for.", **content},
        **problem_responses(*CODES, page=page),
    }


async def ranged(
    request: Request, file: File, content: Callable[[ByteRange], Awaitable[AsyncIterator[bytes]]]
) -> Response:
    """Send it, or what is asked of it, so that a broken download is gone on with."""
    tag = f'"{file.tag}"'
    asked = request.headers.get("range")
    if request.headers.get("if-range", tag) != tag:
        asked = None
    try:
        wanted = wanted_range(asked, file.size)
    except UnsatisfiableRangeError:
        refusal = problem_response(VisitNowError(Code.RANGE_NOT_SATISFIABLE), request_id_of(request))
        refusal.headers["Content-Range"] = f"bytes */{file.size}"
        return refusal
    sent = wanted or ByteRange(0, file.size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": file.disposition,
        "Content-Length": str(sent.end - sent.begin),
        "ETag": tag,
    }
    if wanted is not None:
        headers["Content-Range"] = wanted.content_range(file.size)
    return StreamingResponse(await content(sent), 200 if wanted is None else 206, headers, file.media_type)


async def opened(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, the first of them read already. Raises `damaged` and `unavailable` before anything is sent."""
    try:
        first = await anext(pieces)
    except DamagedError as error:
        raise VisitNowError(Code.DAMAGED) from error
    return _with(first, pieces)


async def _with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
