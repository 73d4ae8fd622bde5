"""Somebody who leaves traces everywhere, all of them words that occur nowhere else."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx
from redis.asyncio import Redis
from temporalio.client import Client

from adapters.carriers import carriers
from adapters.connections import connect_temporal, mongo_addresses
from adapters.erasure import erasers
from adapters.mongo.repositories import Repositories
from adapters.sightings import Scanner
from models.booking import Appointment
from models.consultation import SummaryVersion
from models.data_classes import RetentionClass
from models.disguises import Canaries
from models.erasure import STORES, ErasureReceipt, Store
from models.erasure_ports import Eraser
from models.identity import Role, System
from models.ids import random_id
from models.reviews import Opinion, Review, ReviewState
from tests.api.consultations import a_summary
from tests.api.test_people import a_patient, a_phone, bearer, ok
from tests.booking.support import cancel
from tests.clinics import employee, offer
from tests.stack import Json, Stack, eventually

WORLD: Final = System("the tests' world")
DESK: Final = offer("steady", "desk")
VISIT: Final = offer("steady", "visit")
DAYS: Final = (29, 33)
"""Where few other tests book."""
LAST_WITH: Final = (RetentionClass.NONE, RetentionClass.CLINICAL, RetentionClass.FINANCIAL, RetentionClass.LOGS)
"""Everything but identity, which goes last since it leads to the rest."""


@dataclass
class Life:
    """What somebody has left behind."""

    subject_id: str
    phone: str
    canaries: Canaries
    tokens: Json
    bookings: list[str]


async def nobody_asks(_: str) -> None:
    """Nobody follows the practitioners' time here."""


def _mark(what: str) -> str:
    return f"{what} Zq{secrets.token_hex(6)}"


async def live(stack: Stack, stores: Repositories) -> Life:
    """Sign up, name a child, book and pay, bring a report, be written about, complain, rate, cancel."""
    canaries = Canaries(stack.settings.index_key)
    phone = canaries.phone(a_phone())
    async with stack.anonymous() as who, stack.client(employee("steady", Role.STAFF)) as desk:
        tokens = await a_patient(stack, who, phone, name=canaries.word(_mark("Tara")))
        who.headers.update(bearer(tokens))
        child = {"name": canaries.word(_mark("Kavi")), "date_of_birth": "2019-02-28", "relation": "son"}
        dependant = ok(await who.post("/v1/me/dependants", json=child), 201)
        other = {"name": canaries.word(_mark("Usha")), "date_of_birth": "1955-07-01", "relation": "aunt"}
        first = await _book(stack, who, offer="desk", patient=other, reason=canaries.word(_mark("a rash")))
        theirs = {"dependant_id": dependant["id"]}
        second = await _book(stack, who, offer="visit", patient=theirs, reason=canaries.word(_mark("a cough")))
        await stack.pay(second["payment"]["order_id"])

        async def state() -> str:
            return str(ok(await who.get(f"/v1/appointments/{second['id']}"))["state"])

        await eventually(state, lambda seen: seen == "confirmed")
        report = b"%PDF-1.4 " + canaries.word(_mark("haemoglobin")).encode() + b" %%EOF"
        files = {"file": (f"{canaries.word(_mark('report'))}.pdf", report, "application/pdf")}
        path = f"/v1/appointments/{second['id']}/documents"
        ok(await who.post(path, files=files, data={"kind": "lab_report"}), 201)
        complaint = {"text": canaries.word(_mark("a long wait"))}
        grievance = ok(await who.post("/v1/me/grievances", headers=_key(), json=complaint), 201)
        goodwill = {"amount": {"amount": 100, "currency": "INR"}, "reason": canaries.word(_mark("they waited"))}
        ok(await desk.post(f"/v1/appointments/{second['id']}/refunds", headers=_key(), json=goodwill), 201)
        async with stack.client("admin") as officer:
            answer = {"outcome": "granted", "text": canaries.word(_mark("we are sorry"))}
            ok(await officer.post(f"/v1/rights-requests/{grievance['id']}/answer", json=answer))
        for one in (first, second):
            ok(await cancel(who, one["id"], canaries.word(_mark("we travel"))))
        life = Life(str(tokens["user"]["id"]), phone, canaries, tokens, [first["id"], second["id"]])
        await _is_seen(stores, life)
        ok(await who.get("/v1/me"))
    return life


