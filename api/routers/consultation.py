"""The summary of a visit: written by its doctor, read by the patient and the treating clinic."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query, Request, Response
from pydantic import Field

from api.consulting import check_author
from api.editing import EDIT_CODES, ETAG_HEADER, Replaces, put_etag
from api.guards import GUARD_CODES, MayReadRecord, MayWriteSummary
from api.paging import Paging
from api.problems import problem_responses
from api.records import AppointmentId, check_id, found
from api.routing import Router
from api.schemas.consultation import SummaryInput, SummaryPage, SummaryView
from api.services import Wired
from models.base import Model
from models.compliance import AuditAction
from models.errors import Code, VisitNowError, not_found
from models.follow_up import follows
from models.identity import scope_of
from models.ids import reference

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_ONE: Final = (*GUARD_CODES, Code.NOT_FOUND)

router = Router(prefix="/v1/appointments/{appointment_id}", tags=["consultation"])


@router.put(
    "/summary",
    responses={200: ETAG_HEADER, **problem_responses(*_ONE, *_BODY, *EDIT_CODES, Code.STATE_CONFLICT)},
)
async def write_summary(
    *,
    request: Request,
    appointment_id: AppointmentId,
    caller: MayWriteSummary,
    replaces: Replaces,
    body: SummaryInput,
    services: Wired,
    response: Response,
) -> SummaryView:
    """Write the next version; `If-Match: "0"` says that there is none yet. Those before it stay as they are."""
    scope = scope_of(caller)
    appointment = await services.appointments.find(scope, check_id(appointment_id))
    if appointment is None:
        raise not_found()
    check_author(caller, appointment)
    # First the entry, as everywhere: what cannot be noted is not written.
    await services.audit.wrote(request, caller, AuditAction.SUMMARY_WRITTEN, appointment)
    version = await services.consulting.write(scope, caller, appointment, body.summary, body.told, replaces)
    put_etag(response, version.version)
    if follows(appointment.state):
        # Where the word is lost, the follow-up looks by itself within a day.
        told = services.gateway.follow_ups.look_again(appointment.tenant_id, appointment.id, appointment.subject_id)
        services.background.start(told)
    return SummaryView.of(version)


@router.get("/summary", responses={200: ETAG_HEADER, **problem_responses(*_ONE, Code.ERASED)})
async def summary(
    request: Request, appointment_id: AppointmentId, caller: MayReadRecord, services: Wired, response: Response
) -> SummaryView:
    """The version that stands."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    version = await services.consulting.newest(scope_of(caller), appointment)
    put_etag(response, version.version)
    return SummaryView.of(version)


@router.get("/summary/versions", responses=problem_responses(*_ONE, Code.CURSOR_INVALID, Code.ERASED))
async def summary_versions(
    request: Request,
    appointment_id: AppointmentId,
    caller: MayReadRecord,
    services: Wired,
    wanted: Annotated[Paging, Query()],
) -> SummaryPage:
    """Every version, the one that stands first."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    try:
        page = await services.consulting.versions(scope_of(caller), appointment, wanted.limit, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    return SummaryPage(items=[SummaryView.of(one) for one in page.items], next_cursor=page.next_cursor)


class _Wanted(Model):
    """Which version is printed."""

    version: int | None = Field(default=None, ge=1, lt=2**31, description="Absent: the one that stands.")


@router.get(
    "/prescription.pdf",
    response_class=Response,
    responses={
        200: {**ETAG_HEADER, "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}},
        **problem_responses(*_ONE, Code.ERASED),
    },
)
async def prescription(
    request: Request,
    appointment_id: AppointmentId,
    caller: MayReadRecord,
    services: Wired,
    wanted: Annotated[_Wanted, Query()],
) -> Response:
    """What was prescribed, for printing; a version's bytes are always the same."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    number, printed = await services.consulting.prescription(scope_of(caller), appointment, wanted.version)
    name = f"{reference(appointment.id)}-prescription-{number}.pdf"
    response = Response(
        printed, media_type="application/pdf", headers={"Content-Disposition": f'inline; filename="{name}"'}
    )
    put_etag(response, number)
    return response
