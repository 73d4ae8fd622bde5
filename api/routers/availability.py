"""What a practice publishes of its providers: doctors of themselves, staff of their clinics, admins of the tenant."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from api.editing import EDIT_CODES, ETAG_HEADER, Replaces, put_etag
from api.guards import GUARD_CODES, MayPublish, MayReadHours
from api.problems import problem_responses
from api.schemas.availability import AvailabilityView, ServiceInputs, ServiceList
from api.services import Wired
from models.availability import Availability
from models.errors import Code
from models.identity import scope_of

router = APIRouter(prefix="/v1", tags=["availability"])

_READ: Final = problem_responses(*GUARD_CODES, Code.NOT_FOUND)
_REPLACE: Final = problem_responses(
    *GUARD_CODES, Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.NOT_FOUND, *EDIT_CODES
)

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
    now, affected = await services.publisher.publish_services(scope_of(caller), provider_id, body, replaces)
    await services.audit.published(request, caller, now.provider)
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
    now, affected = await services.publisher.publish_availability(scope_of(caller), provider_id, body, replaces)
    await services.audit.published(request, caller, now.provider)
    put_etag(response, now.availability_version)
    return AvailabilityView.of(now.availability, now.timezone, affected)
