"""A visit whose workflow was lost goes on as if nothing had been; one that Temporal knows is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from models.booking import Appointment
from models.identity import Role, System
from models.ids import booking_workflow_id
from tests.booking.support import (
    a_start,
    book,
    book_paid,
    cancel,
    money_of,
    ok,
    reschedule,
    say,
    somebody,
    temporal,
    the_books_hold,
    until_refunded,
    workflow_status,
)
from tests.clinics import employee, offer
from tests.disaster.support import lose, nobody
from tests.stack import Stack, eventually
from workflows.reviving import Reviver

TESTS = System("a test looks")
VISIT, DESK = offer("steady", "visit"), offer("steady", "desk")


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


async def _found(stack: Stack, visit: str) -> Appointment:
    stores = Repositories.connect(mongo_addresses(stack.settings), on_time_changed=nobody)
    try:
        found = await stores.appointments.find(TESTS, visit, open_sealed=False)
    finally:
        await stores.close()
    assert found is not None
    return found


async def _lost_and_revived(stack: Stack, visit: str) -> None:
    client = await temporal(stack)
    await lose(client, booking_workflow_id(visit))
    assert await Reviver(client).revive(await _found(stack, visit))


async def test_it_takes_place(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.DOCTOR)) as doctor:
        visit = (await book_paid(shared_stack, who, VISIT))["id"]
        await _lost_and_revived(shared_stack, visit)
        assert ok(await say(doctor, visit, "check-in"))["state"] == "checked_in"
        await _lost_and_revived(shared_stack, visit)
        assert ok(await say(doctor, visit, "start"))["state"] == "in_consultation"
        over = ok(await say(doctor, visit, "complete"))
    assert (over["state"], over["payment_state"]) == ("completed", "captured")


async def test_it_moves_and_is_cancelled_and_its_money_goes_back(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        visit = (await book_paid(shared_stack, who, VISIT))["id"]
        later = await a_start(shared_stack, VISIT, days=(13, 20))
        await _lost_and_revived(shared_stack, visit)
        assert ok(await reschedule(who, visit, later))["start"] == later
        await _lost_and_revived(shared_stack, visit)
        assert ok(await cancel(who, visit))["state"] == "cancelled"
        await until_refunded(who, visit, "processed")
    assert (await money_of(shared_stack, visit)).kept == 0


async def test_what_temporal_knows_is_left_alone(shared_stack: Stack) -> None:
    client = await temporal(shared_stack)
    async with shared_stack.client(somebody()) as who:
        visit = (await book(shared_stack, who, DESK))["id"]
        before = await _found(shared_stack, visit)
        assert not await Reviver(client).revive(before), "it runs"
        ok(await cancel(who, visit))
        await eventually(
            lambda: workflow_status(client, visit), lambda status: status is not None and status.name != "RUNNING"
        )
        assert not await Reviver(client).revive(before), "it has gone further than the database that was restored"
        assert not await Reviver(client).revive(await _found(shared_stack, visit)), "it does not stand"
