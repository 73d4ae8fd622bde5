"""What open reminders keep in the worker's memory, and how late the reminders of one minute go out."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple

from pymongo import MongoClient
from temporalio.api.enums.v1 import EventType as HistoryType
from temporalio.client import Client

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.appointment_documents import first_document
from adapters.mongo.repositories import Repositories
from bench.catalogue import ALWAYS_OPEN, CLINIC, POLICY, TENANT, ZONE
from bench.figures import MILLI, Figure, at_most, percentile
from bench.load import closed_loop
from bench.processes import resident_bytes
from bench.product import BenchError
from bench.rig import Rig
from models.booking import (
    SYSTEM,
    Actor,
    ActorKind,
    AppointmentState,
    Event,
    EventType,
    HoldSlot,
    PlaceBooking,
    ServiceSnapshot,
    WaitingFor,
)
from models.identity import PLATFORM, Account, Role, System
from models.ids import random_id, reminder_workflow_id
from models.payments import PaymentState
from models.providers import PaymentMode
from workflows.reminding import ReminderFollower

NUMBER: Final = 12
IN_FLIGHT: Final = 32
LIMIT_SECONDS: Final = 3600.0
LOOK_SECONDS: Final = 0.25
MEBI: Final = 1024 * 1024
SHARE: Final = 10
"""So many times fewer are open at first."""

LOOKED_AT: Final = 40
"""As many of those that were started last must sleep before memory is read."""

SAMPLES: Final = 5
OPENING_SECONDS: Final = 6
OPENING_SECONDS_EACH: Final = 0.15
"""How long before the first is due they begin to be opened."""

READERS: Final = System("the bench's patients are reminded")


class Visit(NamedTuple):
    """A visit that somebody is to be reminded of, and when."""

    command: PlaceBooking
    due: datetime


async def measure(rig: Rig) -> list[Figure]:
    """Row 12, twice."""
    settings = rig.stack.settings
    client = await connect_temporal(settings)
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    bench = _Reminders(rig, client, stores)
    try:
        return [await bench.memory(), await bench.delay()]
    finally:
        await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


class _Reminders:
    """Opens reminders as the relay does, over appointments that stand there as the product writes them."""

    def __init__(self, rig: Rig, client: Client, stores: Repositories) -> None:
        self._rig = rig
        self._client = client
        self._stores = stores
        self._follower = ReminderFollower(client)
        self._numbers = count()

    async def memory(self) -> Figure:
        """The worker's memory with all open, against a tenth of them."""
        many = self._rig.plan.reminders_open
        few = many // SHARE
        before = await self._opened(few)
        after = await self._opened(many - few)
        name = f"worker's RSS at {many:,} open reminders ÷ {few:,}"
        detail = f"{after / MEBI:.0f} against {before / MEBI:.0f} MiB; each sleeps until its day"
        return Figure(NUMBER, name, after / before, at_most(1.1), detail, rounds={"RSS": [before, after]})

    async def _opened(self, number: int) -> float:
        """Open so many more; the worker's memory when they sleep."""
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        visits = [self._visit(start, timedelta(days=1), random_id("usr")) for _ in range(number)]
        self._rig.tell(f"reminders: opening {number:,}")
        self._write(visits)
        await self._follow(visits)
        async with asyncio.timeout(LIMIT_SECONDS):
            for visit in visits[-LOOKED_AT:]:
                await self._asleep(visit)
        samples = []
        for _ in range(SAMPLES):
            await asyncio.sleep(LOOK_SECONDS)
            samples.append(resident_bytes(self._rig.product_pids["worker"]))
        return statistics.median(samples)

    async def _asleep(self, visit: Visit) -> None:
        handle = self._client.get_workflow_handle(reminder_workflow_id(visit.command.appointment_id))
        while True:
            history = await handle.fetch_history()
            if any(one.event_type == HistoryType.EVENT_TYPE_TIMER_STARTED for one in history.events):
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def delay(self) -> Figure:
        """From when each is due until the carrier has taken it."""
        number, spread = self._rig.plan.reminders_due, self._rig.plan.reminders_due_seconds
        readers = await self._readers(number)
        lead_time = timedelta(seconds=OPENING_SECONDS + number * OPENING_SECONDS_EACH)
        first = datetime.now(UTC).replace(microsecond=0) + lead_time
        start = first + timedelta(days=1)
        visits = [
            self._visit(start, start - first - timedelta(seconds=place * spread // number), reader)
            for place, reader in enumerate(readers)
        ]
        self._rig.tell(f"reminders: {number:,} are due within {spread} s")
        self._write(visits)
        await self._follow(visits)
        if datetime.now(UTC) > first:
            raise BenchError("opening them took so long that the first was due before the last was open")
        sent, begun = await self._delays(visits)
        name = f"{number:,} reminders due within {spread} s: delay p99 (s)"
        detail = (
            f"p50 {percentile(sent, 50):.2f}, p99 {percentile(sent, 99):.2f}, last {max(sent):.2f} s until the carrier "
            f"has it; p99 until its telling began {percentile(begun, 99):.2f} s"
        )
        return Figure(NUMBER, name, percentile(sent, 99), None, detail, rounds={"delay": sent})

    async def _delays(self, visits: Sequence[Visit]) -> tuple[list[float], list[float]]:
        """How late each went out and how late its telling began (seconds)."""
        due = {visit.command.appointment_id: visit.due for visit in visits}
        notices = self._stores.database["notices"]
        told = {"tenant_id": TENANT.id, "appointment_id": {"$in": list(due)}, "template": "appointment_reminder"}
        give_up = time.monotonic() + LIMIT_SECONDS
        while True:
            found = await notices.find({**told, "state": {"$in": ["sent", "delivered"]}}).to_list(None)
            if len(found) == len(due):
                break
            if time.monotonic() > give_up:
                raise BenchError(f"only {len(found)} of {len(due)} reminders went out")
            await asyncio.sleep(LOOK_SECONDS)
        return _late(found, due, "updated_at"), _late(found, due, "created_at")

    async def _readers(self, number: int) -> list[str]:
        """As many patients with a phone."""
        accounts = [
            Account(
                id=random_id("usr"),
                tenant_id=PLATFORM,
                roles=frozenset({Role.PATIENT}),
                name="Bench Patient",
                phone=f"+9197{place:08d}",
                timezone=str(ZONE),
            )
            for place in range(number)
        ]
        waiting = iter(accounts)
        self._rig.tell(f"reminders: {number:,} patients")
        await closed_loop(lambda: self._stores.users.put(READERS, next(waiting)), number, 8, limit=LIMIT_SECONDS)
        return [one.id for one in accounts]

    def _visit(self, start: datetime, lead: timedelta, reader: str) -> Visit:
        """A confirmed visit, one of the clinic's round-the-clock doctors'; a reminder is due `lead` before it."""
        offered = ALWAYS_OPEN[next(self._numbers) % len(ALWAYS_OPEN)].provider
        service = offered.services[0]
        snapshot = service.model_dump(include=set(ServiceSnapshot.model_fields)) | {"payment": PaymentMode.AT_CLINIC}
        length = timedelta(minutes=service.duration_minutes)
        command = PlaceBooking(
            appointment_id=random_id("apt"),
            tenant_id=TENANT.id,
            clinic_id=CLINIC.id,
            provider_id=offered.id,
            practitioner_id=offered.practitioner_id,
            subject_id=reader,
            actor=Actor(kind=ActorKind.PATIENT, id=reader),
            body_hash="0" * 64,
            service=ServiceSnapshot.model_validate(snapshot),
            start=start,
            end=start + length,
            claim_start=start,
            claim_end=start + length,
            timezone=CLINIC.timezone,
            policy=POLICY.model_copy(update={"reminder_lead_seconds": (int(lead.total_seconds()),)}),
            policy_version=1,
        )
        return Visit(command, start - lead)

    def _write(self, visits: Sequence[Visit]) -> None:
        """Their documents, whose events nobody carries: the bench tells the follower itself."""
        settings = self._rig.stack.settings
        now = datetime.now(UTC)
        with MongoClient[dict[str, Any]](settings.mongodb_url.get_secret_value(), tz_aware=True) as client:
            appointments = client[settings.database]["appointments"]
            for documents in _batches([{**_document(visit.command, now), "outbox": []} for visit in visits]):
                appointments.insert_many(documents, ordered=False)

    async def _follow(self, visits: Sequence[Visit]) -> None:
        waiting = iter(visits)

        async def follow() -> None:
            await self._follower.follow(_confirmed(next(waiting).command))

        await closed_loop(follow, len(visits), IN_FLIGHT, limit=LIMIT_SECONDS)


def _late(found: Sequence[dict[str, Any]], due: dict[str, datetime], field: str) -> list[float]:
    return [round((one[field] - due[one["appointment_id"]]).total_seconds() * MILLI) / MILLI for one in found]


def _document(command: PlaceBooking, now: datetime) -> dict[str, Any]:
    waiting = WaitingFor(event="visit", until=command.closes_at)
    step = HoldSlot(command=command, at=now, deadline=None, expires_at=None, waiting_for=waiting)
    return first_document(step, None)


def _batches(documents: Sequence[dict[str, Any]], size: int = 1000) -> Iterator[Sequence[dict[str, Any]]]:
    for begin in range(0, len(documents), size):
        yield documents[begin : begin + size]


def _confirmed(command: PlaceBooking) -> Event:
    return Event(
        id=f"{command.appointment_id}:placed",
        type=EventType.CONFIRMED,
        at=datetime.now(UTC),
        actor=SYSTEM,
        tenant_id=command.tenant_id,
        appointment_id=command.appointment_id,
        clinic_id=command.clinic_id,
        subject_id=command.subject_id,
        state=AppointmentState.CONFIRMED,
        payment_state=PaymentState.DUE_AT_CLINIC,
        version=1,
    )
