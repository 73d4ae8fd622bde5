"""The product as a client sees it: times are booked and paid over HTTP, nothing is reached from inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import cycle
from typing import Any, NamedTuple
from uuid import uuid4

from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream

from adapters.settings import Settings
from bench.catalogue import ALWAYS_OPEN, PATIENTS, REGULARS, Time, times, tokens
from bench.http import Answer, Pool, pool, prepared
from models.booking import AppointmentState

CONNECTIONS = 40
CONFIRM_SECONDS = 30.0
MONGO_SECONDS = 30_000
REASON = "Fever and a sore throat since Monday evening; no known allergies."


class BenchError(Exception):
    """The system under test did not do what it should; its figures would mean nothing."""


class Placed(NamedTuple):
    """A held time and the order that pays it."""

    appointment_id: str
    order_id: str


class Confirmations:
    """Wakes who waits for an appointment to be confirmed; fed by one change stream, which costs the API nothing."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._waiting: dict[str, asyncio.Event] = {}

    def event(self, appointment_id: str) -> asyncio.Event:
        """Set as soon as the appointment is confirmed, be that before or after this call."""
        return self._waiting.setdefault(appointment_id, asyncio.Event())

    async def follow(self, stream: AsyncChangeStream[dict[str, Any]]) -> None:
        """Read the stream until cancelled."""
        async for change in stream:
            self.event(change["documentKey"]["_id"]).set()


class Product:
    """One patient after the other books, pays and is confirmed."""

    def __init__(
        self, api_url: str, settings: Settings, api: Pool, sandbox: Pool, confirmations: Confirmations
    ) -> None:
        """Connections to the API and to the payment sandbox, and who hears of confirmations."""
        self.settings = settings
        self.api_url = api_url
        self._sandbox_url = settings.razorpay_base_url
        self._api = api
        self._sandbox = sandbox
        self._confirmations = confirmations
        self._times: Iterator[Time] = times(ALWAYS_OPEN)
        self.tokens = tokens(settings, PATIENTS)
        self._patients: Iterator[str] = cycle(self.tokens[:REGULARS])

    async def place(self) -> Placed:
        """Hold a time. Raises `BenchError`."""
        request = self.placing(next(self._times), next(self._patients))
        answer = await self._api.ask(request)
        appointment = _expected(answer, HTTPStatus.CREATED)
        payment = appointment["payment"]
        if payment is None or payment["order_id"] is None:
            raise BenchError(f"an appointment without an order: {appointment}")
        return Placed(appointment["id"], payment["order_id"])

    def placing(self, time: Time, token: str) -> bytes:
        """The request to book a time, with an Idempotency-Key of its own."""
        body = {
            "provider_id": time.provider_id,
            "service_id": time.service_id,
            "start": time.start.isoformat().replace("+00:00", "Z"),
            "reason": REASON,
        }
        return prepared("POST", f"{self.api_url}/v1/appointments", token=token, body=body, idempotency_key=str(uuid4()))

    async def pay(self, placed: Placed) -> None:
        """Authorize the order's payment; the gateway tells the API by webhook. Raises `BenchError`."""
        body = {"order_id": placed.order_id, "outcome": "authorized", "webhook": "once"}
        answer = await self._sandbox.ask(prepared("POST", f"{self._sandbox_url}/_control/payments", body=body))
        _expected(answer, HTTPStatus.OK)

    async def confirmed(self, placed: Placed) -> None:
        """Wait until the appointment is confirmed. Raises `TimeoutError`."""
        async with asyncio.timeout(CONFIRM_SECONDS):
            await self._confirmations.event(placed.appointment_id).wait()

    async def book(self) -> None:
        """Place, pay, be confirmed."""
        placed = await self.place()
        await self.pay(placed)
        await self.confirmed(placed)

    async def only_place(self) -> None:
        """Place and leave it there."""
        await self.place()


def _expected(answer: Answer, status: HTTPStatus) -> Mapping[str, Any]:
    if answer.status != status:
        raise BenchError(f"{answer.status} instead of {status}: {answer.body[:500]!r}")
    return answer.json()


@asynccontextmanager
async def product(api_url: str, settings: Settings) -> AsyncIterator[Product]:
    """Clients of a running stack until the block ends."""
    confirmations = Confirmations()
    url = settings.mongodb_url.get_secret_value()
    confirmed = {
        "operationType": {"$in": ["update", "replace"]},
        "updateDescription.updatedFields.state": AppointmentState.CONFIRMED,
    }
    async with (
        AsyncMongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=MONGO_SECONDS) as client,
        await client[settings.database]["appointments"].watch([{"$match": confirmed}]) as stream,
        pool(api_url, CONNECTIONS) as api,
        pool(settings.razorpay_base_url, CONNECTIONS) as sandbox,
        _background(confirmations.follow(stream)),
    ):
        yield Product(api_url, settings, api, sandbox, confirmations)


@asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
