"""The people of the story and what they can do: everything goes over HTTP to the API or to the sandbox's control."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, Literal, Self, TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx

from adapters.connections import connect_temporal
from adapters.settings import Settings
from adapters.sightings import Scanner
from cli.accounts import ACCOUNTS, mint, patient
from cli.demo.views import (
    AppointmentSeen,
    AuditSeen,
    ChallengeSeen,
    KeysSeen,
    Ledger,
    MessagesSeen,
    OrderEntry,
    PaidSeen,
    PaymentEntry,
    ProviderSeen,
    ProvidersSeen,
    RefundEntry,
    ServiceSeen,
    SlotsSeen,
    TokenSeen,
    View,
    WorkflowSeen,
)
from cli.stack import LocalStack
from models.compliance import AuditAction
from models.disguises import Canaries, Sighting
from models.identity import Account
from models.ids import booking_workflow_id
from models.money import Money

PATIENCE: Final = 20.0
"""Seconds that anything in the story may take; what takes longer has failed."""

POLL_SECONDS: Final = 0.2

V = TypeVar("V", bound=View)
Say = Callable[[str], None]
"""Tells the audience what is going on."""


@dataclass(frozen=True)
class Ending:
    """How an act ended: the appointment that it was about, if there still is one, and what happened in words."""

    appointment: AppointmentSeen | None
    happened: str
    workflow: str | None = None
    """The id of what the audience should look at, where that is not the appointment's workflow."""

    @property
    def workflow_id(self) -> str:
        """What the audience may look at. Raises `StoryError` where there is nothing."""
        return booking_workflow_id(self.visit.id) if self.workflow is None else self.workflow

    @property
    def visit(self) -> AppointmentSeen:
        """The appointment that it was about. Raises `StoryError` where there is none any more."""
        if self.appointment is None:
            raise StoryError("there is no visit any more")
        return self.appointment


class StoryError(Exception):
    """Something went otherwise than the story says; the text says what."""


def insist(holds: bool, otherwise: str) -> None:  # noqa: FBT001  a condition is all this takes
    """Raise `StoryError` unless the condition holds."""
    if not holds:
        raise StoryError(otherwise)


@dataclass(frozen=True)
class Time:
    """A free time of a doctor."""

    provider_id: str
    doctor: str
    service_id: str
    fee: Money
    start: datetime
    zone: ZoneInfo

    def __str__(self) -> str:
        """As a person would say it, in the clinic's wall time."""
        return f"{self.start.astimezone(self.zone):%a %d %b, %H:%M} with {self.doctor}"


