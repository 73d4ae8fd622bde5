"""What comes before a booking's workflow: is the time bookable, is it free, and what else is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from models.availability import ServiceTiming, Slot, SlotProblem, candidate, slots
from models.booking import Appointment, Intake, PlaceBooking, ServiceSnapshot, VisitTime, actor_of
from models.cache import FreshCache
from models.cells import CELL
from models.errors import Code, VisitNowError, not_found
from models.identity import Principal, Public, Role, Scope, scope_of
from models.off_hours import off_hours
from models.ports import Claims, Directory
from models.providers import Offering, PaymentMode, Service
from models.wallclock import midnight

OFFERING_SECONDS = 2.0
"""How old a published profile may be when somebody books; the claim itself is never decided on a cached value."""

ALTERNATIVES_SECONDS = 1.0
ALTERNATIVES_DAYS = 14
ALTERNATIVES = 3
_ONE_DAY = timedelta(days=1)

_PROBLEMS = {
    SlotProblem.INVALID: Code.SLOT_INVALID,
    SlotProblem.TOO_SOON: Code.TOO_SOON,
    SlotProblem.TOO_FAR: Code.TOO_FAR,
}


@dataclass(frozen=True)
class WalkIn:
    """Somebody at a clinic's desk: whose visit it is, where, and why hours do not count where they do not."""

    subject_id: str
    clinic_id: str
    reason: str | None = None


@dataclass(frozen=True)
class Placement:
    """One request to book; without a `start` a walk-in gets the next free one."""

    principal: Principal
    idempotency_key: str
    provider_id: str
    service_id: str
    start: datetime | None
    intake: Intake
    body_hash: str
    dependant_id: str | None = None
    """For whom, if that is somebody whom the account books for."""
    walk_in: WalkIn | None = None

    @property
    def subject_id(self) -> str:
        """Whose visit it is."""
        return self.principal.subject if self.walk_in is None else self.walk_in.subject_id

    @property
    def scope(self) -> Scope:
        """Where whoever asks finds it again."""
        return scope_of(self.principal)


class Wish(NamedTuple):
    """A time that somebody wanted, of one service of one provider."""

    provider_id: str
    service_id: str
    start: datetime

    @classmethod
    def of(cls, command: PlaceBooking) -> Wish:
        """What a booking wants."""
        return cls(command.provider_id, command.service.id, command.start)

    @classmethod
    def to_move(cls, booked: Appointment, start: datetime) -> Wish:
        """What a visit is to be moved to."""
        return cls(booked.provider_id, booked.service.id, start)


