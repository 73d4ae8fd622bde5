"""Exports: everything that is held about oneself, or by one's practice, as one file."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from adapters.redis.limits import Limit as RateLimit
from api.files import File, file_responses, ranged
from api.guards import GUARD_CODES, PUBLIC, MayExportTenant, MayFetchTenantExport, OwnExport, OwnExportAnew
from api.problems import problem_responses
from api.records import optional_key
from api.routing import Router
from api.schemas.exports import ExportView
from api.services import Services, Wired
from models.errors import Code, VisitNowError
from models.exports import ExportKind
from models.identity import Principal

ASKED: Final = RateLimit("exports", hits=10, seconds=86_400)
"""One account's; how many are made at once has a limit of its own."""

_BEGUN: Final = problem_responses(*GUARD_CODES, Code.STEP_UP_REQUIRED, Code.RATE_LIMITED)
_ONE: Final = problem_responses(*GUARD_CODES, Code.NOT_FOUND)

Key = Annotated[str | None, Depends(optional_key)]
ExportId = Annotated[str, Path(max_length=100, description="`exp_` and 26 characters.")]

router = Router(prefix="/v1", tags=["privacy"])


@router.post("/me/exports", status_code=202, responses=_BEGUN)
async def begin_export(request: Request, caller: OwnExportAnew, key: Key, services: Wired) -> ExportView:
    """Ask for everything that is held about oneself; one who has asked already is told of that export.

    A message says when it is ready.
    """
    return await _begun(request, services, caller, ExportKind.SUBJECT, key)


@router.get("/me/exports/{export_id}", responses=_ONE)
async def own_export(export_id: ExportId, caller: OwnExport, services: Wired) -> ExportView:
    """How one's export stands, and where it may be fetched."""
    return await _shown(services, caller, ExportKind.SUBJECT, export_id)


@router.post("/tenant/exports", status_code=202, responses=_BEGUN)
async def begin_tenant_export(request: Request, caller: MayExportTenant, key: Key, services: Wired) -> ExportView:
    """Ask for everything that one's practice holds: its settings, its books, and its patients' records."""
    return await _begun(request, services, caller, ExportKind.TENANT, key)


@router.get("/tenant/exports/{export_id}", responses=_ONE)
async def tenant_export(export_id: ExportId, caller: MayFetchTenantExport, services: Wired) -> ExportView:
    """How the practice's export stands, and where it may be fetched."""
    return await _shown(services, caller, ExportKind.TENANT, export_id)


async def _begun(
    request: Request, services: Services, caller: Principal, kind: ExportKind, key: str | None
) -> ExportView:
    if (wait := await services.limiter.hit(ASKED, caller.subject)) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    export = await services.exporting.ask(request, caller, kind, key)
    return ExportView.of(export, services.exporting.link(caller, export))


async def _shown(services: Services, caller: Principal, kind: ExportKind, export_id: str) -> ExportView:
    export = await services.exporting.find(caller, kind, export_id)
    return ExportView.of(export, services.exporting.link(caller, export))


@router.get(
    "/exports/{export_id}/content",
    dependencies=[PUBLIC],
    response_class=StreamingResponse,
    responses=file_responses("application/zip"),
)
async def export_content(
    request: Request,
    export_id: ExportId,
    services: Wired,
    token: Annotated[str, Query(max_length=4096, description="What the link carries.")],
) -> Response:
    """The file, opened on its way; `Range` and `If-Range` work, so that a broken download is gone on with."""
    known = await services.exporting.linked(request, export_id, token)
    disposition = f'attachment; filename="visitnow-{known.requested_at:%Y-%m-%d}.zip"'
    file = File(known.size, str(known.sha256), "application/zip", disposition)
    answer = await ranged(request, file, lambda wanted: services.exporting.content(known, wanted))
    answer.headers["Cache-Control"] = "no-store"
    return answer
