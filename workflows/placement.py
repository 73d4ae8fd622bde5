"""What comes before a booking's workflow: is the time bookable, is it free, and what else is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from models.availability import SlotProblem, candidate, slots
from models.booking import Intake, PlaceBooking, ServiceSnapshot, actor_of
from models.cache import FreshCache
from models.errors import Code, VisitNowError, not_found
from models.identity import Principal, Public
from models.ports import Claims, Directory
from models.providers import Offering, Service
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
class Placement:
    """One request to book."""

    principal: Principal
    idempotency_key: str
    provider_id: str
    service_id: str
    start: datetime
    intake: Intake
    body_hash: str


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
        slot = candidate(
            offering.availability,
            service.timing,
            ZoneInfo(offering.clinic.timezone),
            placement.start,
            datetime.now(UTC),
            min_notice_minutes=offering.min_notice_minutes,
            horizon_days=offering.horizon_days,
            absent=offering.absences,
        )
        if isinstance(slot, SlotProblem):
            raise VisitNowError(_PROBLEMS[slot])
        return PlaceBooking(
            appointment_id=appointment_id,
            tenant_id=offering.provider.tenant_id,
            clinic_id=offering.clinic.id,
            provider_id=offering.provider.id,
            practitioner_id=offering.provider.practitioner_id,
            subject_id=placement.principal.subject,
            actor=actor_of(placement.principal.subject, placement.principal.roles),
            body_hash=placement.body_hash,
            service=_snapshot(service),
            start=slot.start,
            end=slot.end,
            claim_start=slot.claim_start,
            claim_end=slot.claim_end,
            capacity=slot.capacity if slot.capacity and slot.capacity > 1 else None,
            timezone=offering.clinic.timezone,
            policy=offering.tenant.policy,
            policy_version=offering.tenant.policy_version,
            has_intake=not placement.intake.is_empty,
        )

    async def alternatives(self, command: PlaceBooking) -> list[datetime]:
        """The next free starts of the same service after the wanted one; shared by everybody who lost the same race."""
        key = (command.provider_id, command.service.id, command.start)
        return await self._alternatives.get(key, lambda: self._next_free(command))

    async def _next_free(self, command: PlaceBooking) -> list[datetime]:
        offering = await self._offering(command.provider_id)
        service = offering.provider.service(command.service.id)
        if service is None:
            return []
        zone = ZoneInfo(command.timezone)
        first = command.start.astimezone(zone).date()
        last = first + timedelta(days=ALTERNATIVES_DAYS)
        # A day more on each side: claims of overnight sessions and of buffers reach over midnight.
        begin, end = midnight(first, zone) - _ONE_DAY, midnight(last, zone) + 2 * _ONE_DAY
        free = slots(
            offering.availability,
            service.timing,
            zone,
            first,
            last,
            now=datetime.now(UTC),
            busy=[*offering.absences, *await self._claims.busy(Public(), command.practitioner_id, begin, end)],
            min_notice_minutes=offering.min_notice_minutes,
            horizon_days=offering.horizon_days,
        )
        return [slot.start for slot in free if slot.start > command.start][:ALTERNATIVES]

    def published(self, provider_id: str) -> None:
        """Forget what is kept of a profile that has changed."""
        self._offerings.forget(provider_id)

    async def _offering(self, provider_id: str) -> Offering:
        offering = await self._offerings.get(provider_id, lambda: self._directory.offering(Public(), provider_id))
        if offering is None:
            raise not_found()
        return offering


def _snapshot(service: Service) -> ServiceSnapshot:
    return ServiceSnapshot(
        id=service.id,
        name=service.name,
        duration_minutes=service.duration_minutes,
        buffer_before_minutes=service.buffer_before_minutes,
        buffer_after_minutes=service.buffer_after_minutes,
        fee=service.fee,
        mode=service.mode,
        payment=service.payment,
    )
