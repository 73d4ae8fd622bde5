"""Cancelling: what becomes of the time and of the money, and that two who act at once never both get their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus

from models.identity import Role
from tests.booking.support import (
    a_start,
    book,
    book_paid,
    cancel,
    claims_of,
    look,
    money_of,
    nothing_changes,
    ok,
    problem,
    send_what_was_lost,
    somebody,
    start_in,
    statuses,
    temporal,
    the_books_hold,
    until,
    until_refunded,
    workflow_status,
)
from tests.clinics import STRICT_TENANT, employee, offer
from tests.stack import Json, Stack, eventually

VISIT, STRICT_VISIT = offer("steady", "visit"), offer("strict", "visit")
FEE = 60_000
COMPLETED = WorkflowExecutionStatus.COMPLETED


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


def amount_of(cancelled: Json) -> int:
    """What goes back, in paise."""
    return cancelled["refund"]["amount"]["amount"] if cancelled["refund"] else 0


# Before it is confirmed


async def test_a_hold_that_nobody_paid(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        start = await a_start(shared_stack, VISIT)
        held = await book(shared_stack, who, VISIT, start)
        cancelled = ok(await cancel(who, held["id"]))
        assert (cancelled["state"], cancelled["payment_state"]) == ("cancelled", "pending")
        assert (cancelled["refund"], cancelled["payment"], cancelled["actions"]) == (None, None, [])
        assert cancelled["waiting_for"] is None
        assert [(step["event"], step["by"]) for step in cancelled["history"]][-1] == (
            "appointment.cancelled",
            "patient",
        )
        assert claims_of(shared_stack, held["id"]) == 0
        assert await a_start(shared_stack, VISIT) == start
        async with nothing_changes(shared_stack):
            problem(await cancel(who, held["id"]), 409, "state_conflict")


async def test_authorized_money_is_never_taken(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        await shared_stack.pay(held["payment"]["order_id"], webhook="never")
        cancelled = ok(await cancel(who, held["id"]))
        assert cancelled["refund"] == {"state": "voided"}
        assert (cancelled["state"], cancelled["payment_state"]) == ("cancelled", "voided")
        assert cancelled["refunds"] == []
    assert (await money_of(shared_stack, held["id"])).statuses == ["authorized"]


async def test_money_that_the_bank_took_goes_back_whole(shared_stack: Stack) -> None:
    """Also where cancelling a confirmed visit would give nothing back: it never was one."""
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 1.2))
        paid = await shared_stack.pay(held["payment"]["order_id"], "captured", webhook="never")
        cancelled = ok(await cancel(who, held["id"]))
        assert cancelled["refund"]["amount"] == {"amount": FEE, "currency": "INR"}
        assert cancelled["refund"]["state"] in {"pending", "processed"}
        assert cancelled["refund"]["id"] == cancelled["refunds"][0]["id"]
        await send_what_was_lost(shared_stack, paid, "refund.processed")
        await until_refunded(who, held["id"], "processed")
    assert (await money_of(shared_stack, held["id"])).kept == 0


# Confirmed: the windows of the policy


@pytest.mark.parametrize(("hours", "percent"), [(13.0, 100), (5.0, 50), (2.1, 50), (1.2, 0)])
async def test_a_patient_cancels_by_the_policy(shared_stack: Stack, hours: float, percent: int) -> None:
    async with shared_stack.client(somebody()) as who:
        confirmed = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, hours))
        assert confirmed["policy"]["refund_percent_now"] == percent
        cancelled = ok(await cancel(who, confirmed["id"]))
        assert amount_of(cancelled) == FEE * percent // 100
        if percent == 0:
            assert (cancelled["refund"], cancelled["payment_state"]) == (None, "captured")
        else:
            seen = await until_refunded(who, confirmed["id"], "processed")
            assert seen["payment_state"] == ("refunded" if percent == 100 else "partially_refunded")
            assert [one["reason"] for one in seen["refunds"]] == ["cancelled_by_patient"]
    assert (await money_of(shared_stack, confirmed["id"])).kept == FEE * (100 - percent) // 100


@pytest.mark.parametrize("role", [Role.STAFF, Role.DOCTOR, Role.ADMIN])
async def test_a_clinic_that_cancels_gives_everything_back(shared_stack: Stack, role: Role) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", role)) as clinic:
        confirmed = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 1.2))
        seen = await look(clinic, confirmed["id"])
        assert (seen["policy"]["refund_percent_now"], "cancel" in seen["actions"]) == (100, True)
        assert amount_of(ok(await cancel(clinic, confirmed["id"]))) == FEE
        seen = await until_refunded(who, confirmed["id"], "processed")
        assert (seen["payment_state"], seen["refunds"][0]["reason"]) == ("refunded", "cancelled_by_clinic")
        assert (seen["history"][3]["event"], seen["history"][3]["by"]) == ("appointment.cancelled", "clinic")
    assert (await money_of(shared_stack, confirmed["id"])).kept == 0


async def test_the_policy_of_the_booking_rules(shared_stack: Stack) -> None:
    """The clinic changes its rules after the booking: the old ones hold for it, the new ones for the next."""
    tenants, mine = shared_stack.db.tenants, {"_id": STRICT_TENANT.id}
    before = tenants.find_one(mine)
    assert before is not None
    async with shared_stack.client(somebody()) as who:
        confirmed = await book_paid(shared_stack, who, STRICT_VISIT, await start_in(shared_stack, STRICT_VISIT, 10))
        assert confirmed["policy"]["refund_percent_now"] == 40
        try:
            everything = [{"hours_before": 1, "percent": 100}]
            changed = {"$set": {"policy.refund_schedule": everything}, "$inc": {"policy_version": 1}}
            assert tenants.update_one(mine, changed).modified_count == 1

            async def next_booking() -> Json:
                async with shared_stack.client(somebody()) as other:
                    return await book(shared_stack, other, STRICT_VISIT, await start_in(shared_stack, STRICT_VISIT, 10))

            await eventually(next_booking, lambda seen: bool(seen["policy"]["refund_percent_now"] == 100))
            assert (await look(who, confirmed["id"]))["policy"] == confirmed["policy"]
            assert amount_of(ok(await cancel(who, confirmed["id"]))) == FEE * 40 // 100
        finally:
            tenants.replace_one(mine, before)
        await until_refunded(who, confirmed["id"], "processed")


@pytest.mark.parametrize(("service", "payment_state"), [("free", "not_required"), ("desk", "due_at_clinic")])
async def test_without_money_nothing_goes_back(shared_stack: Stack, service: str, payment_state: str) -> None:
    async with shared_stack.client(somebody()) as who:
        confirmed = await book(shared_stack, who, offer("steady", service))
        cancelled = ok(await cancel(who, confirmed["id"]))
        assert (cancelled["state"], cancelled["payment_state"]) == ("cancelled", payment_state)
        assert (cancelled["refund"], cancelled["refunds"]) == (None, [])
    assert claims_of(shared_stack, confirmed["id"]) == 0


async def test_a_seat_is_given_back_alone(shared_stack: Stack) -> None:
    group = offer("steady", "class", "group")
    start = await a_start(shared_stack, group)
    async with shared_stack.client(somebody()) as who, shared_stack.client(somebody()) as other:
        mine = await book_paid(shared_stack, who, group, start)
        theirs = await book_paid(shared_stack, other, group, start)
        ok(await cancel(who, mine["id"]))
        assert (claims_of(shared_stack, mine["id"]), claims_of(shared_stack, theirs["id"])) == (0, 1)
        ok(await cancel(other, theirs["id"]))
        assert shared_stack.db.slots.count_documents({"kind": "session", "seats": []}) == 0


# Requests that make no sense


async def test_bad_cancellations_change_nothing(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client("other_tenant_staff") as foreign:
        held = await book(shared_stack, who, VISIT)
        path = f"/v1/appointments/{held['id']}/cancel"
        bodies: list[object] = [{"reason": one} for one in ({"$gt": ""}, ["x"], 7, None, True, "", "  ", "x" * 501)]
        bodies += [{}, [], None, {"reason": "x", "refund": {"amount": 1}}, {"reason": "x", "state": "cancelled"}]
        async with nothing_changes(shared_stack):
            for body in bodies:
                problem(await who.post(path, json=body), 422, "invalid")
            problem(await who.post(path, content=b"{", headers={"Content-Type": "application/json"}), 400, "malformed")
            problem(await foreign.post(path, json={"reason": "x"}), 404, "not_found")
            for unknown in ("apt_" + "a" * 26, "apt_x", "$gt", held["id"].upper()):
                problem(await cancel(who, unknown), 404, "not_found")


async def test_the_reason_is_nowhere_in_clear(shared_stack: Stack) -> None:
    words = "canary-of-a-cancellation"
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        assert words not in (await cancel(who, held["id"], words)).text
    stored = [str(one) for name in shared_stack.db.list_collection_names() for one in shared_stack.db[name].find()]
    assert [one for one in stored if words in one] == []


# At once


async def test_of_many_cancellations_one_counts(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as clinic:
        confirmed = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 5))
        answers = await asyncio.gather(*(cancel(one, confirmed["id"]) for one in (who, clinic) * 4))
        assert statuses(answers) == [200] + [409] * 7
        for answer in answers:
            if answer.status_code != 200:
                problem(answer, 409, "state_conflict")
        winner = next(answer.json() for answer in answers if answer.status_code == 200)
        by = winner["history"][3]["by"]
        assert amount_of(winner) == (FEE if by == "clinic" else FEE // 2)
        await until_refunded(who, confirmed["id"], "processed")
    assert len((await money_of(shared_stack, confirmed["id"])).refunds) == 1


async def test_paying_and_cancelling_at_once(shared_stack: Stack) -> None:
    """Whoever is first: in the end it is cancelled, and nobody's money is kept."""
    starts = (await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id, days=(8, 9)))[:8]
    client = await temporal(shared_stack)

    async def both(start: str, number: int) -> str:
        async with shared_stack.client(somebody()) as who:
            held = await book(shared_stack, who, VISIT, start)
            order_id = held["payment"]["order_id"]
            outcome = "captured" if number % 2 else "authorized"

            async def late() -> object:
                await asyncio.sleep(number * 0.01)
                return await cancel(who, held["id"])

            await asyncio.gather(shared_stack.pay(order_id, outcome), late())
            await until(who, held["id"], state="cancelled")
            await eventually(
                lambda: look(who, held["id"]),
                lambda seen: (
                    all(one["state"] == "processed" for one in seen["refunds"])
                    and seen["payment_state"] in {"voided", "refunded"}
                ),
            )
        return str(held["id"])

    ended = await asyncio.gather(*(both(start, number) for number, start in enumerate(starts)))
    for one in ended:
        assert (await money_of(shared_stack, one)).kept == 0
        assert claims_of(shared_stack, one) == 0
        await eventually(partial(workflow_status, client, one), lambda status: status is COMPLETED)
