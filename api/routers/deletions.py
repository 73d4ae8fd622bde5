"""Being forgotten: asked for, confirmed with a code, taken back in time, certified."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Request, Response

from api.deletions import Wish
from api.guards import GUARD_CODES, OwnDeletion, OwnDeletions
from api.problems import problem_responses
from api.records import optional_key
from api.routing import Router
from api.schemas.deletions import (
    AskDeletion,
    CertificateView,
    ConfirmDeletion,
    DeletionAsked,
    DeletionPage,
    DeletionView,
)
from api.services import Wired
from models.errors import Code

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)

Key = Annotated[str | None, Depends(optional_key)]
DeletionId = Annotated[str, Path(max_length=100, description="`del_` and 26 characters.")]

router = Router(prefix="/v1/me/deletion-requests", tags=["privacy"])


@router.post(
    "",
    status_code=202,
    responses=problem_responses(
        *GUARD_CODES,
        *_BODY,
        Code.NOT_FOUND,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.STATE_CONFLICT,
        Code.RATE_LIMITED,
    ),
)
async def ask_deletion(
    request: Request, caller: OwnDeletions, key: Key, body: AskDeletion, services: Wired
) -> DeletionAsked:
    """Ask to be forgotten; a code goes to the account's phone, and nothing happens before it is given."""
    return DeletionAsked.of(await services.deletions.ask(request, caller, Wish(body.reason, body.dependant_id), key))


@router.get("", responses=problem_responses(*GUARD_CODES))
async def deletions(caller: OwnDeletions, services: Wired) -> DeletionPage:
    """One's requests, newest first."""
    return DeletionPage(items=[DeletionView.of(one) for one in await services.deletions.own(caller)])


@router.post(
    "/{deletion_id}/confirm",
    responses=problem_responses(
        *GUARD_CODES,
        *_BODY,
        Code.NOT_FOUND,
        Code.STATE_CONFLICT,
        Code.OTP_INVALID,
        Code.OTP_EXHAUSTED,
        Code.RATE_LIMITED,
    ),
)
async def confirm_deletion(
    request: Request, deletion_id: DeletionId, caller: OwnDeletions, body: ConfirmDeletion, services: Wired
) -> DeletionView:
    """Prove that it is oneself: from now on a sign-in serves only to take it back, until the grace is over."""
    return DeletionView.of(await services.deletions.confirm(request, caller, deletion_id, body.code))


@router.get("/{deletion_id}", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def deletion(deletion_id: DeletionId, caller: OwnDeletion, services: Wired) -> DeletionView:
    """How far it is; with the request's own token also when the account is gone."""
    return DeletionView.of(await services.deletions.one(caller, deletion_id))


@router.delete(
    "/{deletion_id}",
    status_code=204,
    responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND, Code.STATE_CONFLICT),
)
async def cancel_deletion(deletion_id: DeletionId, caller: OwnDeletion, services: Wired) -> None:
    """Take it back, as long as the grace lasts."""
    await services.deletions.cancel(caller, deletion_id)


@router.get(
    "/{deletion_id}/certificate",
    responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND, Code.STATE_CONFLICT),
)
async def deletion_certificate(
    deletion_id: DeletionId, caller: OwnDeletion, services: Wired, response: Response
) -> CertificateView:
    """What went and what stays until when, signed; to be downloaded."""
    certified = await services.deletions.certificate(caller, deletion_id)
    response.headers["Content-Disposition"] = f'attachment; filename="deletion-{deletion_id}.json"'
    return CertificateView.of(certified)
