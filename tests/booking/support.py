"""What the booking tests share: patients that nobody else knows, and what must not have changed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import httpx
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.connections import connect_temporal
from cli.accounts import patient
from models.identity import Account
from models.ids import appointment_id, booking_workflow_id
from tests.clinics import SWIFT_TENANT, Offer
from tests.contents import DIGESTS, digests
from tests.invariants import collect, violations
from tests.stack import Json, Stack, eventually
from workflows.gateway import PLACE_ROUTE

_NUMBERS = itertools.count(10_000)
_IDLE = frozenset({"relay_leases", "audit", "provider_days", "notices", "notifications"})
"""What changes while nobody asks for anything: the relay's lease, the audit, which it writes after the fact, what
people are told of that, and the search's entries, which it makes anew every now and then."""

_LATER = {"appointments": {"reminders": 0, "follow_up": 0}}
"""What is noted after the fact within what people change: why a visit that is booked late is not reminded of."""

_BY_THEMSELVES = ("notify:", "reminder:")
"""Workflows that begin after the fact, some of them when a reminder is due."""

QUIET_SECONDS = 20.0


def somebody() -> Account:
    """A patient whom no other test knows."""
    return patient(next(_NUMBERS))


def problem(answer: httpx.Response, status: int, code: str) -> Json:
    """The problem that an answer must be."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: Json = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == f"urn:visitnow:request:{answer.headers['x-request-id']}"
    return body


def ok(answer: httpx.Response, status: int = HTTPStatus.OK) -> Json:
    """The body of an answer that must have that status."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    body: Json = answer.json()
    return body


async def a_start(stack: Stack, offer: Offer, *, days: tuple[int, int] = (3, 12)) -> str:
    """The first free start."""
    return (await stack.free_starts(offer.provider_id, offer.service_id, days=days))[0]


async def start_in(stack: Stack, offer: Offer, hours: float) -> str:
    """The first free start that is at least so many hours away."""
    earliest = datetime.now(UTC) + timedelta(hours=hours)
    free = await stack.free_starts(offer.provider_id, offer.service_id, days=(0, 3))
    return next(start for start in free if datetime.fromisoformat(start) >= earliest)


async def ask(stack: Stack, who: httpx.AsyncClient, offer: Offer, start: str, **more: object) -> httpx.Response:
    """Try to book; `key` is the Idempotency-Key, everything else goes into the body."""
    key = more.pop("key", None)
    return await stack.place(
        who, offer.provider_id, offer.service_id, start, key=None if key is None else str(key), **more
    )


async def book(stack: Stack, who: httpx.AsyncClient, offer: Offer, start: str | None = None, **more: object) -> Json:
    """Book, and wait until there is something to pay where there ever will be."""
    placed = ok(await ask(stack, who, offer, start or await a_start(stack, offer), **more), HTTPStatus.CREATED)
    if placed["state"] != "held":
        return placed
    return await eventually(
        lambda: look(who, placed["id"]), lambda seen: seen["payment"] is None or seen["payment"]["status"] == "ready"
    )


async def book_paid(
    stack: Stack, who: httpx.AsyncClient, offer: Offer, start: str | None = None, outcome: str = "authorized"
) -> Json:
    """Book, pay, and wait for the confirmation."""
    held = await book(stack, who, offer, start)
    await stack.pay(held["payment"]["order_id"], outcome)
    return await until(who, held["id"], state="confirmed")


async def look(who: httpx.AsyncClient, appointment: str) -> Json:
    """The appointment as it stands."""
    return ok(await who.get(f"/v1/appointments/{appointment}"))


async def until(who: httpx.AsyncClient, appointment: str, **wanted: str) -> Json:
    """The appointment once its fields have these values."""
    return await eventually(
        lambda: look(who, appointment), lambda seen: all(seen[name] == value for name, value in wanted.items())
    )


async def until_refunded(who: httpx.AsyncClient, appointment: str, *states: str) -> Json:
    """The appointment once its refunds have these states."""
    return await eventually(
        lambda: look(who, appointment), lambda seen: [one["state"] for one in seen["refunds"]] == list(states)
    )


async def cancel(who: httpx.AsyncClient, appointment: str, reason: str = "not needed any more") -> httpx.Response:
    """Try to cancel."""
    return await who.post(f"/v1/appointments/{appointment}/cancel", json={"reason": reason})


async def say(who: httpx.AsyncClient, appointment: str, step: str, **body: object) -> httpx.Response:
    """Try to say how far a visit is: `check-in`, `start`, `complete` or `no-show`."""
    return await who.post(f"/v1/appointments/{appointment}/{step}", json=body or None)


async def reschedule(who: httpx.AsyncClient, appointment: str, start: str, **more: object) -> httpx.Response:
    """Try to move a visit."""
    return await who.post(f"/v1/appointments/{appointment}/reschedule", json={"start": start, **more})


async def temporal(stack: Stack) -> Client:
    """A client of the stack's namespace."""
    return await connect_temporal(stack.settings)


def id_of(stack: Stack, who: Account, key: str) -> str:
    """The id of the appointment that this patient's key stands for."""
    return appointment_id(stack.settings.id_secret, who.tenant_id, who.id, PLACE_ROUTE, key)


