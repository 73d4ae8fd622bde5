"""What the bench's stack is filled with: doctors with open hours, patients with tokens, booked time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from pymongo import MongoClient

from adapters.settings import Settings
from adapters.tokens import TokenMinter
from cli.seed.catalogue import (
    AFTERNOON,
    AROUND_THE_CLOCK,
    EVERY_DAY,
    MORNING,
    Catalogue,
    Profile,
    hours,
    practitioner,
    profile,
    service,
)
from models.cells import cells
from models.identity import PLATFORM, Principal, Role
from models.policy import TenantPolicy
from models.providers import Clinic, Location, TenantRecord
from models.sessions import DEVELOPMENT_SESSION

VISIT_MINUTES: Final = 15
ROUND_THE_CLOCK_DOCTORS: Final = 8
PATIENTS: Final = 1000
"""As many as race for one time."""

REGULARS: Final = 200
"""Those who book everything else: each soon has booked before, as most patients have."""

TOKEN_LIFETIME: Final = timedelta(hours=2)
BOOKED_PER_DOCTOR: Final = 60
LEAD_DAYS: Final = 2
HORIZON_DAYS: Final = 60
SECONDS: Final = 60_000

ZONE: Final = ZoneInfo("Asia/Kolkata")
POLICY: Final = TenantPolicy(max_unpaid_holds=10_000, horizon_days=HORIZON_DAYS)
"""A patient of the bench books more than a person would; everything else is as usual."""

TENANT: Final = TenantRecord(id="tnt_bench", slug="bench", name="Bench Clinics", policy=POLICY)
CLINIC: Final = Clinic(
    id="cln_bench",
    tenant_id=TENANT.id,
    slug="bench-clinic",
    name="Bench Clinic",
    timezone=str(ZONE),
    address="1 Test Road, Bengaluru",
    city="Bengaluru",
    location=Location(latitude=12.97, longitude=77.59),
)


class Time(NamedTuple):
    """Something that can be booked."""

    provider_id: str
    service_id: str
    start: datetime


def _doctor(key: str, sessions: tuple[tuple[str, str], ...]) -> Profile:
    person = practitioner(key, f"Dr. {key.replace('_', ' ').title()}", "female", "Bench Council", key, 2010)
    visit = service("visit", "Consultation", VISIT_MINUTES, 500)
    return profile(person, CLINIC, ("General medicine",), ("en",), hours(EVERY_DAY, *sessions), (visit,))


ALWAYS_OPEN: Final = tuple(_doctor(f"open_{number}", (AROUND_THE_CLOCK,)) for number in range(ROUND_THE_CLOCK_DOCTORS))
"""Doctors that bookings go to."""

RACED: Final = tuple(_doctor(f"raced_{number}", (AROUND_THE_CLOCK,)) for number in range(20))
"""Doctors of whom one time is wanted by everybody, a new one for each round."""


def listed_doctors(number: int) -> tuple[Profile, ...]:
    """Doctors with ordinary hours, whose free times are listed."""
    return tuple(_doctor(f"listed_{one}", (MORNING, AFTERNOON)) for one in range(number))


def catalogue(listed: int) -> Catalogue:
    """Everybody; `listed` doctors have ordinary hours."""
    profiles = (*ALWAYS_OPEN, *RACED, *listed_doctors(listed))
    people = tuple(
        practitioner(key, one.provider.name, "female", "Bench Council", key, 2010)
        for one in profiles
        for key in (one.provider.practitioner_id.removeprefix("prc_"),)
    )
    return Catalogue(tenants=(TENANT,), clinics=(CLINIC,), practitioners=people, profiles=profiles, accounts=())


def first_day() -> date:
    """The first date that the bench books, in the clinic's zone; far enough ahead for any notice."""
    return datetime.now(ZONE).date() + timedelta(days=LEAD_DAYS)


def starts(day: date, clock_hour: int = 0) -> Iterator[datetime]:
    """The starts of visits from `clock_hour` of a date on (UTC instants), without end."""
    begin = datetime(day.year, day.month, day.day, clock_hour, tzinfo=ZONE)
    for number in count():
        yield (begin + number * timedelta(minutes=VISIT_MINUTES)).astimezone(UTC)


def times(doctors: tuple[Profile, ...]) -> Iterator[Time]:
    """Bookable times of doctors who are always open, each once, one doctor after the other."""
    for start in starts(first_day()):
        for doctor in doctors:
            yield Time(doctor.provider.id, doctor.provider.services[0].id, start)


def tokens(settings: Settings, number: int) -> list[str]:
    """Access tokens of as many patients."""
    minter, now = TokenMinter(settings.token_keys), datetime.now(UTC)
    return [minter.mint(_patient(one), TOKEN_LIFETIME, now) for one in range(number)]


def _patient(number: int) -> Principal:
    return Principal(
        subject=f"usr_bench_{number}",
        tenant_id=PLATFORM,
        roles=frozenset({Role.PATIENT}),
        session_id=DEVELOPMENT_SESSION,
    )


def write_booked_time(mongodb_url: str, database: str, doctors: tuple[Profile, ...]) -> int:
    """Book some of the doctors' time as the product's claims would stand there; how many claims that were."""
    claims = [claim for doctor in doctors for claim in _claims(doctor)]
    with MongoClient[dict[str, object]](mongodb_url, timeoutMS=SECONDS) as client:
        client[database]["slots"].insert_many(claims, ordered=False)
    return len(claims)


def _claims(doctor: Profile) -> Iterator[dict[str, object]]:
    """Every third visit of the mornings from the first day on."""
    provider, length, made = doctor.provider, timedelta(minutes=VISIT_MINUTES), 0
    for ahead in count():
        for start in list(_every_third(first_day() + timedelta(days=ahead))):
            if made == BOOKED_PER_DOCTOR:
                return
            made += 1
            yield {
                "_id": f"apt_{provider.practitioner_id}_{made}",
                "tenant_id": provider.tenant_id,
                "clinic_id": provider.clinic_id,
                "provider_id": provider.id,
                "practitioner_id": provider.practitioner_id,
                "service_id": provider.services[0].id,
                "subject_id": f"usr_booked_{made}",
                "kind": "booked",
                "body_hash": "0" * 64,
                "tentative": False,
                "expires_at": None,
                "cells": list(cells(start, start + length)),
                "start": start,
                "end": start + length,
                "visit_start": start,
                "visit_end": start + length,
            }


def _every_third(day: date) -> Iterator[datetime]:
    morning_slots = 16
    for number, start in enumerate(starts(day, clock_hour=9)):
        if number == morning_slots:
            return
        if number % 3 == 0:
            yield start