def _key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_urlsafe(16)}


async def _book(stack: Stack, who: httpx.AsyncClient, *, offer: str, patient: Json, reason: str) -> Json:
    """A free time that nobody else takes meanwhile."""
    what = DESK if offer == "desk" else VISIT
    for start in await stack.free_starts(what.provider_id, what.service_id, days=DAYS):
        answer = await stack.place(who, what.provider_id, what.service_id, start, patient=patient, reason=reason)
        if answer.status_code != 409:
            return ok(answer, 201)
    msg = "no time is free"
    raise AssertionError(msg)


async def _is_seen(stores: Repositories, life: Life) -> None:
    """What a visit leaves, without waiting for its day."""
    appointment = await stores.appointments.find(WORLD, life.bookings[1])
    assert appointment is not None
    await stores.consultations.add(WORLD, _summary(appointment, life))
    await stores.reviews.put(WORLD, _review(appointment, life))


def _summary(appointment: Appointment, life: Life) -> SummaryVersion:
    return a_summary(appointment, notes=life.canaries.word(_mark("rest and tea")))


def _review(appointment: Appointment, life: Life) -> Review:
    now = datetime.now(UTC)
    return Review(
        **appointment.model_dump(include={"tenant_id", "clinic_id", "provider_id", "practitioner_id", "subject_id"}),
        id=random_id("rev"),
        appointment_id=appointment.id,
        visited_at=appointment.start,
        opinion=Opinion(rating=5, comment=life.canaries.word(_mark("very kind"))),
        state=ReviewState.PUBLISHED,
        version=1,
        created_at=now,
        updated_at=now,
    )


async def at_rest(stack: Stack, client: Client, life: Life) -> None:
    """Return once nothing goes on for them any more."""

    async def busy() -> Json:
        running = await client.count_workflows(f'SubjectRef = "{life.subject_id}" AND ExecutionStatus = "Running"')
        texts = stack.db.notifications.count_documents({"subject_id": life.subject_id, "state": "queued"})
        told = stack.db.appointments.count_documents({"_id": {"$in": life.bookings}, "outbox.0": {"$exists": True}})
        return {"workflows": running.count, "texts": texts, "events": told}

    await eventually(busy, lambda seen: not any(seen.values()), 60)


@dataclass
class Office:
    """Who erases, in this process, over a stack's stores."""

    stack: Stack
    stores: Repositories
    temporal: Client
    redis: Redis
    erasers: dict[Store, Eraser]

    async def erase(self, subject_id: str, retained_under: RetentionClass, *only: Store) -> list[ErasureReceipt]:
        """One class, store by store."""
        at = datetime.now(UTC)
        return [
            receipt
            for store in only or STORES
            for receipt in await self.erasers[store].erase(subject_id, retained_under, at)
        ]

    def scanner(self) -> Scanner:
        """Who looks for what is left."""
        folder, settings = self.stack.folder, self.stack.settings
        return Scanner(
            settings,
            self.stack.servers.owner_mongodb_url(settings.database),
            logs=sorted(one for what in ("api", "worker") for one in folder.glob(f"{what}-*.log")),
            temporal=self.temporal,
            sandbox_url=settings.twilio_base_url,
        )


@asynccontextmanager
async def office_of(stack: Stack) -> AsyncIterator[Office]:
    """Connect to everything."""
    settings = stack.settings
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=nobody_asks)
    redis = Redis.from_url(settings.redis_url.get_secret_value())
    try:
        with carriers(settings) as carrier:
            client = await connect_temporal(settings)
            yield Office(stack, stores, client, redis, erasers(settings, stores, redis, client, carrier.redactor))
    finally:
        await redis.aclose()
        await stores.close()
