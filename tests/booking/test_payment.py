"""Paying: in time, too late, twice, wrongly signed. What the gateway says counts, and no paisa is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio

from models.identity import Account
from models.signatures import sign
from tests.booking.support import (
    a_start,
    ask,
    book,
    book_paid,
    cancel,
    claims_of,
    id_of,
    look,
    money_of,
    nothing_changes,
    ok,
    problem,
    send_what_was_lost,
    somebody,
    the_books_hold,
    until,
    until_given_up,
    until_refunded,
)
from tests.clinics import offer
from tests.stack import Json, Stack, eventually

VISIT, SWIFT_VISIT = offer("steady", "visit"), offer("swift", "visit")
SWIFT_FREE = offer("swift", "free")
SWIFT_SEAT = offer("swift", "class", "group")


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


def checkout(paid: Json, **changed: str) -> dict[str, str]:
    """What Checkout hands to the browser."""
    return {
        "razorpay_payment_id": paid["payment_id"],
        "razorpay_order_id": paid["order_id"],
        "razorpay_signature": paid["signature"],
        **changed,
    }


async def report(who: httpx.AsyncClient, appointment: str, paid: Json, **changed: str) -> httpx.Response:
    return await who.post(f"/v1/appointments/{appointment}/payment", json=checkout(paid, **changed))


async def pay(stack: Stack, held: Json, outcome: str = "authorized", **options: object) -> Json:
    return await stack.pay(held["payment"]["order_id"], outcome, **options)


async def bank_changes_its_mind(stack: Stack, paid: Json, outcome: str) -> None:
    """A payment that failed comes about after all."""
    await stack.pay(paid["order_id"], outcome, payment_id=paid["payment_id"])


@asynccontextmanager
async def nothing_happens_to(stack: Stack, appointment: str) -> AsyncIterator[None]:
    """Whatever the gateway tells within, the appointment, its books and its claim stay as they are."""
    query = {"$or": [{"_id": appointment}, {"appointment_id": appointment}]}
    names = ("appointments", "payments", "refunds", "ledger", "slots")

    async def drained() -> bool:
        return stack.db.appointments.count_documents({"_id": appointment, "outbox.0": {"$exists": True}}) == 0

    await eventually(drained, bool)
    before = {name: list(stack.db[name].find(query)) for name in names}
    yield
    assert {name: list(stack.db[name].find(query)) for name in names} == before


async def webhooks_of(stack: Stack, paid: Json, *events: str) -> None:
    """Wait until these webhooks about a payment have arrived."""

    async def arrived() -> set[str]:
        found = stack.db.webhook_inbox.find({"payment_id": paid["payment_id"], "waiting": {"$exists": False}})
        return {one["type"] for one in found}

    await eventually(arrived, lambda seen: seen >= set(events))


# In time


@pytest.mark.parametrize("outcome", ["authorized", "captured"])
async def test_the_browser_s_report_confirms(shared_stack: Stack, outcome: str) -> None:
    """No webhook comes: what Checkout returned is enough, also where the bank takes the money by itself."""
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        assert held["actions"] == ["pay", "cancel"]
        paid = await pay(shared_stack, held, outcome, webhook="never")
        confirmed = ok(await report(who, held["id"], paid))
        assert (confirmed["state"], confirmed["payment_state"]) == ("confirmed", "captured")
        assert (confirmed["payment"], confirmed["actions"]) == (None, ["cancel", "reschedule"])
        async with nothing_changes(shared_stack):
            assert ok(await report(who, held["id"], paid))["version"] == confirmed["version"]
    money = await money_of(shared_stack, held["id"])
    assert (money.statuses, money.kept) == (["captured"], 60_000)


async def test_webhook_and_report_at_once_capture_once(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        paid = await pay(shared_stack, held, webhook="thrice")
        answers = await asyncio.gather(*(report(who, held["id"], paid) for _ in range(5)))
        assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "confirmed")] * 5
        await webhooks_of(shared_stack, paid, "payment.authorized", "payment.captured", "order.paid")
        seen = await look(who, held["id"])
    assert [step["event"] for step in seen["history"]] == [
        "appointment.held",
        "appointment.order_ready",
        "appointment.confirmed",
    ]
    assert shared_stack.db.ledger.count_documents({"appointment_id": held["id"]}) == 1


async def test_a_report_that_is_not_genuine(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(somebody()) as other:
        held, another = await book(shared_stack, who, VISIT), await book(shared_stack, other, VISIT)
        # Nobody is told: the money for the other appointment is there, and no word of it.
        theirs = await pay(shared_stack, another, webhook="never")
        order_id = held["payment"]["order_id"]
        forged = sign(b"another secret", f"{order_id}|{theirs['payment_id']}".encode())
        wrong: list[dict[str, str]] = [
            checkout(theirs),
            checkout(theirs, razorpay_order_id=order_id),
            checkout(theirs, razorpay_order_id=order_id, razorpay_signature=forged),
            checkout(theirs, razorpay_order_id=order_id, razorpay_signature="0" * 64),
            checkout(theirs, razorpay_order_id=order_id, razorpay_signature="a"),
            checkout(theirs, razorpay_order_id=order_id, razorpay_signature=theirs["signature"].upper()),
        ]
        async with nothing_changes(shared_stack):
            for body in wrong:
                answer = await who.post(f"/v1/appointments/{held['id']}/payment", json=body)
                problem(answer, 400, "signature_invalid")
            problem(await report(who, another["id"], theirs), 404, "not_found")
            for name in checkout(theirs):
                for bad in ({"$ne": ""}, None, 7, "", "a b", "../x", "x" * 200):
                    body = {**checkout(theirs), name: bad}  # type: ignore[dict-item]  # that is the point
                    problem(await who.post(f"/v1/appointments/{held['id']}/payment", json=body), 422, "invalid")
        assert ok(await report(other, another["id"], theirs))["state"] == "confirmed"


async def test_nothing_is_paid_where_nothing_is_due(shared_stack: Stack) -> None:
    """An appointment without an order has no genuine report, whatever it is signed with."""
    async with shared_stack.client(somebody()) as who:
        paid = await pay(shared_stack, await book(shared_stack, who, VISIT), webhook="never")
        free = await book(shared_stack, who, offer("steady", "free"))
        async with nothing_changes(shared_stack):
            problem(await report(who, free["id"], paid), 400, "signature_invalid")


# Failed is not the end


async def test_a_failed_payment_ends_nothing(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        paid = await pay(shared_stack, held, "failed")
        await webhooks_of(shared_stack, paid, "payment.failed")
        waiting = await look(who, held["id"])
        assert (waiting["state"], waiting["payment_state"]) == ("held", "pending")
        assert waiting["actions"] == ["pay", "cancel"]
        await bank_changes_its_mind(shared_stack, paid, "authorized")
        await until(who, held["id"], state="confirmed", payment_state="captured")
    money = await money_of(shared_stack, held["id"])
    assert (money.statuses, money.kept) == (["captured"], 60_000)


async def test_a_second_try_after_a_failed_one(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        await pay(shared_stack, held, "failed")
        second = await pay(shared_stack, held)
        confirmed = await until(who, held["id"], state="confirmed")
        assert confirmed["payment_state"] == "captured"
    booked = shared_stack.db.appointments.find_one({"_id": held["id"]})
    assert booked is not None
    assert booked["payment_id"] == second["payment_id"]


# Not what was asked for


async def test_an_order_of_another_amount_never_confirms(shared_stack: Stack) -> None:
    """Somebody else's order bears our receipt and another amount: it is not ours, whoever pays it."""
    who = somebody()
    wanted = id_of(shared_stack, who, "mismatch")
    key = (shared_stack.settings.razorpay_key_id, shared_stack.settings.razorpay_key_secret.get_secret_value())
    async with shared_stack.control() as gateway, shared_stack.client(who) as person:
        body = {"amount": 100, "currency": "INR", "receipt": wanted, "payment": {"capture": "manual"}}
        order = ok(await gateway.post("/v1/orders", json=body, auth=key))
        start = await a_start(shared_stack, VISIT)
        placed = ok(await ask(shared_stack, person, VISIT, start, key="mismatch"), 201)
        assert placed["id"] == wanted
        ended = await until(person, wanted, state="cancelled")
        assert (ended["payment"], ended["payment_state"]) == (None, "pending")
        paid = await shared_stack.pay(order["id"])
        await webhooks_of(shared_stack, paid, "payment.authorized")
        problem(await report(person, wanted, paid), 400, "signature_invalid")
        assert (await look(person, wanted))["state"] == "cancelled"
        await until_given_up(shared_stack, wanted)
        assert start in await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id)
    assert (await money_of(shared_stack, wanted)).statuses == ["authorized"]


