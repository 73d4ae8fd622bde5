"""A tenant's settings: what its admin may decide. A booking keeps those that it was made under."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query, Request, Response

from api.editing import EDIT_CODES, ETAG_HEADER, Replaces, put_etag
from api.guards import GUARD_CODES, MayManageSettings
from api.paging import Paging
from api.problems import invalid, problem_responses
from api.routing import Router
from api.schemas.tenancy import SettingsVersionPage, SettingsVersionView
from api.services import Services, Wired
from models.cursor import decode_cursor, encode_cursor
from models.errors import Code, VisitNowError
from models.identity import Principal, Tenant
from models.tenancy import FIRST_VERSION, SettingsVersion, TenantSettings

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_DEVELOPMENT_ONLY: Final = (
    "reminder_lead_seconds",
    "absence_choice_seconds",
    "deletion_grace_seconds",
    "retention_seconds",
    "feedback_after_seconds",
    "revisit_after_seconds",
    "export_kept_seconds",
)

router = Router(prefix="/v1/tenant/settings", tags=["tenancy"])


@router.get("", responses={200: ETAG_HEADER, **problem_responses(*GUARD_CODES, Code.NOT_FOUND)})
async def settings(caller: MayManageSettings, services: Wired, response: Response) -> TenantSettings:
    """The tenant's settings, defaults included."""
    found = await _settings(services, caller)
    put_etag(response, found.version)
    return found.settings


@router.put("", responses={200: ETAG_HEADER, **problem_responses(*GUARD_CODES, *_BODY, *EDIT_CODES, Code.NOT_FOUND)})
async def put_settings(
    request: Request,
    caller: MayManageSettings,
    replaces: Replaces,
    body: TenantSettings,
    services: Wired,
    response: Response,
) -> TenantSettings:
    """Replace the settings; what is left out has its default again. Bookings that exist keep theirs."""
    if not services.settings.is_development:
        _refuse_development_values(body)
    if (await _settings(services, caller)).version != replaces:
        raise VisitNowError(Code.STALE)
    entry = services.audit.of(request, caller, f"settings:{replaces + 1}")
    replaced = await services.tenancy.replace_settings(
        Tenant(caller.tenant_id), caller.tenant_id, body, replaces=replaces, entry=entry
    )
    put_etag(response, replaced.version)
    return replaced.settings


@router.get("/versions", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND, Code.CURSOR_INVALID))
async def settings_versions(
    caller: MayManageSettings, services: Wired, wanted: Annotated[Paging, Query()]
) -> SettingsVersionPage:
    """Every version of the settings, the present one first: what held when, and who had set it."""
    try:
        before = decode_cursor(wanted.cursor, int)[0] if wanted.cursor is not None else None
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    current = await _settings(services, caller)
    found = [current] if before is None else []
    if len(found) < wanted.limit:
        found += await services.tenancy.settings_versions(
            Tenant(caller.tenant_id), caller.tenant_id, before or current.version, wanted.limit - len(found)
        )
    return SettingsVersionPage(items=[SettingsVersionView.of(one) for one in found], next_cursor=_cursor(found, wanted))


def _cursor(found: list[SettingsVersion], wanted: Paging) -> str | None:
    if len(found) < wanted.limit or found[-1].version == FIRST_VERSION:
        return None
    return encode_cursor(found[-1].version)


async def _settings(services: Services, caller: Principal) -> SettingsVersion:
    return await services.tenancy.settings(Tenant(caller.tenant_id), caller.tenant_id)


def _refuse_development_values(body: TenantSettings) -> None:
    for name in _DEVELOPMENT_ONLY:
        if getattr(body, name) is not None:
            raise invalid(name, "development_only", "is for development only")
    for name, days in body.retention_days.too_short().items():
        raise invalid(f"retention_days.{name}", "too_short", f"the law asks for at least {days} days")
