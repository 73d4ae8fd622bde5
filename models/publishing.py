"""What a practice publishes of a provider, and what of the bookings made before no longer fits it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from models.absence import OfferTally
from models.availability import Availability, covers
from models.base import Id, Model, UtcDatetime
from models.errors import Code, FieldError, VisitNowError
from models.ids import random_id, reference
from models.providers import Provider, Service, ServiceTerms

MAX_SERVICES = 100


class Why(StrEnum):
    """Why a booking no longer fits what is published."""

    SERVICE_REMOVED = "service_removed"
    OUTSIDE_HOURS = "outside_hours"
    LEAVE = "leave"


class Booked(NamedTuple):
    """A booking that is still to come: the claimed time `[start, end)`, buffers included, in UTC."""

    appointment_id: str
    service_id: str
    start: datetime
    end: datetime


class Affected(Model):
    """A booking that a change has left outside; it stands as it was until somebody decides about it."""

    appointment_id: Id
    reference: str
    why: Why


class LeaveState(StrEnum):
    """How far a leave has come: its free time is being blocked, is blocked, or is being given back."""

    TAKING = "taking"
    TAKEN = "taken"
    ENDING = "ending"
    ENDED = "ended"


STANDING = frozenset({LeaveState.TAKING, LeaveState.TAKEN})
"""A leave that is in force: nothing can be booked within it."""


class LeaveTally(Model):
    """What a leave has met: open bookings within it, the claims that block its free time, and its offers so far."""

    appointments: int = 0
    blocks: int = 0
    offers: OfferTally = OfferTally()


class Leave(Model):
    """Time `[start, end)` in UTC in which a provider does not work at this clinic."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    practitioner_id: Id
    start: UtcDatetime
    end: UtcDatetime
    body_hash: str
    created_at: UtcDatetime
    state: LeaveState = LeaveState.TAKING
    tally: LeaveTally = LeaveTally()


class LeaveRef(Model):
    """Names a leave."""

    tenant_id: Id
    leave_id: Id


class Published(NamedTuple):
    """A profile with its hours, the versions of both, and the clinic's zone; hours never published have version 0."""

    provider: Provider
    provider_version: int
    availability: Availability
    availability_version: int
    timezone: str


def affected(booked: Booked, why: Why) -> Affected:
    """What is told of a booking: enough to find it, nothing of the patient."""
    return Affected(appointment_id=booked.appointment_id, reference=reference(booked.appointment_id), why=why)


def left_outside(
    bookings: Iterable[Booked], services: Collection[Service], availability: Availability, zone: ZoneInfo
) -> list[Affected]:
    """The bookings that could not be made any more, in their order; notice and horizon do not matter."""
    offered = {service.id for service in services}
    outside = []
    for one in bookings:
        if one.service_id not in offered:
            outside.append(affected(one, Why.SERVICE_REMOVED))
        elif not covers(availability, one.service_id, zone, one.start, one.end):
            outside.append(affected(one, Why.OUTSIDE_HOURS))
    return outside


class ServiceDraft(ServiceTerms):
    """A service as somebody wants to publish it: under the id that it has already, or under none yet."""

    id: Id | None = None


def named(drafts: Sequence[ServiceDraft], known: Collection[str]) -> tuple[Service, ...]:
    """The services, each new one with an id of its own. Raises `invalid` for an id that is foreign or comes twice."""
    seen: set[str] = set()
    for place, draft in enumerate(drafts):
        if draft.id is None:
            continue
        if draft.id not in known:
            raise _invalid(f"{place}.id", "unknown_service", "There is no such service; leave the id of a new one out")
        if draft.id in seen:
            raise _invalid(f"{place}.id", "repeated", "The service comes twice")
        seen.add(draft.id)
    return tuple(
        Service.model_validate({**one.model_dump(mode="json"), "id": one.id or random_id("svc")}) for one in drafts
    )


def check_services(availability: Availability, known: Collection[str]) -> None:
    """Raise `invalid` where a session names a service that the provider does not offer."""
    weekly = [(f"weekly.{place}", rule) for place, rule in enumerate(availability.weekly)]
    dated = [
        (f"overrides.{place}.sessions.{number}", session)
        for place, override in enumerate(availability.overrides)
        for number, session in enumerate(override.sessions)
    ]
    for field, session in (*weekly, *dated):
        if any(one not in known for one in session.service_ids or ()):
            raise _invalid(f"{field}.service_ids", "unknown_service", "There is no such service")


def _invalid(field: str, code: str, message: str) -> VisitNowError:
    return VisitNowError(Code.INVALID, errors=[FieldError(field, code, message)])