# Too late


class Lapsed(NamedTuple):
    """A booking that nobody paid, as it was while it was held, and its patient."""

    who: Account
    held: Json


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lapsed(shared_stack: Stack) -> list[Lapsed]:
    """One for each test below, expired side by side."""
    starts = await shared_stack.free_starts(SWIFT_VISIT.provider_id, SWIFT_VISIT.service_id)
    return list(await asyncio.gather(*(_let_lapse(shared_stack, start) for start in starts[:4])))


async def _let_lapse(stack: Stack, start: str) -> Lapsed:
    person = somebody()
    async with stack.client(person) as who:
        held = await book(stack, who, SWIFT_VISIT, start)
        await until(who, held["id"], state="expired")
    return Lapsed(person, held)


async def test_an_unpaid_hold_is_given_up(shared_stack: Stack, lapsed: list[Lapsed]) -> None:
    person, held = lapsed.pop()
    async with shared_stack.client(person) as who:
        seen = await look(who, held["id"])
        assert (seen["payment_state"], seen["payment"], seen["actions"]) == ("pending", None, [])
        assert seen["waiting_for"] is None
        await until_given_up(shared_stack, held["id"])
        assert held["start"] in await shared_stack.free_starts(SWIFT_VISIT.provider_id, SWIFT_VISIT.service_id)
        problem(await cancel(who, held["id"]), 409, "state_conflict")


