"""What two people may edit: the version that was loaded goes out as ETag and comes back as If-Match."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Response

from models.errors import Code, VisitNowError

_TAG: Final = re.compile(r'"([0-9]{1,18})"')

ETAG_HEADER: Final[dict[str, Any]] = {
    "headers": {"ETag": {"description": "Send it back as If-Match.", "schema": {"type": "string"}}}
}
"""What a route declares beside the 200 of what can be edited."""

EDIT_CODES: Final = (Code.STALE, Code.IF_MATCH_REQUIRED)
"""What every route that replaces something may answer beside its own."""


async def if_match(
    tag: Annotated[
        str | None, Header(alias="If-Match", description="Required: the ETag of what is to be replaced.")
    ] = None,
    unseen: Annotated[
        str | None, Header(alias="If-None-Match", description="`*` in its place, for what is not there yet.")
    ] = None,
) -> int:
    """The version that the caller has seen, 0 for none yet.

    Raises `if_match_required`, and `stale` for a tag that is none of ours.
    """
    if tag is None and unseen is not None and unseen.strip() == "*":
        return 0
    if tag is None:
        raise VisitNowError(Code.IF_MATCH_REQUIRED)
    found = _TAG.fullmatch(tag.strip())
    if found is None:
        raise VisitNowError(Code.STALE)
    return int(found.group(1))


Replaces = Annotated[int, Depends(if_match)]
"""The version that a request replaces, as a route's argument."""


def put_etag(response: Response, version: int) -> None:
    """Say which version this is."""
    response.headers["ETag"] = f'"{version}"'