class Placements:
    """Turns requests into commands."""

    def __init__(self, directory: Directory, claims: Claims) -> None:
        """Where profiles and claims are read."""
        self._directory = directory
        self._claims = claims
        self._offerings: FreshCache[str, Offering | None] = FreshCache(OFFERING_SECONDS)
        self._alternatives: FreshCache[tuple[str, str, datetime], list[datetime]] = FreshCache(ALTERNATIVES_SECONDS)

    async def command(self, placement: Placement, appointment_id: str) -> PlaceBooking:
        """The whole command. Raises `not_found`, `slot_invalid`, `too_soon` or `too_far`."""
        offering = await self._offering(placement.provider_id)
        service = offering.provider.service(placement.service_id)
        if service is None:
            raise not_found()
        if placement.walk_in is not None and not _works_at(placement.principal, placement.walk_in.clinic_id, offering):
            raise not_found()
        slot = await self._slot(placement, offering, service.timing)
        if isinstance(slot, SlotProblem):
            raise VisitNowError(_PROBLEMS[slot])
        return PlaceBooking(
            appointment_id=appointment_id,
            tenant_id=offering.provider.tenant_id,
            clinic_id=offering.clinic.id,
            provider_id=offering.provider.id,
            practitioner_id=offering.provider.practitioner_id,
            subject_id=placement.subject_id,
            actor=actor_of(placement.principal.subject, placement.principal.roles),
            body_hash=placement.body_hash,
            service=_snapshot(service, at_clinic=placement.walk_in is not None),
            **dict(_time(slot)),
            timezone=offering.clinic.timezone,
            policy=offering.tenant.policy,
            policy_version=offering.tenant.policy_version,
            has_intake=not placement.intake.is_empty,
            dependant_id=placement.dependant_id,
        )

    async def _slot(self, placement: Placement, offering: Offering, timing: ServiceTiming) -> Slot | SlotProblem:
        """The time that is asked for. Raises `slot_taken` where a walk-in finds none."""
        now, start, walk_in = datetime.now(UTC), placement.start, placement.walk_in
        if walk_in is None:
            return SlotProblem.INVALID if start is None else _bookable(offering, timing, start)
        # Whoever stands there needs no notice, and a visit that has begun just now is now.
        prompt, just_now = _without_notice(offering), now - CELL
        if start is None and walk_in.reason is None:
            free = await self._free(prompt, timing, just_now, just_now)
            if not free:
                raise VisitNowError(Code.SLOT_TAKEN, alternatives=[])
            return free[0]
        start = start or datetime.fromtimestamp(now.timestamp() // CELL.total_seconds() * CELL.total_seconds(), UTC)
        slot = _bookable(prompt, timing, start, just_now)
        if isinstance(slot, SlotProblem) and walk_in.reason is not None:
            return off_hours(offering.availability, timing, ZoneInfo(offering.clinic.timezone), start, now)
        return slot

    async def time_of(self, booked: Appointment, start: datetime, *, overrides: bool) -> VisitTime:
        """The same visit, as long as it was booked, at another time; with `overrides` whatever the hours and notice.

        Raises `slot_invalid`, `too_soon` or `too_far`.
        """
        try:
            offering = await self._offering(booked.provider_id)
        except VisitNowError as error:
            raise VisitNowError(Code.SLOT_INVALID) from error
        published = offering.provider.service(booked.service.id)
        timing = _timing(booked.service, published)
        slot = _bookable(offering, timing, start)
        if isinstance(slot, SlotProblem) and overrides:
            slot = off_hours(offering.availability, timing, ZoneInfo(booked.timezone), start, datetime.now(UTC))
        if isinstance(slot, SlotProblem):
            raise VisitNowError(_PROBLEMS[slot])
        return _time(slot)

    async def alternatives(self, wish: Wish) -> list[datetime]:
        """The next free starts of the same service after the wanted one; shared by everybody who lost the same race."""
        key = (wish.provider_id, wish.service_id, wish.start)
        return await self._alternatives.get(key, lambda: self._next_free(wish))

    async def _next_free(self, wish: Wish) -> list[datetime]:
        offering = await self._offering(wish.provider_id)
        service = offering.provider.service(wish.service_id)
        if service is None:
            return []
        free = await self._free(offering, service.timing, wish.start, datetime.now(UTC))
        return [slot.start for slot in free if slot.start > wish.start][:ALTERNATIVES]

    async def _free(self, offering: Offering, timing: ServiceTiming, start: datetime, now: datetime) -> list[Slot]:
        """What is free from that day on."""
        zone = ZoneInfo(offering.clinic.timezone)
        first = start.astimezone(zone).date()
        last = first + timedelta(days=ALTERNATIVES_DAYS)
        # A day more on each side: claims of overnight sessions and of buffers reach over midnight.
        begin, end = midnight(first, zone) - _ONE_DAY, midnight(last, zone) + 2 * _ONE_DAY
        practitioner = offering.provider.practitioner_id
        return slots(
            offering.availability,
            timing,
            zone,
            first,
            last,
            now,
            busy=[*offering.absences, *await self._claims.busy(Public(), practitioner, begin, end)],
            min_notice_minutes=offering.min_notice_minutes,
            horizon_days=offering.horizon_days,
        )

    def published(self, provider_id: str) -> None:
        """Forget what is kept of a profile that has changed."""
        self._offerings.forget(provider_id)

    async def _offering(self, provider_id: str) -> Offering:
        offering = await self._offerings.get(provider_id, lambda: self._directory.offering(Public(), provider_id))
        if offering is None:
            raise not_found()
        return offering


def _bookable(
    offering: Offering, timing: ServiceTiming, start: datetime, now: datetime | None = None
) -> Slot | SlotProblem:
    return candidate(
        offering.availability,
        timing,
        ZoneInfo(offering.clinic.timezone),
        start,
        now or datetime.now(UTC),
        min_notice_minutes=offering.min_notice_minutes,
        horizon_days=offering.horizon_days,
        absent=offering.absences,
    )


def _without_notice(offering: Offering) -> Offering:
    availability = offering.availability.model_copy(update={"min_notice_minutes": 0})
    return offering.model_copy(update={"availability": availability})


def _works_at(who: Principal, clinic_id: str, offering: Offering) -> bool:
    """Whether it is their clinic, and the provider's."""
    theirs = Role.ADMIN in who.roles or clinic_id in who.clinic_ids
    return theirs and offering.clinic.id == clinic_id and offering.provider.tenant_id == who.tenant_id


def _time(slot: Slot) -> VisitTime:
    return VisitTime(
        start=slot.start,
        end=slot.end,
        claim_start=slot.claim_start,
        claim_end=slot.claim_end,
        capacity=slot.capacity if slot.capacity > 1 else None,
    )


def _timing(booked: ServiceSnapshot, published: Service | None) -> ServiceTiming:
    """A visit keeps the length that it was booked with; where visits may start is as it is published now."""
    return ServiceTiming(
        booked.id,
        booked.duration_minutes,
        booked.buffer_before_minutes,
        booked.buffer_after_minutes,
        published.slot_step_minutes if published is not None else None,
    )


def _snapshot(service: Service, *, at_clinic: bool) -> ServiceSnapshot:
    """The service as it is booked; nobody who stands at the desk is sent to a checkout."""
    paid_there = at_clinic and service.payment is PaymentMode.ONLINE
    return ServiceSnapshot(
        id=service.id,
        name=service.name,
        duration_minutes=service.duration_minutes,
        buffer_before_minutes=service.buffer_before_minutes,
        buffer_after_minutes=service.buffer_after_minutes,
        fee=service.fee,
        mode=service.mode,
        payment=PaymentMode.AT_CLINIC if paid_there else service.payment,
    )
