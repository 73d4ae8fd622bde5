"""The visit itself: who says what of it, what follows, and what nobody can say any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus

from models.identity import Role
from models.ids import booking_workflow_id
from tests.booking.begun import begun, placed
from tests.booking.support import (
    book,
    book_paid,
    cancel,
    claims_of,
    look,
    nothing_changes,
    ok,
    problem,
    say,
    somebody,
    temporal,
    the_books_hold,
)
from tests.clinics import employee, offer
from tests.stack import Json, Stack, eventually

VISIT, DESK, FREE = offer("steady", "visit"), offer("steady", "desk"), offer("steady", "free")


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


def _events(seen: Json) -> list[tuple[str, str, str]]:
    return [(one["event"].rpartition(".")[2], one["state"], one["by"]) for one in seen["history"]]


async def test_a_whole_visit(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as desk:
        async with shared_stack.client(employee("steady", Role.DOCTOR)) as doctor:
            visit = (await book_paid(shared_stack, who, VISIT))["id"]
            here = ok(await say(desk, visit, "check-in"))
            assert (here["state"], here["waiting_for"]["event"]) == ("checked_in", "consultation")
            assert {"start", "no_show", "cancel"} <= set(here["actions"])
            begun = ok(await say(doctor, visit, "start"))
            assert (begun["state"], begun["waiting_for"]["event"]) == ("in_consultation", "completion")
            problem(await cancel(who, visit), 409, "state_conflict")
            over = ok(await say(doctor, visit, "complete"))
        assert (over["state"], over["payment_state"]) == ("completed", "captured")
        assert (await look(who, visit))["actions"] == []
        assert _events(over)[-3:] == [
            ("checked_in", "checked_in", "clinic"),
            ("consultation_started", "in_consultation", "clinic"),
            ("completed", "completed", "clinic"),
        ]
        async with nothing_changes(shared_stack):
            for step in ("check-in", "start", "complete", "no-show"):
                problem(await say(desk, visit, step), 409, "state_conflict")
            problem(await cancel(desk, visit), 409, "state_conflict")
        assert claims_of(shared_stack, visit) == 1


async def test_who_did_not_come_and_comes_after_all(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as desk:
        visit = (await book(shared_stack, who, FREE))["id"]
        for turn in range(2):
            missed = ok(await say(desk, visit, "no-show"))
            assert (missed["state"], missed["waiting_for"]["event"]) == ("no_show", "check_in")
            problem(await cancel(who, visit), 409, "state_conflict")
            here = ok(await say(desk, visit, "check-in"))
            assert (here["state"], len(here["history"])) == ("checked_in", 3 + 2 * turn)
        cancelled = ok(await cancel(who, visit))
    assert (cancelled["state"], claims_of(shared_stack, visit)) == ("cancelled", 0)


@pytest.mark.parametrize("step", ["check-in", "start", "complete", "no-show"])
async def test_what_is_not_confirmed_is_no_visit(shared_stack: Stack, step: str) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as desk:
        held = await book(shared_stack, who, VISIT)
        problem(await say(desk, held["id"], step), 409, "state_conflict")
        problem(await say(who, held["id"], step), 403, "forbidden")
        ok(await cancel(who, held["id"]))


@pytest.mark.parametrize("step", ["check-in", "complete"])
async def test_money_that_the_desk_takes_is_noted(shared_stack: Stack, step: str) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as desk:
        visit = (await book(shared_stack, who, DESK))["id"]
        here = ok(await say(desk, visit, "check-in", paid=step == "check-in"))
        assert here["payment_state"] == ("paid_at_clinic" if step == "check-in" else "due_at_clinic")
        ok(await say(desk, visit, "start"))
        over = ok(await say(desk, visit, "complete", paid=True))
        assert (over["state"], over["payment_state"]) == ("completed", "paid_at_clinic")


async def test_what_was_paid_online_is_not_paid_again_at_the_desk(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as desk:
        visit = (await book_paid(shared_stack, who, VISIT))["id"]
        problem(await say(desk, visit, "check-in", paid=True), 409, "state_conflict")
        problem(await say(desk, visit, "check-in", price=1), 422, "invalid")
        problem(await say(desk, visit, "start", paid=True), 422, "invalid")
        assert (await look(who, visit))["payment_state"] == "captured"


# What happens by itself


def _stored(stack: Stack, appointment: str) -> Json:
    return stack.db.appointments.find_one({"_id": appointment}) or {"state": None, "history": []}


async def _until_event(stack: Stack, appointment: str, event: str) -> Json:
    async def seen() -> Json:
        return _stored(stack, appointment)

    return await eventually(seen, lambda one: any(step["event"] == event for step in one["history"]))


async def _closed(stack: Stack, appointment: str) -> None:
    handle = (await temporal(stack)).get_workflow_handle(booking_workflow_id(appointment))

    async def status() -> WorkflowExecutionStatus | None:
        return (await handle.describe()).status

    await eventually(status, lambda one: one is WorkflowExecutionStatus.COMPLETED)


async def test_who_has_not_come_after_the_grace_is_taken_not_to_come(shared_stack: Stack) -> None:
    visit = await placed(await temporal(shared_stack), begun(closes_in=6))
    missed = await _until_event(shared_stack, visit, "appointment.no_show")
    assert (missed["state"], missed["history"][-1]["by"]) == ("no_show", "system")
    async with shared_stack.client(employee("steady", Role.STAFF)) as desk:
        assert (await look(desk, visit))["actions"] == ["check_in"]
        ok(await say(desk, visit, "check-in"))
        closed = await _until_event(shared_stack, visit, "appointment.closed")
        assert (closed["state"], "waiting_for" in closed) == ("checked_in", False)
        await _closed(shared_stack, visit)
        problem(await say(desk, visit, "start"), 409, "state_conflict")


async def test_a_consultation_that_nobody_has_ended_was_one_all_the_same(shared_stack: Stack) -> None:
    visit = await placed(await temporal(shared_stack), begun(closes_in=6))
    await _until_event(shared_stack, visit, "appointment.no_show")
    async with shared_stack.client(employee("steady", Role.STAFF)) as desk:
        ok(await say(desk, visit, "check-in"))
        ok(await say(desk, visit, "start"))
    closed = await _until_event(shared_stack, visit, "appointment.closed")
    assert (closed["state"], [one["by"] for one in closed["history"]][-2:]) == ("completed", ["system", "system"])
    await _closed(shared_stack, visit)
