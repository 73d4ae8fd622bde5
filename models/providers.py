"""Clinics, practitioners, their provider profiles and the services they offer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from models.availability import Availability, Busy, ServiceTiming
from models.base import Id, Model, ZoneName
from models.money import MINIMUM_CHARGE_PAISE, Money
from models.policy import TenantPolicy
from models.tenancy import ENGLISH, FIRST_VERSION, Branding, Languages

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]

Gender = Literal["female", "male", "other", "unstated"]
"""As the practitioner says; who was never asked is `unstated`."""


class VisitMode(StrEnum):
    """Where the visit takes place."""

    IN_PERSON = "in_person"
    VIDEO = "video"


class PaymentMode(StrEnum):
    """When a service is paid."""

    ONLINE = "online"
    AT_CLINIC = "at_clinic"
    FREE = "free"


class ServiceTerms(Model):
    """What is offered, for how long and for how much. Minutes are multiples of five."""

    name: Name
    duration_minutes: int = Field(ge=5, le=480, multiple_of=5)
    buffer_before_minutes: int = Field(default=0, ge=0, le=120, multiple_of=5)
    buffer_after_minutes: int = Field(default=0, ge=0, le=120, multiple_of=5)
    slot_step_minutes: int | None = Field(default=None, ge=5, le=720, multiple_of=5)
    fee: Money
    mode: VisitMode = VisitMode.IN_PERSON
    payment: PaymentMode = PaymentMode.ONLINE

    @model_validator(mode="after")
    def _fee_fits_payment(self) -> Self:
        if 0 < self.fee.amount < MINIMUM_CHARGE_PAISE:
            msg = "a fee is 0 or at least 100 paise"
            raise ValueError(msg)
        if (self.fee.amount == 0) != (self.payment is PaymentMode.FREE):
            msg = "a free service has no fee, and one with a fee is not free"
            raise ValueError(msg)
        return self


class Service(ServiceTerms):
    """What a provider offers."""

    id: Id

    @property
    def timing(self) -> ServiceTiming:
        """The lengths that slots are computed from."""
        step = self.slot_step_minutes or (
            self.buffer_before_minutes + self.duration_minutes + self.buffer_after_minutes
        )
        return ServiceTiming(
            self.id, self.duration_minutes, self.buffer_before_minutes, self.buffer_after_minutes, step
        )


class Registration(Model):
    """A doctor's registration as text: there is no national format (council, number, year)."""

    council: Name
    number: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    year: int = Field(ge=1930, le=2100)


class Location(Model):
    """A point on the map, WGS 84 degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Clinic(Model):
    """A place where providers see patients; its zone rules its wall clock."""

    id: Id
    tenant_id: Id
    slug: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{1,38}[a-z0-9])$")]
    name: Name
    timezone: ZoneName
    address: Annotated[str, StringConstraints(max_length=300)]
    city: Name
    location: Location | None = None


class Practitioner(Model):
    """The person: one, however many clinics they work at."""

    id: Id
    name: Name
    gender: Gender
    registration: Registration


class Provider(Model):
    """A practitioner's profile at one clinic."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    practitioner_id: Id
    name: Name
    gender: Gender
    specialties: tuple[Name, ...]
    languages: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")], ...]
    registration: Registration
    services: tuple[Service, ...]
    live: bool = True

    def service(self, service_id: str) -> Service | None:
        """The offered service of that id."""
        return next((service for service in self.services if service.id == service_id), None)

    @property
    def fee_from(self) -> Money | None:
        """The smallest fee of all services."""
        return min((service.fee for service in self.services), key=lambda fee: fee.amount, default=None)


class TenantRecord(Model):
    """A tenant and its settings."""

    id: Id
    slug: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{1,38}[a-z0-9])$")]
    name: Name
    policy: TenantPolicy = TenantPolicy()
    policy_version: int = FIRST_VERSION
    languages: Languages = ENGLISH
    branding: Branding = Branding()


class Listing(Model):
    """A provider with the clinic, as search and profile show them."""

    provider: Provider
    clinic: Clinic


class Offering(Model):
    """Everything that decides whether and how a provider can be booked."""

    provider: Provider
    clinic: Clinic
    availability: Availability
    tenant: TenantRecord
    absences: tuple[Busy, ...] = Field(default=(), description="Leave that is not over, whoever holds the time.")

    @property
    def min_notice_minutes(self) -> int:
        """The provider's own notice, else the tenant's."""
        own = self.availability.min_notice_minutes
        return self.tenant.policy.min_notice_minutes if own is None else own

    @property
    def horizon_days(self) -> int:
        """The provider's own horizon, else the tenant's."""
        own = self.availability.horizon_days
        return self.tenant.policy.horizon_days if own is None else own
