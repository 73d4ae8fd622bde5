"""Legal holds: what a court, an authority or a claim forbids to erase."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Query, Request
from pydantic import Field

from api.guards import GUARD_CODES, MayManageHolds
from api.paging import Paging
from api.problems import problem_responses
from api.records import optional_key
from api.routing import Router
from api.schemas.holds import HoldPage, HoldView, PlaceHold
from api.services import Wired
from models.base import Id
from models.errors import Code, VisitNowError

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)

Key = Annotated[str | None, Depends(optional_key)]
HoldId = Annotated[str, Path(max_length=100, description="`hld_` and 26 characters.")]


router = Router(prefix="/v1/legal-holds", tags=["privacy"])


@router.post(
    "",
    status_code=201,
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.IDEMPOTENCY_KEY_REUSED, Code.STATE_CONFLICT),
)
async def place_hold(request: Request, caller: MayManageHolds, key: Key, body: PlaceHold, services: Wired) -> HoldView:
    """Forbid to erase something of a person; a deletion that would erase it waits until the hold ends."""
    about, why = (body.subject_id, body.retained_under), (body.reason, body.reference, body.until)
    return HoldView.of(await services.holding.place(request, caller, about, why, key))


class HoldFilters(Paging):
    """Whose holds are listed."""

    subject_id: Id | None = Field(default=None, description="A person; absent: everybody's.")


@router.get("", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def holds(
    request: Request, caller: MayManageHolds, services: Wired, wanted: Annotated[HoldFilters, Query()]
) -> HoldPage:
    """The holds that stand on a person and whom they answer for, or on anybody: those that end first."""
    about = wanted.subject_id
    try:
        page = await services.holding.standing(request, caller, about, wanted.limit, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    return HoldPage(items=[HoldView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.delete("/{hold_id}", status_code=204, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def lift_hold(request: Request, hold_id: HoldId, caller: MayManageHolds, services: Wired) -> None:
    """End one before its time."""
    await services.holding.lift(request, caller, hold_id)
