"""Clinics, providers and their free times: what anybody may read."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from api.free_times import Question
from api.guards import PUBLIC
from api.paging import Paging
from api.problems import invalid, problem_responses
from api.schemas.providers import ClinicView, ProfileView, ProviderPage, ProviderView, SlotList
from api.schemas.values import Date
from api.services import Wired
from models.errors import Code, VisitNowError, not_found
from models.identity import Public
from models.providers import Listing, VisitMode

MAX_DAYS: Final = 31

router = APIRouter(prefix="/v1", tags=["providers"], dependencies=[PUBLIC])

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)] | None


@router.get("/clinics/by-slug/{slug}", responses=problem_responses(Code.NOT_FOUND, Code.INVALID, Code.UNAVAILABLE))
async def clinic_by_slug(slug: str, services: Wired) -> ClinicView:
    """The clinic of a subdomain."""
    clinic = await services.directory.clinic_by_slug(Public(), slug)
    if clinic is None:
        raise not_found()
    return ClinicView.of(clinic)


class ProviderFilters(Paging):
    """Which providers are listed."""

    q: Word = Field(default=None, description="Words of the name.")
    specialty: Word = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = Field(
        default=None, description="ISO 639 code."
    )
    city: Word = None
    mode: VisitMode | None = None
    fee_max: int | None = Field(default=None, ge=0, le=100_000_000, description="Paise.")
    gender: Literal["female", "male", "other"] | None = None

    @property
    def filters(self) -> dict[str, str | int]:
        """Those that were given."""
        return self.model_dump(exclude_none=True, exclude={"limit", "cursor"})


@router.get("/providers", responses=problem_responses(Code.CURSOR_INVALID, Code.INVALID, Code.UNAVAILABLE))
async def providers(services: Wired, wanted: Annotated[ProviderFilters, Query()]) -> ProviderPage:
    """Live providers, by name."""
    try:
        page = await services.directory.page(Public(), wanted.filters, wanted.limit, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    return ProviderPage(items=[ProviderView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/providers/{provider_id}", responses=problem_responses(Code.NOT_FOUND, Code.INVALID, Code.UNAVAILABLE))
async def profile(provider_id: str, services: Wired) -> ProfileView:
    """A provider's public profile."""
    offering = await services.free_times.offering(provider_id)
    return ProfileView.of(Listing(provider=offering.provider, clinic=offering.clinic))


@router.get(
    "/providers/{provider_id}/slots",
    response_model=SlotList,
    responses=problem_responses(Code.NOT_FOUND, Code.INVALID, Code.UNAVAILABLE),
)
async def free_times(
    provider_id: str,
    services: Wired,
    service_id: Annotated[str, Query(min_length=1, max_length=64)],
    first: Annotated[Date, Query(alias="from", description="First date, in the clinic's zone.")],
    last: Annotated[Date, Query(alias="to", description="Last date, inclusive; at most 31 days in all.")],
) -> Response:
    """The times that can be booked on these dates."""
    _refuse_long(first, last)
    body = await services.free_times.listed(Question(provider_id, service_id, first, last))
    return Response(body, media_type="application/json")


def _refuse_long(first: date, last: date) -> None:
    if last < first:
        raise invalid("to", "range_reversed", "must not come before `from`")
    if (last - first).days >= MAX_DAYS:
        raise invalid("to", "range_too_long", f"must leave at most {MAX_DAYS} days, both ends included")
