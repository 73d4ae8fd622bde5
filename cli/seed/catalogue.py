"""What a seed consists of, and short ways to write it down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from models.availability import Availability, WeeklyRule
from models.identity import Account
from models.money import Money
from models.providers import (
    Clinic,
    PaymentMode,
    Practitioner,
    Provider,
    Registration,
    Service,
    TenantRecord,
    VisitMode,
)

MON_TO_FRI = range(5)
MON_TO_SAT = range(6)
EVERY_DAY = range(7)
PAISE = 100

MORNING = ("09:00", "13:00")
AFTERNOON = ("14:00", "18:00")
EVENING = ("17:00", "20:30")
OVERNIGHT = ("20:00", "08:00")
AROUND_THE_CLOCK = ("00:00", "00:00")


@dataclass(frozen=True)
class Profile:
    """A doctor at one clinic, with the published hours."""

    provider: Provider
    availability: Availability


@dataclass(frozen=True)
class Catalogue:
    """Everything that is written, parents first."""

    tenants: tuple[TenantRecord, ...]
    clinics: tuple[Clinic, ...]
    practitioners: tuple[Practitioner, ...]
    profiles: tuple[Profile, ...]
    accounts: tuple[Account, ...]


def practitioner(
    key: str, name: str, gender: Literal["female", "male"], council: str, number: str, year: int
) -> Practitioner:
    """A person; `key` makes the id."""
    registration = Registration(council=council, number=number, year=year)
    return Practitioner(id=f"prc_{key}", name=name, gender=gender, registration=registration)


def hours(days: Iterable[int], *sessions: tuple[str, str], capacity: int | None = None) -> tuple[WeeklyRule, ...]:
    """The same sessions on each of the days (0 is Monday), in the clinic's wall time."""
    return tuple(
        WeeklyRule(weekday=day, start=start, end=end, capacity=capacity) for day in days for start, end in sessions
    )


def service(
    key: str,
    name: str,
    minutes: int,
    rupees: int,
    *,
    mode: VisitMode = VisitMode.IN_PERSON,
    payment: PaymentMode = PaymentMode.ONLINE,
    buffers: tuple[int, int] = (0, 0),
) -> Service:
    """A service; `key` becomes part of an id that no other profile has, `buffers` are the minutes before and after."""
    return Service(
        id=key,
        name=name,
        duration_minutes=minutes,
        buffer_before_minutes=buffers[0],
        buffer_after_minutes=buffers[1],
        fee=Money(amount=rupees * PAISE),
        mode=mode,
        payment=PaymentMode.FREE if rupees == 0 else payment,
    )


def profile(
    person: Practitioner,
    clinic: Clinic,
    specialties: tuple[str, ...],
    languages: tuple[str, ...],
    weekly: tuple[WeeklyRule, ...],
    services: tuple[Service, ...],
) -> Profile:
    """A practitioner's profile at a clinic; its id and its services' ids follow from both."""
    key = f"{person.id.removeprefix('prc_')}_{clinic.slug}"
    provider = Provider(
        id=f"prv_{key}",
        tenant_id=clinic.tenant_id,
        clinic_id=clinic.id,
        practitioner_id=person.id,
        name=person.name,
        gender=person.gender,
        specialties=specialties,
        languages=languages,
        registration=person.registration,
        # A claim of a group names its service, and a practitioner's claims at all clinics lie side by side.
        services=tuple(one.model_copy(update={"id": f"svc_{key}_{one.id}"}) for one in services),
    )
    return Profile(provider, Availability(weekly=weekly))