class Stage:
    """The running stack as its clients see it; an asynchronous context manager."""

    def __init__(self, stack: LocalStack) -> None:
        """Nothing is sent yet."""
        self._stack = stack
        self._settings = stack.settings
        limits = httpx.Limits(max_connections=100)
        self.api = httpx.AsyncClient(base_url=f"{stack.api_url}/v1", timeout=PATIENCE, limits=limits, trust_env=False)
        self._control = httpx.AsyncClient(base_url=f"{stack.sandbox_url}/_control", timeout=PATIENCE, trust_env=False)
        self._admin = self._headers(ACCOUNTS["admin"])

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let go of the connections."""
        await self.api.aclose()
        await self._control.aclose()

    def visitor(self, number: int) -> Visitor:
        """One of any number of patients."""
        return Visitor(self.api, self._headers(patient(number)))

    def person(self, account: Account) -> Person:
        """Somebody who works here."""
        return Person(self.api, self._headers(account))

    async def newcomer(self, phone: str, name: str) -> Visitor:
        """A patient who signs in by the code that comes to their phone."""
        body = {**await self.proof(phone), "name": name}
        token = seen(await self.api.post("/auth/otp/verify", json=body), TokenSeen).access_token
        return self.bearer(token)

    async def proof(self, phone: str) -> dict[str, str]:
        """Ask for a code, and read it from the phone."""
        before = await self.letters_to(phone)
        asked = seen(await self.api.post("/auth/otp", json={"phone": phone}), ChallengeSeen, HTTPStatus.ACCEPTED)
        return {"challenge_id": asked.challenge_id, "code": await self.new_code(phone, before)}

    async def new_code(self, phone: str, before: list[str]) -> str:
        """The code in a message that has come since the phone had those."""
        give_up = time.monotonic() + PATIENCE
        while True:
            letters = await self.letters_to(phone)
            fresh = letters[: len(letters) - len(before)]
            if code := re.search(r"^\d{6}\b", "\n".join(fresh), re.MULTILINE):
                return code.group()
            insist(time.monotonic() < give_up, "the code has not come")
            await asyncio.sleep(POLL_SECONDS)

    def bearer(self, token: str) -> Visitor:
        """Whoever has this token."""
        return Visitor(self.api, {"Authorization": f"Bearer {token}"})

    def _headers(self, account: Account) -> dict[str, str]:
        return {"Authorization": f"Bearer {mint(self._settings, account)}"}

    async def free_time(self, doctor: str, service: str, earliest: timedelta, latest: timedelta) -> Time:
        """The first free time of a doctor's service that is at least `earliest` and at most `latest` away."""
        profile, offered = await self._offer(doctor, service)
        zone = ZoneInfo(profile.clinic.timezone)
        first, last = datetime.now(UTC) + earliest, datetime.now(UTC) + latest
        days = {"from": f"{first.astimezone(zone):%Y-%m-%d}", "to": f"{last.astimezone(zone):%Y-%m-%d}"}
        listed = await self.api.get(f"/providers/{profile.id}/slots", params={"service_id": offered.id, **days})
        start = next((slot.start for slot in seen(listed, SlotsSeen).items if first <= slot.start <= last), None)
        if start is None:
            raise StoryError(f"{doctor} has no free time between {first:%d %b %H:%M} and {last:%d %b %H:%M} UTC")
        return Time(profile.id, profile.name, offered.id, offered.fee, start, zone)

    async def _offer(self, doctor: str, service: str) -> tuple[ProviderSeen, ServiceSeen]:
        """The profile that offers it: a doctor has one at each clinic, that with the next free time first."""
        found = seen(await self.api.get("/providers", params={"q": doctor}), ProvidersSeen).items
        insist(bool(found), f"{doctor} is not found")
        for one in found:
            profile = seen(await self.api.get(f"/providers/{one.id}"), ProviderSeen)
            for offered in profile.services:
                if offered.name == service:
                    return profile, offered
        raise StoryError(f"{doctor} does not offer {service!r}")

    async def is_free(self, when: Time) -> bool:
        """Whether the time is offered to everybody."""
        day = f"{when.start.astimezone(when.zone):%Y-%m-%d}"
        params = {"service_id": when.service_id, "from": day, "to": day}
        listed = await self.api.get(f"/providers/{when.provider_id}/slots", params=params)
        return any(slot.start == when.start for slot in seen(listed, SlotsSeen).items)

    async def somebody_pays(self, order_id: str, outcome: Literal["authorized", "captured"]) -> PaidSeen:
        """Pay an order at the sandbox, as a person at the checkout (or their bank by itself) would."""
        answer = await self._control.post("/payments", json={"order_id": order_id, "outcome": outcome})
        return seen(answer, PaidSeen)

    async def ledger(self) -> Ledger:
        """Everything that the gateway knows."""
        return seen(await self._control.get("/ledger"), Ledger)

    async def money_of(self, appointment_id: str) -> Traces:
        """What the gateway knows of one appointment; our receipt on its order is the appointment's id."""
        ledger = await self.ledger()
        orders = [order for order in ledger.orders if order.receipt == appointment_id]
        insist(len(orders) == 1, f"the gateway has {len(orders)} orders for one appointment")
        payments = [one for one in ledger.payments if one.order_id == orders[0].id]
        paid = {one.id for one in payments}
        return Traces(orders[0], payments, [one for one in ledger.refunds if one.payment_id in paid])

    async def letters_to(self, address: str) -> list[str]:
        """The texts of everything that was sent to a phone or mailbox, newest first."""
        found = await self._control.get("/messages", params={"to": address})
        return [one.text for one in seen(found, MessagesSeen).items]

    async def as_admin(self, method: str, path: str, body: dict[str, str]) -> None:
        """What the platform's admin does. Raises `StoryError` where it is refused."""
        answer = await self.api.request(method, path, json=body, headers=self._admin)
        insist(answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:200]}")

    async def workflow_link(self, workflow_id: str) -> str | None:
        """Where the Temporal UI shows it, if it was not erased."""
        answer = await self.api.get(f"/operations/workflows/{workflow_id}", headers=self._admin)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else seen(answer, WorkflowSeen).temporal_ui_url

    async def keys_destroyed(self, subject_id: str) -> set[str]:
        """Of which classes the audit says that this patient's keys were destroyed."""
        params = {"patient_id": subject_id, "action": str(AuditAction.KEY_DESTROYED)}
        page = seen(await self.api.get("/audit", params=params, headers=self._admin), AuditSeen)
        return {one.target.rpartition(":")[2] for one in page.items}

    async def published_keys(self) -> KeysSeen:
        """The keys that our signatures are checked against, as anybody may fetch them."""
        async with httpx.AsyncClient(base_url=self._stack.api_url, timeout=PATIENCE, trust_env=False) as anybody:
            return seen(await anybody.get("/.well-known/jwks.json"), KeysSeen)

    async def sightings(self, canaries: Canaries) -> list[Sighting]:
        """Where anything of these words is found, in whichever store and disguise."""
        reader = self._stack.addresses.reader_mongodb_url(self._settings.database)
        client = await connect_temporal(self._settings)
        scanner = Scanner(
            self._settings,
            reader,
            logs=self._stack.log_files,
            temporal=client,
            sandbox_url=self._stack.sandbox_url,
        )
        return await scanner.scan(canaries)

    @property
    def settings(self) -> Settings:
        """What the stack runs with."""
        return self._settings


