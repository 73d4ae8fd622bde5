"""The audit: for patients who has read their record, for admins all that happened at their tenant."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Query, Request
from pydantic import Field

from api.guards import GUARD_CODES, MayReadAudit, OwnAccessLog
from api.paging import Paging
from api.problems import invalid, problem_responses
from api.routing import Router
from api.schemas.compliance import AuditEntryView, AuditPage, LookPage, LookView
from api.schemas.values import Bound, begin_of, end_of
from api.services import Services, Wired
from models.base import Id
from models.booking import Appointment
from models.compliance import AuditQuery, NotedEntry
from models.errors import Code, VisitNowError
from models.identity import Principal, Subject, System, Tenant
from models.ports import Page
from models.providers import Clinic

router = Router(prefix="/v1", tags=["privacy"])

_NAMES = System("whoever's record was read learns at which clinic")
_LAST_SECOND = 2**32 - 1


@router.get("/me/access-log", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def access_log(caller: OwnAccessLog, services: Wired, wanted: Annotated[Paging, Query()]) -> LookPage:
    """Who else has read one's record, newest first."""
    try:
        page = await services.trail.looks(Subject(caller.subject), caller.subject, wanted.limit, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    visits, clinics = await _visits(services, caller, page)
    items = []
    for one in page.items:
        visit = visits.get(one.target)
        items.append(LookView.of(one, visit, None if visit is None else clinics.get(visit.clinic_id)))
    return LookPage(items=items, next_cursor=page.next_cursor)


async def _visits(
    services: Services, caller: Principal, page: Page[NotedEntry]
) -> tuple[dict[str, Appointment], dict[str, Clinic]]:
    scope = Subject(caller.subject)
    wanted = sorted({one.target for one in page.items})
    found = await asyncio.gather(*(services.appointments.find(scope, one, open_sealed=False) for one in wanted))
    visits = {one.id: one for one in found if one is not None}
    return visits, await services.directory.clinics(_NAMES, sorted({one.clinic_id for one in visits.values()}))


class AuditFilters(Paging):
    """Which entries are listed."""

    actor: Id | None = Field(default=None, description="Whose acts.")
    action: Annotated[str, Field(max_length=60)] | None = Field(default=None, description="`record.read`, …")
    target: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="What it was done to.")
    patient_id: Id | None = Field(default=None, description="Whose record it was about.")
    noted_from: Bound | None = Field(default=None, alias="from", description="Noted at or after.")
    noted_to: Bound | None = Field(default=None, alias="to", description="Noted before; a date includes its day.")

    @property
    def query(self) -> AuditQuery:
        """What the trail is asked. Raises `invalid`."""
        return AuditQuery(
            actor=self.actor,
            action=self.action,
            target=self.target,
            subject_id=self.patient_id,
            noted_from=None if self.noted_from is None else _seconds("from", begin_of(self.noted_from).timestamp()),
            noted_to=None if self.noted_to is None else _end(self.noted_to),
            limit=self.limit,
        )


@router.get("/audit", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def audit(
    request: Request, caller: MayReadAudit, services: Wired, wanted: Annotated[AuditFilters, Query()]
) -> AuditPage:
    """What happened at one's own tenant, newest first; looking it up is noted too."""
    query = wanted.query
    try:
        page = await services.trail.page(Tenant(caller.tenant_id), query, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    await services.audit.looked_up(request, caller)
    return AuditPage(items=[AuditEntryView.of(one) for one in page.items], next_cursor=page.next_cursor)


def _end(bound: Bound) -> int:
    try:
        return _seconds("to", end_of(bound).timestamp())
    except ValueError as error:
        raise invalid("to", "out_of_range", "must lie within the calendar") from error


def _seconds(field: str, at: float) -> int:
    if not 0 <= at <= _LAST_SECOND:
        raise invalid(field, "out_of_range", "must lie between 1970 and 2106")
    return int(at)
