"""Who works at a clinic: invitations, the list, and taking somebody off it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Request

from api.guards import GUARD_CODES, PUBLIC, MayManageStaff, MayReadStaff
from api.new_passwords import new_password
from api.problems import problem_responses
from api.records import optional_key
from api.routing import Router
from api.schemas.identity import AcceptInvite, InviteStaff, InviteView, StaffPage, StaffView, TokenSet
from api.services import Wired
from api.staff import Asked
from api.token_sets import token_set
from models.errors import Code

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)

ClinicId = Annotated[str, Path(max_length=100)]
UserId = Annotated[str, Path(max_length=100)]

router = Router(prefix="/v1", tags=["staff"])


@router.post(
    "/clinics/{clinic_id}/invites",
    status_code=201,
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.IDEMPOTENCY_KEY_REUSED),
)
async def invite_staff(
    request: Request,
    clinic_id: ClinicId,
    body: InviteStaff,
    caller: MayManageStaff,
    key: Annotated[str | None, Depends(optional_key)],
    services: Wired,
) -> InviteView:
    """Offer somebody a place; the link goes to that address only, and is good once within seven days."""
    asked = Asked(body.email, body.role, body.provider_id)
    invitation = await services.staff.invite(request, caller, clinic_id, asked, key)
    return InviteView(id=invitation.id, expires_at=invitation.expires_at)


@router.post(
    "/invites/accept",
    dependencies=[PUBLIC],
    responses=problem_responses(
        *_BODY, Code.INVALID, Code.INVITE_SPENT, Code.ACCOUNT_EXISTS, Code.RATE_LIMITED, Code.UNAVAILABLE
    ),
)
async def accept_invite(request: Request, body: AcceptInvite, services: Wired) -> TokenSet:
    """Join with the link's token; of many who try at once, one does."""
    password = new_password(body.password)
    return token_set(await services.staff.accept(request, body.token, body.name, password))


@router.get("/clinics/{clinic_id}/staff", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def staff(clinic_id: ClinicId, caller: MayReadStaff, services: Wired) -> StaffPage:
    """Everybody who works at the clinic, the tenant's admins included."""
    return StaffPage(
        items=[
            StaffView(
                id=one.id,
                name=one.name,
                email=one.email,
                roles=sorted(one.roles),
                clinic_ids=sorted(one.clinic_ids),
                provider_id=one.provider_id,
            )
            for one in await services.staff.team(caller, clinic_id)
        ]
    )


@router.delete(
    "/clinics/{clinic_id}/staff/{user_id}",
    status_code=204,
    responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND, Code.STATE_CONFLICT),
)
async def remove_staff(
    request: Request, clinic_id: ClinicId, user_id: UserId, caller: MayManageStaff, services: Wired
) -> None:
    """Take somebody off the clinic; their sessions end within seconds."""
    await services.staff.remove(request, caller, clinic_id, user_id)