async def workflow_status(client: Client, appointment: str) -> WorkflowExecutionStatus | None:
    """How far the booking's workflow is; None where there never was one."""
    try:
        return (await client.get_workflow_handle(booking_workflow_id(appointment)).describe()).status
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


@dataclass(frozen=True)
class World:
    """Everything in the database and every workflow that began lately, at one moment."""

    documents: dict[str, list[Json]]
    workflows: dict[tuple[str, str], datetime]


@dataclass(frozen=True)
class Money:
    """One appointment's payments and refunds at the gateway."""

    payments: list[Json]
    refunds: list[Json]

    @property
    def statuses(self) -> list[str]:
        return [one["status"] for one in self.payments]

    @property
    def kept(self) -> int:
        """What the gateway took and did not send back, in paise."""
        taken = [one for one in self.payments if one["captured"]]
        return sum(one["amount"] - one["amount_refunded"] for one in taken)


def _documents(stack: Stack) -> dict[str, list[Json]]:
    return {
        name: list(stack.db[name].find({}, _LATER.get(name), sort=[("_id", 1)]))
        for name in sorted(stack.db.list_collection_names())
        if name not in _IDLE
    }


async def _workflows(client: Client, since: datetime) -> dict[tuple[str, str], datetime]:
    return {
        (one.id, one.run_id): one.start_time
        async for one in client.list_workflows(f"StartTime >= '{since.isoformat()}'")
        if not one.id.startswith(_BY_THEMSELVES)
    }


def _has_plans(stack: Stack) -> bool:
    """Whether something is about to happen by itself: a hold that expires, a refund, a word that waits, an event."""
    soon = {"state": "held", "tenant_id": SWIFT_TENANT.id}
    told = {"outbox.0": {"$exists": True}}
    plans = (
        ("appointments", soon),
        ("appointments", told),
        ("refunds", {"is_open": True}),
        ("webhook_inbox", {"waiting": True}),
    )
    return any(stack.db[name].count_documents(query) for name, query in plans)


async def world(stack: Stack, client: Client, since: datetime) -> World:
    """The world once nothing moves any more, with the workflows that began since then."""
    give_up = time.monotonic() + QUIET_SECONDS
    while _has_plans(stack):
        assert time.monotonic() < give_up, "an earlier test has left something unfinished"
        await asyncio.sleep(0.1)
    before = None
    while True:
        # Digests show that it rests; only what is kept for the comparison is read as a whole.
        after = digests(stack.db.command(DIGESTS), without=_IDLE), await _workflows(client, since)
        if after == before:
            return World(_documents(stack), after[1])
        assert time.monotonic() < give_up, "the stack does not come to rest"
        before = after
        await asyncio.sleep(0.15)


@asynccontextmanager
async def nothing_changes(stack: Stack) -> AsyncIterator[None]:
    """Whatever is asked within, database and workflows are afterwards as they were."""
    client, since = await temporal(stack), datetime.now(UTC)
    before, began = await world(stack, client, since), datetime.now(UTC)
    yield
    after = await world(stack, client, since)
    changed = [name for name in after.documents if after.documents[name] != before.documents.get(name)]
    assert changed == [], [(before.documents.get(name), after.documents[name]) for name in changed]
    # What Temporal lists comes late: only what was started since counts.
    assert [one for one, started in after.workflows.items() if started >= began and one not in before.workflows] == []


async def the_books_hold(stack: Stack) -> None:
    """Every invariant holds of every appointment there is, once all is at rest."""
    client = await temporal(stack)
    give_up = time.monotonic() + QUIET_SECONDS
    while True:
        ids = [one["_id"] for one in stack.db.appointments.find({}, {"_id": 1})]
        if not (broken := violations(await collect(stack, client, only=ids))):
            return
        assert time.monotonic() < give_up, "\n".join(broken)
        await asyncio.sleep(0.2)


async def money_of(stack: Stack, appointment: str) -> Money:
    """What the gateway's own ledger knows of an appointment, oldest first."""
    ledger = await stack.ledger()
    orders = {one["id"] for one in ledger["orders"] if one["receipt"] == appointment}
    payments = [one for one in ledger["payments"] if one["order_id"] in orders]
    paid = {one["id"] for one in payments}
    return Money(payments, [one for one in ledger["refunds"] if one["payment_id"] in paid])


async def send_what_was_lost(stack: Stack, paid: Json, event: str) -> None:
    """A webhook that never left is sent after all, once it is there."""
    async with stack.control() as control:

        async def lost() -> list[str]:
            sent = ok(await control.get("/_control/webhooks"))["items"]
            mine = [one for one in sent if (one["payment_id"], one["event"]) == (paid["payment_id"], event)]
            return [one["event_id"] for one in mine]

        for event_id in await eventually(lost, bool):
            ok(await control.post(f"/_control/webhooks/{event_id}/send"))


def claims_of(stack: Stack, appointment: str) -> int:
    """How many claims or seats an appointment has."""
    return stack.db.slots.count_documents({"$or": [{"_id": appointment}, {"seats.owner": appointment}]})


async def until_given_up(stack: Stack, appointment: str) -> None:
    """Wait until its claim or seat is free: an appointment says that it expired a moment before."""

    async def claims() -> int:
        return await asyncio.to_thread(claims_of, stack, appointment)

    await eventually(claims, lambda count: count == 0)


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    """The statuses in order."""
    return sorted(answer.status_code for answer in answers)
