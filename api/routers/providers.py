"""Clinics, providers and their free times: what anybody may read."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal

from fastapi import Query, Response
from pydantic import Field, StringConstraints

from api.free_times import Question
from api.guards import PUBLIC
from api.paging import Paging
from api.problems import invalid, problem_responses
from api.routing import Router
from api.schemas.providers import ClinicView, ProfileView, ProviderPage, SlotList
from api.schemas.values import Date
from api.services import Wired
from models.errors import Code, VisitNowError, not_found
from models.identity import Public
from models.providers import Listing, Location, VisitMode
from models.search import SearchQuery, Sort

MAX_DAYS: Final = 31

router = Router(prefix="/v1", tags=["providers"], dependencies=[PUBLIC])

_POINT: Final = r"^-?[0-9]{1,3}(\.[0-9]{1,10})?,-?[0-9]{1,3}(\.[0-9]{1,10})?$"

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)] | None


@router.get("/clinics/by-slug/{slug}", responses=problem_responses(Code.NOT_FOUND, Code.INVALID, Code.UNAVAILABLE))
async def clinic_by_slug(slug: str, services: Wired) -> ClinicView:
    """The clinic of a subdomain."""
    clinic = await services.directory.clinic_by_slug(Public(), slug)
    if clinic is None:
        raise not_found()
    return ClinicView.of(clinic)


class ProviderFilters(Paging):
    """Which providers are listed, and in which order."""

    q: Word = Field(default=None, description="Words of a name, a specialty or a symptom, by their sound.")
    specialty: Word = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = Field(
        default=None, description="ISO 639 code."
    )
    city: Word = None
    near: Annotated[str, StringConstraints(pattern=_POINT)] | None = Field(
        default=None, description="`latitude,longitude` in degrees (WGS 84)."
    )
    radius_km: float | None = Field(default=None, gt=0, le=200, description="Around `near`; 25 if absent.")
    mode: VisitMode | None = None
    fee_max: int | None = Field(default=None, ge=0, le=100_000_000, description="Paise.")
    gender: Literal["female", "male", "other"] | None = None
    available_on: Date | None = Field(
        default=None, description="With a free time on that date of the clinic's zone, within the next 30 days."
    )
    sort: Sort = Field(default=Sort.NEXT_AVAILABLE, description="`distance` needs `near`.")

    @property
    def query(self) -> SearchQuery:
        """What the search is asked. Raises `invalid`."""
        if self.near is None and (self.sort is Sort.DISTANCE or self.radius_km is not None):
            raise invalid("near", "missing", "is needed for a radius and for the order by distance")
        fields = self.model_dump(exclude_none=True, exclude={"limit", "cursor", "near"})
        return SearchQuery(near=None if self.near is None else _place(self.near), **fields)


def _place(near: str) -> Location:
    latitude, longitude = (float(part) for part in near.split(","))
    if abs(latitude) > 90 or abs(longitude) > 180:  # noqa: PLR2004  degrees
        raise invalid("near", "out_of_range", "must be a latitude within 90 and a longitude within 180 degrees")
    return Location(latitude=latitude, longitude=longitude)


@router.get(
    "/providers",
    response_model=ProviderPage,
    responses=problem_responses(Code.CURSOR_INVALID, Code.INVALID, Code.UNAVAILABLE),
)
async def providers(services: Wired, wanted: Annotated[ProviderFilters, Query()]) -> Response:
    """Live providers that meet every condition, with counts of what else could be asked for."""
    query = wanted.query
    try:
        body = await services.searching.answer(query, wanted.limit, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    return Response(body, media_type="application/json")


@router.get("/providers/{provider_id}", responses=problem_responses(Code.NOT_FOUND, Code.INVALID, Code.UNAVAILABLE))
async def profile(provider_id: str, services: Wired) -> ProfileView:
    """A provider's public profile."""
    offering = await services.free_times.offering(provider_id)
    view = ProfileView.of(Listing(provider=offering.provider, clinic=offering.clinic))
    known = await services.searching.known(provider_id)
    return view if known is None else view.with_found(known)


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