async def test_a_seat_is_given_up_and_the_others_stay(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(somebody()) as other:
        start = await a_start(shared_stack, SWIFT_SEAT)
        held = await book(shared_stack, who, SWIFT_SEAT, start)
        stays = await book_paid(shared_stack, other, SWIFT_SEAT, start)
        await until(who, held["id"], state="expired")
        await until_given_up(shared_stack, held["id"])
        assert claims_of(shared_stack, stays["id"]) == 1


async def test_money_that_is_only_authorized_too_late_lapses(shared_stack: Stack, lapsed: list[Lapsed]) -> None:
    person, held = lapsed.pop()
    async with shared_stack.client(person) as who:
        paid = await pay(shared_stack, held)
        await until(who, held["id"], state="expired", payment_state="voided")
        told = ok(await report(who, held["id"], paid))
        assert (told["state"], told["payment_state"], told["refunds"]) == ("expired", "voided", [])
        async with shared_stack.control() as control:
            ok(await control.post("/_control/lapse", json={"payment_id": paid["payment_id"]}))
        await webhooks_of(shared_stack, paid, "refund.processed")
        async with nothing_changes(shared_stack):
            again = ok(await report(who, held["id"], paid))
        assert (again["state"], again["payment_state"], again["refunds"]) == ("expired", "voided", [])
    money = await money_of(shared_stack, held["id"])
    assert (money.statuses, money.kept) == (["refunded"], 0)
    assert shared_stack.db.ledger.count_documents({"appointment_id": held["id"]}) == 0


@pytest.mark.parametrize("told_by", ["webhook", "browser"])
async def test_money_that_the_bank_took_too_late_goes_back(
    shared_stack: Stack, lapsed: list[Lapsed], told_by: str
) -> None:
    person, held = lapsed.pop()
    async with shared_stack.client(person) as who, shared_stack.client(somebody()) as other:
        # The time is somebody else's by now: nothing brings the first booking back.
        ok(await ask(shared_stack, other, SWIFT_FREE, held["start"]), 201)
        paid = await pay(shared_stack, held, "captured", webhook="once" if told_by == "webhook" else "never")
        if told_by == "browser":
            assert ok(await report(who, held["id"], paid))["state"] == "expired"
            await send_what_was_lost(shared_stack, paid, "refund.processed")
        seen = await until_refunded(who, held["id"], "processed")
        assert (seen["state"], seen["payment_state"]) == ("expired", "refunded")
        assert [(one["amount"]["amount"], one["reason"]) for one in seen["refunds"]] == [(60_000, "late_payment")]
        told = ok(await report(who, held["id"], paid))
        assert (told["state"], told["payment_state"]) == ("expired", "refunded")
    money = await money_of(shared_stack, held["id"])
    assert (money.statuses, money.kept, len(money.refunds)) == (["refunded"], 0, 1)


async def test_a_payment_that_failed_in_time_and_was_taken_too_late(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, SWIFT_VISIT)
        paid = await pay(shared_stack, held, "failed")
        await until(who, held["id"], state="expired")
        await bank_changes_its_mind(shared_stack, paid, "captured")
        await until_refunded(who, held["id"], "processed")
    assert (await money_of(shared_stack, held["id"])).kept == 0


async def test_money_for_a_cancelled_booking_goes_back(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        assert ok(await cancel(who, held["id"]))["refund"] is None
        await pay(shared_stack, held, "captured")
        seen = await until_refunded(who, held["id"], "processed")
        assert (seen["state"], seen["payment_state"]) == ("cancelled", "refunded")
    assert (await money_of(shared_stack, held["id"])).kept == 0


# Twice


@pytest.mark.parametrize("bank", ["captured", "authorized"])
async def test_of_two_payments_one_is_kept(shared_stack: Stack, bank: str) -> None:
    """The first seemed to fail, the second settled the order, then the first came about: the gateway returns it."""
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        first = await pay(shared_stack, held, "failed")
        second = await pay(shared_stack, held)
        await webhooks_of(shared_stack, second, "payment.captured", "order.paid")
        confirmed = await until(who, held["id"], state="confirmed")
        async with nothing_happens_to(shared_stack, held["id"]):
            await bank_changes_its_mind(shared_stack, first, bank)
            await webhooks_of(shared_stack, first, "payment.authorized", "refund.created", "refund.processed")
            assert ok(await report(who, held["id"], first))["version"] == confirmed["version"]
        money = await money_of(shared_stack, held["id"])
        assert (money.statuses, money.kept) == (["refunded", "captured"], 60_000)
        # What was paid once is given back once.
        assert ok(await cancel(who, held["id"]))["refund"]["amount"]["amount"] == 60_000
        await until_refunded(who, held["id"], "processed")
    assert (await money_of(shared_stack, held["id"])).kept == 0


async def test_two_payments_before_anybody_is_told(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        first = await pay(shared_stack, held, "failed", webhook="never")
        second = await pay(shared_stack, held, "captured", webhook="never")
        await shared_stack.pay(first["order_id"], "captured", payment_id=first["payment_id"], webhook="never")
        assert ok(await report(who, held["id"], first))["state"] == "confirmed"
    booked = shared_stack.db.appointments.find_one({"_id": held["id"]})
    assert booked is not None
    assert (booked["payment_id"], booked["refunds"]) == (second["payment_id"], [])
    assert (await money_of(shared_stack, held["id"])).kept == 60_000
