"""Clinics, providers and free times over the wire."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from models.base import UtcDatetime
from models.money import Money
from models.providers import Clinic, Gender, Listing, Location, PaymentMode, Provider, Registration, Service, VisitMode
from models.search import Facet, Found


class ClinicView(BaseModel):
    """A clinic as everybody may see it."""

    id: str
    slug: str
    name: str
    timezone: str = Field(description="IANA zone that rules its wall clock.")
    address: str
    city: str
    location: Location | None = Field(description="Null where the clinic has not marked it on the map.")

    @classmethod
    def of(cls, clinic: Clinic) -> ClinicView:
        """The public part of a clinic."""
        return cls(
            id=clinic.id,
            slug=clinic.slug,
            name=clinic.name,
            timezone=clinic.timezone,
            address=clinic.address,
            city=clinic.city,
            location=clinic.location,
        )


class ProviderRef(BaseModel):
    """A provider as an appointment names them."""

    id: str
    name: str
    specialties: tuple[str, ...]

    @classmethod
    def of(cls, provider: Provider) -> ProviderRef:
        """What an appointment shows of a profile."""
        return cls(id=provider.id, name=provider.name, specialties=provider.specialties)


class ServiceView(BaseModel):
    """What a provider offers."""

    id: str
    name: str
    duration_minutes: int
    fee: Money
    mode: VisitMode
    payment: PaymentMode

    @classmethod
    def of(cls, service: Service) -> ServiceView:
        """The public part of a service: buffers and steps are the clinic's own business."""
        return cls(
            id=service.id,
            name=service.name,
            duration_minutes=service.duration_minutes,
            fee=service.fee,
            mode=service.mode,
            payment=service.payment,
        )


class ProviderView(BaseModel):
    """A provider as search shows them."""

    id: str
    name: str
    gender: Gender
    specialties: tuple[str, ...]
    languages: tuple[str, ...]
    registration: Registration
    clinic: ClinicView
    timezone: str = Field(description="The clinic's IANA zone.")
    rating: float | None = Field(
        default=None, description="1 to 5, a Bayesian average; null where nobody has rated yet."
    )
    ratings: int = Field(default=0, description="How many patients have rated.")
    fee_from: Money | None = Field(description="The smallest fee of all services.")
    next_available: UtcDatetime | None = Field(
        default=None, description="The first free time of any service, as far as searches know; null where none is."
    )
    distance_km: float | None = Field(default=None, description="From `near`, in the order by distance.")

    @classmethod
    def of(cls, listing: Listing) -> ProviderView:
        """A search result."""
        provider = listing.provider
        return cls(
            id=provider.id,
            name=provider.name,
            gender=provider.gender,
            specialties=provider.specialties,
            languages=provider.languages,
            registration=provider.registration,
            clinic=ClinicView.of(listing.clinic),
            timezone=listing.clinic.timezone,
            fee_from=provider.fee_from,
        )

    def with_found(self, found: Found) -> Self:
        """The same with what searches know beside the profile."""
        return self.model_copy(
            update={
                "next_available": found.next_available,
                "distance_km": found.distance_km,
                "rating": found.rating,
                "ratings": found.ratings,
            }
        )


class ProfileView(ProviderView):
    """A provider's whole public profile."""

    services: list[ServiceView]

    @classmethod
    def of(cls, listing: Listing) -> ProfileView:
        """A profile: what search shows, and all services."""
        services = [ServiceView.of(one) for one in listing.provider.services]
        return cls(**dict(ProviderView.of(listing)), services=services)


class ProviderPage(BaseModel):
    """One page of providers."""

    items: list[ProviderView]
    next_cursor: str | None
    facets: dict[str, list[Facet]] = Field(
        description="For specialty, language, city, mode and gender: how many of all results have which value."
    )


class SlotView(BaseModel):
    """A time that can be booked."""

    start: UtcDatetime
    end: UtcDatetime
    seats_left: int | None = Field(
        default=None, exclude_if=lambda seats: seats is None, description="Only in group sessions."
    )


class SlotList(BaseModel):
    """Free times, ascending."""

    timezone: str = Field(description="IANA zone of the clinic.")
    items: list[SlotView]