@dataclass(frozen=True)
class Traces:
    """An appointment's order, payments and refunds in the gateway's own ledger."""

    order: OrderEntry
    payments: list[PaymentEntry]
    refunds: list[RefundEntry]


class Person:
    """Somebody with a token; answers are raw, since what is told of them differs."""

    def __init__(self, api: httpx.AsyncClient, headers: dict[str, str]) -> None:
        """Requests go out with these headers."""
        self._api = api
        self._headers = headers

    async def get(self, path: str) -> httpx.Response:
        """Read something."""
        return await self._api.get(path, headers=self._headers)

    async def post(
        self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Do something."""
        return await self._api.post(path, json=body, headers={**self._headers, **(headers or {})})

    async def put(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        """Replace what is there, or put the first one there."""
        found = await self.get(path)
        headers = {**self._headers, "If-Match": found.headers.get("etag", '"0"')}
        return await self._api.put(path, json=body, headers=headers)


class Visitor(Person):
    """A patient with a token."""

    async def ask_for(self, when: Time) -> httpx.Response:
        """Try to book; the raw answer, since it may be a refusal."""
        body = {"provider_id": when.provider_id, "service_id": when.service_id, "start": when.start.isoformat()}
        headers = {**self._headers, "Idempotency-Key": str(uuid4())}
        return await self._api.post("/appointments", json=body, headers=headers)

    async def book(self, when: Time) -> AppointmentSeen:
        """Book, and wait until there is an order to pay."""
        appointment = seen(await self.ask_for(when), AppointmentSeen, HTTPStatus.CREATED)
        insist(appointment.state == "held", f"the new booking is {appointment.state}, not held")
        return await self.until(appointment.id, lambda one: order_of(one) is not None, "there is something to pay")

    async def look(self, appointment_id: str) -> AppointmentSeen:
        """The appointment as it stands."""
        return seen(await self._api.get(f"/appointments/{appointment_id}", headers=self._headers), AppointmentSeen)

    async def until(
        self, appointment_id: str, condition: Callable[[AppointmentSeen], bool], what: str
    ) -> AppointmentSeen:
        """Look until the condition holds. Raises `StoryError` where it does not within `PATIENCE` seconds."""
        give_up = time.monotonic() + PATIENCE
        while True:
            appointment = await self.look(appointment_id)
            if condition(appointment):
                return appointment
            if time.monotonic() > give_up:
                standing = f"{appointment.state}, {appointment.payment_state}"
                raise StoryError(f"after {PATIENCE:.0f} s it does not hold that {what}: still {standing}")
            await asyncio.sleep(POLL_SECONDS)

    async def report_payment(self, appointment_id: str, paid: PaidSeen) -> None:
        """Hand in what the checkout gave to the browser."""
        body = {
            "razorpay_payment_id": paid.payment_id,
            "razorpay_order_id": paid.order_id,
            "razorpay_signature": paid.signature,
        }
        await self._change(appointment_id, "payment", body, lambda one: one.state == "confirmed")

    async def reschedule(self, appointment_id: str, when: Time) -> AppointmentSeen:
        """Take another time."""
        body = {"start": when.start.isoformat()}
        return await self._change(appointment_id, "reschedule", body, lambda one: one.start == when.start)

    async def review(self, appointment_id: str, opinion: Mapping[str, object]) -> httpx.Response:
        """Say how a visit was."""
        path = f"/appointments/{appointment_id}/review"
        return await self._api.put(path, json=opinion, headers=self._headers)

    async def cancel(self, appointment_id: str) -> AppointmentSeen:
        """Cancel."""
        body = {"reason": "Something came up at work"}
        return await self._change(appointment_id, "cancel", body, lambda one: one.state == "cancelled")

    async def _change(
        self, appointment_id: str, what: str, body: Mapping[str, object], done: Callable[[AppointmentSeen], bool]
    ) -> AppointmentSeen:
        """Ask for a change. Whoever is told that it took too long looks what came of it, and asks again if nothing."""
        give_up = time.monotonic() + PATIENCE
        while True:
            answer = await self._api.post(f"/appointments/{appointment_id}/{what}", json=body, headers=self._headers)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > give_up:
                return seen(answer, AppointmentSeen)
            await asyncio.sleep(POLL_SECONDS)
            appointment = await self.look(appointment_id)
            if done(appointment):
                return appointment


def order_of(appointment: AppointmentSeen) -> str | None:
    """The gateway's order, once there is one."""
    return appointment.payment.order_id if appointment.payment else None


def seen(answer: httpx.Response, view: type[V], status: HTTPStatus = HTTPStatus.OK) -> V:
    """Read an answer. Raises `StoryError` where it has another status than it should."""
    if answer.status_code != status:
        raise StoryError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:200]}")
    return view.model_validate_json(answer.content)
