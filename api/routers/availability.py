"""What a practice publishes of its providers: doctors of themselves, staff of their clinics, admins of the tenant."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import Depends, Path, Query, Request, Response

from api.editing import EDIT_CODES, ETAG_HEADER, Replaces, put_etag
from api.guards import GUARD_CODES, MayPublish, MayReadHours
from api.paging import Paging
from api.problems import problem_responses
from api.publishing import leave_between
from api.records import optional_key
from api.routing import Router
from api.schemas.availability import (
    AvailabilityView,
    LeaveEntry,
    LeaveInput,
    LeavePage,
    LeaveView,
    ServiceInputs,
    ServiceList,
)
from api.services import Wired
from models.availability import Availability
from models.errors import Code, VisitNowError
from models.idempotency import body_hash
from models.identity import scope_of
from models.ids import keyed_leave_id, random_id
from models.publishing import Leave

router = Router(prefix="/v1", tags=["availability"])

_READ: Final = problem_responses(*GUARD_CODES, Code.NOT_FOUND)
_REPLACE: Final = problem_responses(
    *GUARD_CODES, Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.NOT_FOUND, *EDIT_CODES
)

OptionalKey = Annotated[str | None, Depends(optional_key)]
ProviderId = Annotated[str, Path(description="The provider.")]


@router.get("/providers/{provider_id}/services", responses={200: ETAG_HEADER, **_READ})
async def published_services(
    provider_id: ProviderId, caller: MayReadHours, services: Wired, response: Response
) -> ServiceList:
    """All services, as they were published."""
    found = await services.publisher.published(scope_of(caller), provider_id)
    put_etag(response, found.provider_version)
    return ServiceList.of(found.provider.services)


@router.put("/providers/{provider_id}/services", responses={200: ETAG_HEADER, **_REPLACE})
async def publish_services(
    *,
    request: Request,
    provider_id: ProviderId,
    caller: MayPublish,
    replaces: Replaces,
    body: ServiceInputs,
    services: Wired,
    response: Response,
) -> ServiceList:
    """Replace all services. Bookings stay as they are; those of services that are gone are named in the answer."""
    first = partial(services.audit.published, request, caller)
    now, affected = await services.publisher.publish_services(scope_of(caller), provider_id, body, replaces, first)
    put_etag(response, now.provider_version)
    return ServiceList.of(now.provider.services, affected)


@router.get("/providers/{provider_id}/availability", responses={200: ETAG_HEADER, **_READ})
async def published_availability(
    provider_id: ProviderId, caller: MayReadHours, services: Wired, response: Response
) -> AvailabilityView:
    """The hours, as they were published; ETag `"0"` where they never were."""
    found = await services.publisher.published(scope_of(caller), provider_id)
    put_etag(response, found.availability_version)
    return AvailabilityView.of(found.availability, found.timezone)


@router.put("/providers/{provider_id}/availability", responses={200: ETAG_HEADER, **_REPLACE})
async def publish_availability(
    *,
    request: Request,
    provider_id: ProviderId,
    caller: MayPublish,
    replaces: Replaces,
    body: Availability,
    services: Wired,
    response: Response,
) -> AvailabilityView:
    """Replace the hours. Bookings stay as they are; those that now lie outside are named in the answer."""
    first = partial(services.audit.published, request, caller)
    now, affected = await services.publisher.publish_availability(scope_of(caller), provider_id, body, replaces, first)
    put_etag(response, now.availability_version)
    return AvailabilityView.of(now.availability, now.timezone, affected)


@router.get(
    "/providers/{provider_id}/leaves", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND, Code.CURSOR_INVALID)
)
async def leaves(
    provider_id: ProviderId, caller: MayReadHours, services: Wired, wanted: Annotated[Paging, Query()]
) -> LeavePage:
    """Leaves, the latest first; those that were ended are left out."""
    try:
        published, page = await services.publisher.leaves(scope_of(caller), provider_id, wanted.limit, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    items = [LeaveEntry.of(leave, reason) for leave, reason in page.items]
    return LeavePage(items=items, next_cursor=page.next_cursor, timezone=published.timezone)


@router.post(
    "/providers/{provider_id}/leaves",
    status_code=202,
    responses=problem_responses(
        *GUARD_CODES,
        Code.MALFORMED,
        Code.TOO_LARGE,
        Code.UNSUPPORTED_MEDIA_TYPE,
        Code.NOT_FOUND,
        Code.IDEMPOTENCY_KEY_REUSED,
    ),
)
async def take_leave(
    *,
    request: Request,
    provider_id: ProviderId,
    caller: MayPublish,
    key: OptionalKey,
    body: LeaveInput,
    services: Wired,
) -> LeaveView:
    """Take leave: nothing new can be booked within it. Bookings stay as they are and are named in the answer."""
    scope = scope_of(caller)
    published = await services.publisher.published(scope, provider_id)
    start, end = leave_between(body.start, body.end, ZoneInfo(published.timezone))
    owner, secret = published.provider, services.settings.id_secret
    wanted = Leave(
        id=keyed_leave_id(secret, caller.tenant_id, caller.subject, provider_id, key) if key else random_id("lve"),
        tenant_id=owner.tenant_id,
        clinic_id=owner.clinic_id,
        provider_id=owner.id,
        practitioner_id=owner.practitioner_id,
        start=start,
        end=end,
        body_hash=body_hash(secret, body),
        created_at=datetime.now(UTC),
    )
    await services.audit.published(request, caller, owner)
    leave, affected = await services.publisher.take_leave(scope, wanted, body.reason)
    return LeaveView.of(leave, published.timezone, affected)


@router.delete("/leaves/{leave_id}", status_code=204, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def end_leave(
    request: Request,
    leave_id: Annotated[str, Path(description="The leave.")],
    caller: MayPublish,
    services: Wired,
) -> None:
    """End a leave: its blocked time is free again. Ending it twice changes nothing more."""
    await services.publisher.end_leave(scope_of(caller), leave_id, partial(services.audit.published, request, caller))
