"""Refunds by the clinic's decision, and what becomes of refunds that the gateway carries out late or never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest_asyncio

from models.identity import Role
from models.ids import refund_workflow_id
from tests.booking.support import (
    book,
    book_paid,
    cancel,
    look,
    money_of,
    nothing_changes,
    ok,
    problem,
    somebody,
    start_in,
    statuses,
    the_books_hold,
    until,
    until_refunded,
)
from tests.clinics import employee, offer
from tests.stack import Json, Stack, eventually

VISIT = offer("steady", "visit")
FEE = 60_000


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


@pytest_asyncio.fixture(loop_scope="session")
async def who(shared_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A patient."""
    async with shared_stack.client(somebody()) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def clinic(shared_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """The clinic's front desk."""
    async with shared_stack.client(employee("steady", Role.STAFF)) as client:
        yield client


async def refund(
    clinic: httpx.AsyncClient, appointment: str, paise: object, key: str = "once", reason: object = "a long wait"
) -> httpx.Response:
    return await clinic.post(
        f"/v1/appointments/{appointment}/refunds",
        headers={"Idempotency-Key": key},
        json={"amount": {"amount": paise, "currency": "INR"}, "reason": reason},
    )


async def plan(stack: Stack, appointment: str, outcome: str) -> None:
    """Decide what becomes of the refunds of an appointment's payment."""
    payment = stack.db.appointments.find_one({"_id": appointment}, {"payment_id": 1})
    assert payment is not None
    async with stack.control() as control:
        body = {"outcome": outcome, "payment_id": payment["payment_id"]}
        ok(await control.post("/_control/refunds", json=body))


async def decide(stack: Stack, refund_id: str, status: str) -> None:
    """The bank takes or refuses a refund that has been pending."""
    sent = next(one for one in (await stack.ledger())["refunds"] if one["receipt"] == refund_id)
    async with stack.control() as control:
        ok(await control.post(f"/_control/refunds/{sent['id']}", json={"status": status}))


def _all_processed(seen: Json) -> bool:
    return {one["state"] for one in seen["refunds"]} == {"processed"}


# By decision


async def test_in_parts_up_to_the_whole(shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    assert "refund" in (await look(clinic, confirmed["id"]))["actions"]
    first = await refund(clinic, confirmed["id"], 10_000, "first")
    assert first.headers["location"] == f"/v1/appointments/{confirmed['id']}/refunds"
    assert ok(first, 201)["amount"] == {"amount": 10_000, "currency": "INR"}
    assert (await until_refunded(who, confirmed["id"], "processed"))["payment_state"] == "partially_refunded"
    async with nothing_changes(shared_stack):
        problem(await refund(clinic, confirmed["id"], 50_001, "too much"), 422, "refund_exceeds_payment")
    ok(await refund(clinic, confirmed["id"], 50_000, "second"), 201)
    seen = await until_refunded(who, confirmed["id"], "processed", "processed")
    assert (seen["state"], seen["payment_state"]) == ("confirmed", "refunded")
    assert "refund" not in (await look(clinic, confirmed["id"]))["actions"]
    async with nothing_changes(shared_stack):
        problem(await refund(clinic, confirmed["id"], 100, "more"), 422, "refund_exceeds_payment")
    listed = ok(await clinic.get(f"/v1/appointments/{confirmed['id']}/refunds"))["items"]
    assert [(one["amount"]["amount"], one["state"], one["reason"], one["note"]) for one in listed] == [
        (10_000, "processed", "goodwill", "a long wait"),
        (50_000, "processed", "goodwill", "a long wait"),
    ]
    # The patient sees the refunds, not the clinic's words about them.
    mine = ok(await who.get(f"/v1/appointments/{confirmed['id']}/refunds"))["items"]
    assert [(one["id"], one["note"]) for one in mine] == [(one["id"], None) for one in listed]
    assert (await money_of(shared_stack, confirmed["id"])).kept == 0


async def test_what_was_refunded_is_not_given_back_again(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    ok(await refund(clinic, confirmed["id"], 45_000), 201)
    cancelled = ok(await cancel(who, confirmed["id"]))
    assert cancelled["refund"]["amount"]["amount"] == FEE - 45_000
    assert (await until_refunded(who, confirmed["id"], "processed", "processed"))["payment_state"] == "refunded"
    assert (await money_of(shared_stack, confirmed["id"])).kept == 0


async def test_more_than_the_policy_gives(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    """The patient cancelled late and got half of it; the clinic is generous afterwards, with its workflow closed."""
    confirmed = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 5))
    ok(await cancel(who, confirmed["id"]))
    await until_refunded(who, confirmed["id"], "processed")
    ok(await refund(clinic, confirmed["id"], FEE // 2), 201)
    seen = await until_refunded(who, confirmed["id"], "processed", "processed")
    assert (seen["state"], seen["payment_state"]) == ("cancelled", "refunded")


async def test_a_repeated_refund_is_the_same_one(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    answers = await asyncio.gather(*(refund(clinic, confirmed["id"], 20_000) for _ in range(6)))
    assert statuses(answers) == [201] * 6
    assert len({answer.json()["id"] for answer in answers}) == 1
    await until_refunded(who, confirmed["id"], "processed")
    async with nothing_changes(shared_stack):
        again = await refund(clinic, confirmed["id"], 20_000)
        assert ok(again, 201) == {**answers[0].json(), "state": "processed"}
        problem(await refund(clinic, confirmed["id"], 20_001), 422, "idempotency_key_reused")
        problem(await refund(clinic, confirmed["id"], 20_000, reason="another"), 422, "idempotency_key_reused")
    # The key belongs to the appointment too: the same one refunds another visit.
    other = await book_paid(shared_stack, who, VISIT)
    assert ok(await refund(clinic, other["id"], 20_000), 201)["id"] != answers[0].json()["id"]
    await until_refunded(who, other["id"], "processed")
    assert (await money_of(shared_stack, confirmed["id"])).kept == FEE - 20_000


async def test_two_amounts_under_one_key_at_once(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    amounts = (10_000, 11_000, 12_000, 13_000) * 2
    answers = await asyncio.gather(*(refund(clinic, confirmed["id"], one) for one in amounts))
    given = {answer.json()["amount"]["amount"] for answer in answers if answer.status_code == 201}
    assert len(given) == 1, [(answer.status_code, answer.text) for answer in answers]
    for answer in answers:
        if answer.status_code != 201:
            problem(answer, 422, "idempotency_key_reused")
    await until_refunded(who, confirmed["id"], "processed")
    assert (await money_of(shared_stack, confirmed["id"])).kept == FEE - given.pop()


async def test_refunds_at_once_never_exceed_the_payment(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    answers = await asyncio.gather(*(refund(clinic, confirmed["id"], 25_000, f"key {n}") for n in range(6)))
    assert statuses(answers) == [201, 201, 422, 422, 422, 422]
    for answer in answers:
        if answer.status_code != 201:
            problem(answer, 422, "refund_exceeds_payment")
    await until_refunded(who, confirmed["id"], "processed", "processed")
    assert (await money_of(shared_stack, confirmed["id"])).kept == FEE - 50_000


async def test_cancelling_and_refunding_at_once(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    for number in range(3):
        confirmed = await book_paid(shared_stack, who, VISIT)
        looking = partial(look, who, confirmed["id"])
        given, cancelled = await asyncio.gather(
            refund(clinic, confirmed["id"], 40_000, f"key {number}"), cancel(who, confirmed["id"])
        )
        ok(cancelled)
        if given.status_code != 201:
            problem(given, 422, "refund_exceeds_payment")
        seen = await eventually(looking, _all_processed)
        assert sum(one["amount"]["amount"] for one in seen["refunds"]) == FEE
        assert (await money_of(shared_stack, confirmed["id"])).kept == 0


async def test_refunds_that_make_no_sense(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    confirmed, held = await book_paid(shared_stack, who, VISIT), await book(shared_stack, who, VISIT)
    free = await book(shared_stack, who, offer("steady", "free"))
    path = f"/v1/appointments/{confirmed['id']}/refunds"
    good: Json = {"amount": {"amount": 100, "currency": "INR"}, "reason": "x"}
    amounts: tuple[object, ...] = (100, "100", None, [], {"amount": 100, "paise": 1}, {})
    bodies: list[object] = [good | {"amount": one} for one in amounts]
    bodies += [good | {"amount": {"amount": 100, "currency": one}} for one in ("USD", "", None, {"$ne": "INR"})]
    bodies += [good | {"payment_id": "pay_x"}, good | {"reason": ""}, {"amount": good["amount"]}, {}, None, [good]]
    async with nothing_changes(shared_stack), shared_stack.client("other_tenant_staff") as foreign:
        for amount in (0, 99, -100, 1.5, "100", None, True, {"$gt": 0}, 10**12):
            problem(await refund(clinic, confirmed["id"], amount), 422, "invalid")
        for body in bodies:
            problem(await clinic.post(path, json=body, headers={"Idempotency-Key": "k"}), 422, "invalid")
        problem(await clinic.post(path, json=good), 400, "idempotency_key_required")
        problem(await refund(clinic, held["id"], 100), 409, "state_conflict")
        problem(await refund(clinic, free["id"], 100), 409, "state_conflict")
        problem(await refund(foreign, confirmed["id"], 100), 404, "not_found")
        problem(await refund(clinic, "apt_" + "a" * 26, 100), 404, "not_found")
    async with shared_stack.client(employee("steady", Role.DOCTOR)) as doctor:
        for another in (who, doctor):
            problem(await refund(another, confirmed["id"], 100), 403, "forbidden")


# What the gateway makes of it


async def refunds_in_books(stack: Stack, appointment: str) -> list[tuple[str, int]]:
    """Every transaction of an appointment, with what it does to the gateway's account."""
    found = stack.db.ledger.find({"appointment_id": appointment}).sort("at")
    return [
        (one["kind"], next(line["amount"] for line in one["lines"] if line["account"] == "gateway:razorpay"))
        for one in found
    ]


async def test_a_refund_that_the_bank_refuses(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    await plan(shared_stack, confirmed["id"], "failed")
    ok(await refund(clinic, confirmed["id"], 20_000), 201)
    seen = await until_refunded(who, confirmed["id"], "failed")
    assert seen["payment_state"] == "captured"
    assert await refunds_in_books(shared_stack, confirmed["id"]) == [
        ("capture", FEE),
        ("refund", -20_000),
        ("refund_failed", 20_000),
    ]
    # The money is there again: another refund may have all of it.
    await plan(shared_stack, confirmed["id"], "processed")
    ok(await refund(clinic, confirmed["id"], FEE, "again"), 201)
    seen = await until_refunded(who, confirmed["id"], "failed", "processed")
    assert seen["payment_state"] == "refunded"
    # The first request, repeated, tells what became of it.
    assert ok(await refund(clinic, confirmed["id"], 20_000), 201)["state"] == "failed"
    assert (await money_of(shared_stack, confirmed["id"])).kept == 0


async def test_a_refund_that_the_bank_does_not_answer(
    shared_stack: Stack, who: httpx.AsyncClient, clinic: httpx.AsyncClient
) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    await plan(shared_stack, confirmed["id"], "pending")
    promised = ok(await refund(clinic, confirmed["id"], 20_000), 201)

    async def sent() -> Json | None:
        return shared_stack.db.refunds.find_one({"_id": promised["id"], "gateway_refund_id": {"$ne": None}})

    await eventually(sent, bool)
    async with shared_stack.client("admin") as operator:
        workflow = ok(await operator.get(f"/v1/operations/workflows/{refund_workflow_id(promised['id'])}"))
    assert (workflow["status"], workflow["state"], workflow["waiting_for"]["event"]) == ("running", "pending", "refund")
    seen = await look(who, confirmed["id"])
    assert (seen["payment_state"], seen["refunds"][0]["state"]) == ("partially_refunded", "pending")
    problem(await refund(clinic, confirmed["id"], FEE, "the rest"), 422, "refund_exceeds_payment")
    await decide(shared_stack, promised["id"], "processed")
    assert (await until_refunded(who, confirmed["id"], "processed"))["payment_state"] == "partially_refunded"
    assert await refunds_in_books(shared_stack, confirmed["id"]) == [("capture", FEE), ("refund", -20_000)]


async def test_a_cancelled_booking_whose_refund_fails(shared_stack: Stack, who: httpx.AsyncClient) -> None:
    """Nothing is lost: the appointment says that the money is still here, and the workflow asks for a person."""
    confirmed = await book_paid(shared_stack, who, VISIT)
    await plan(shared_stack, confirmed["id"], "failed")
    ok(await cancel(who, confirmed["id"]))
    await until_refunded(who, confirmed["id"], "failed")
    seen = await until(who, confirmed["id"], state="cancelled", payment_state="captured")
    assert seen["history"][-1]["event"] == "refund.failed"
    assert (await money_of(shared_stack, confirmed["id"])).kept == FEE


async def test_a_refund_is_known_by_our_receipt(shared_stack: Stack, who: httpx.AsyncClient) -> None:
    confirmed = await book_paid(shared_stack, who, VISIT)
    cancelled = ok(await cancel(who, confirmed["id"]))
    await until_refunded(who, confirmed["id"], "processed")
    sent = (await money_of(shared_stack, confirmed["id"])).refunds
    assert [(one["receipt"], one["amount"]) for one in sent] == [(cancelled["refund"]["id"], FEE)]
