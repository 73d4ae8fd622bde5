"""Who one is, and whom one books for."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import Depends, Path, Request

from api.guards import GUARD_CODES, MayBookFor, OwnAccount
from api.problems import problem_responses
from api.records import optional_key
from api.routing import Router
from api.schemas.identity import (
    ChangeDependant,
    ChangeMe,
    DependantInput,
    DependantPage,
    DependantView,
    UserView,
)
from api.services import Wired
from models.errors import Code

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)

DependantId = Annotated[str, Path(max_length=100)]

router = Router(prefix="/v1/me", tags=["account"])


@router.get("", responses=problem_responses(*GUARD_CODES))
async def me(caller: OwnAccount, services: Wired) -> UserView:
    """Who one is."""
    return UserView.of(await services.profiles.own(caller))


@router.patch("", responses=problem_responses(*GUARD_CODES, *_BODY))
async def change_me(request: Request, body: ChangeMe, caller: OwnAccount, services: Wired) -> UserView:
    """Change name, e-mail (patients), language or time zone."""
    first = partial(services.audit.note, request, caller)
    return UserView.of(await services.profiles.change(caller, body.model_dump(exclude_none=True), first))


@router.get("/dependants", responses=problem_responses(*GUARD_CODES))
async def dependants(caller: MayBookFor, services: Wired) -> DependantPage:
    """Those one books for."""
    guardian = (await services.profiles.own(caller)).name
    return DependantPage(items=[DependantView.of(one, guardian) for one in await services.profiles.dependants(caller)])


@router.post(
    "/dependants",
    status_code=201,
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.IDEMPOTENCY_KEY_REUSED, Code.STATE_CONFLICT),
)
async def add_dependant(
    request: Request,
    body: DependantInput,
    caller: MayBookFor,
    key: Annotated[str | None, Depends(optional_key)],
    services: Wired,
) -> DependantView:
    """Add somebody one books for; a minor needs an account whose owner has a name."""
    first = partial(services.audit.note, request, caller)
    added, guardian = await services.profiles.add(caller, body.model_dump(), key, first)
    return DependantView.of(added, guardian)


@router.patch("/dependants/{dependant_id}", responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND))
async def change_dependant(
    request: Request, dependant_id: DependantId, body: ChangeDependant, caller: MayBookFor, services: Wired
) -> DependantView:
    """Correct what is known of somebody one books for."""
    first, fields = partial(services.audit.note, request, caller), body.model_dump(exclude_none=True)
    changed, guardian = await services.profiles.correct(caller, dependant_id, fields, first)
    return DependantView.of(changed, guardian)


@router.delete("/dependants/{dependant_id}", status_code=204, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def remove_dependant(request: Request, dependant_id: DependantId, caller: MayBookFor, services: Wired) -> None:
    """Book for somebody no longer; past bookings keep what was written into them."""
    await services.profiles.remove(caller, dependant_id, partial(services.audit.note, request, caller))
