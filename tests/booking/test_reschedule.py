"""Moving a visit: what moves with it, who may until when, and that no time is ever held twice or lost."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from models.identity import Role
from models.ids import booking_workflow_id
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
    reschedule,
    say,
    somebody,
    start_in,
    temporal,
    the_books_hold,
    until_refunded,
)
from tests.clinics import Offer, employee, offer
from tests.stack import Json, Stack

VISIT, FREE, PREPARED = offer("steady", "visit"), offer("steady", "free"), offer("steady", "prepared")
TALK, CLASS = offer("steady", "talk", "group"), offer("steady", "class", "group")
STRICT = offer("strict", "free")
FEE = 60_000


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


def _desk(stack: Stack, tenant: str = "steady", role: Role = Role.STAFF) -> httpx.AsyncClient:
    return stack.client(employee(tenant, role))


async def _free(stack: Stack, wanted: Offer, days: tuple[int, int]) -> list[str]:
    return await stack.free_starts(wanted.provider_id, wanted.service_id, days=days)


def _claimed(stack: Stack, appointment: str) -> datetime:
    """When the only claim or seat of an appointment begins."""
    assert claims_of(stack, appointment) == 1
    claim = stack.db.slots.find_one({"$or": [{"_id": appointment}, {"seats.owner": appointment}]})
    assert claim is not None
    start: datetime = claim["visit_start"]
    return start


async def test_a_visit_moves_with_its_payment_and_keeps_its_name(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        confirmed = await book_paid(shared_stack, who, VISIT)
        there = (await _free(shared_stack, VISIT, (15, 15)))[7]
        moved = ok(await reschedule(who, confirmed["id"], there))
        assert (moved["start"], moved["state"], moved["payment_state"]) == (there, "confirmed", "captured")
        assert (moved["id"], moved["reference"]) == (confirmed["id"], confirmed["reference"])
        assert moved["version"] == confirmed["version"] + 1
        assert _instant(moved["end"]) - _instant(there) == timedelta(minutes=15)
        assert _instant(moved["waiting_for"]["until"]) == _instant(there) + timedelta(minutes=30)
        last = moved["history"][-1]
        assert (last["event"], last["by"], last["start"], last["state"]) == (
            "appointment.rescheduled", "patient", there, "confirmed",
        )  # fmt: skip
        assert _claimed(shared_stack, moved["id"]) == _instant(there)
        assert confirmed["start"] in await _free(shared_stack, VISIT, (3, 12))
        assert there not in await _free(shared_stack, VISIT, (15, 15))
        async with nothing_changes(shared_stack):
            assert ok(await reschedule(who, confirmed["id"], there))["version"] == moved["version"]
        # The policy counts from the new time: a fortnight before, everything comes back.
        assert ok(await cancel(who, confirmed["id"]))["refund"]["amount"]["amount"] == FEE
        await until_refunded(who, confirmed["id"], "processed")
    assert (await money_of(shared_stack, confirmed["id"])).kept == 0
    assert claims_of(shared_stack, confirmed["id"]) == 0


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_the_new_time_may_overlap_the_old_one(shared_stack: Stack) -> None:
    """Surgery takes three quarters of an hour with its preparation, and begins at every quarter."""
    async with shared_stack.client(somebody()) as who:
        free = await _free(shared_stack, PREPARED, (16, 16))
        confirmed = await book_paid(shared_stack, who, PREPARED, free[10])
        for start in (free[11], free[9], free[10]):
            assert ok(await reschedule(who, confirmed["id"], start))["start"] == start
            assert _claimed(shared_stack, confirmed["id"]) == _instant(start)
    assert set(free[8:13]) - set(await _free(shared_stack, PREPARED, (16, 16))) == set(free[8:13])


async def test_a_seat_is_taken_before_the_old_one_is_free(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        first, second = (await _free(shared_stack, TALK, (15, 15)))[:2]
        confirmed = await book(shared_stack, who, TALK, first)
        for start in (second, first, second):
            ok(await reschedule(who, confirmed["id"], start))
            assert _claimed(shared_stack, confirmed["id"]) == _instant(start)
        ok(await cancel(who, confirmed["id"]))
        assert claims_of(shared_stack, confirmed["id"]) == 0


async def test_a_full_session_takes_nobody_in(shared_stack: Stack) -> None:
    full, other = (await _free(shared_stack, TALK, (16, 16)))[:2]
    for _ in range(4):
        async with shared_stack.client(somebody()) as one:
            await book(shared_stack, one, TALK, full)
    async with shared_stack.client(somebody()) as who:
        confirmed = await book(shared_stack, who, TALK, other)
        refused = problem(await reschedule(who, confirmed["id"], full), 409, "slot_taken")
        assert full not in refused["alternatives"]
        assert _claimed(shared_stack, confirmed["id"]) == _instant(other)


async def test_what_somebody_else_has_is_refused_with_what_is_free(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as one, shared_stack.client(somebody()) as other:
        mine, theirs, *after = await _free(shared_stack, FREE, (17, 17))
        visit, _ = await book(shared_stack, one, FREE, mine), await book(shared_stack, other, FREE, theirs)
        refused = problem(await reschedule(one, visit["id"], theirs), 409, "slot_taken")
        assert refused["alternatives"] == after[:3]
        async with _desk(shared_stack) as desk:
            # No override reaches the index.
            answer = await reschedule(desk, visit["id"], theirs, override={"reason": "an emergency"})
            problem(answer, 409, "slot_taken")
        seen = await look(one, visit["id"])
        assert (seen["start"], seen["state"], len(seen["history"])) == (mine, "confirmed", 1)
        assert _claimed(shared_stack, visit["id"]) == _instant(mine)


@pytest.mark.parametrize(
    ("minutes", "code"),
    [(7, "slot_invalid"), (5, "slot_invalid"), (-60 * 24 * 30, "too_soon"), (60 * 24 * 90, "too_far")],
)
async def test_only_bookable_times(shared_stack: Stack, minutes: int, code: str) -> None:
    async with shared_stack.client(somebody()) as who, _desk(shared_stack) as desk:
        visit = await book(shared_stack, who, FREE)
        wanted = (_instant(visit["start"]) + timedelta(minutes=minutes)).isoformat()
        async with nothing_changes(shared_stack):
            for one in (who, desk):
                problem(await reschedule(one, visit["id"], wanted), 422, code)


async def test_shortly_before_only_the_clinic_moves_it(shared_stack: Stack) -> None:
    there = (await _free(shared_stack, FREE, (18, 18)))[3]
    async with shared_stack.client(somebody()) as who, _desk(shared_stack) as desk:
        visit = await book(shared_stack, who, FREE, await start_in(shared_stack, FREE, 2))
        assert "reschedule" not in visit["actions"]
        async with nothing_changes(shared_stack):
            problem(await reschedule(who, visit["id"], there), 409, "window_closed")
        moved = ok(await reschedule(desk, visit["id"], there))
        assert (moved["start"], moved["history"][-1]["by"]) == (there, "clinic")
        assert "reschedule" in (await look(who, visit["id"]))["actions"]


async def test_what_is_not_confirmed_stays_where_it_is(shared_stack: Stack) -> None:
    there = (await _free(shared_stack, FREE, (18, 18)))[5]
    async with shared_stack.client(somebody()) as who, _desk(shared_stack) as desk:
        held = await book(shared_stack, who, VISIT)
        problem(await reschedule(who, held["id"], there), 409, "state_conflict")
        ok(await cancel(who, held["id"]))
        problem(await reschedule(who, held["id"], there), 409, "state_conflict")
        visit = await book(shared_stack, who, FREE)
        for step in ("check-in", "no-show", "check-in", "start", "complete"):
            ok(await say(desk, visit["id"], step))
            for one in (who, desk):
                problem(await reschedule(one, visit["id"], there), 409, "state_conflict")


async def test_whoever_moves_a_visit_to_where_it_is_has_read_it(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, _desk(shared_stack) as desk:
        visit = await book(shared_stack, who, FREE)
        for client in (who, desk):
            same = ok(await reschedule(client, visit["id"], visit["start"]))
            assert (same["start"], same["version"]) == (visit["start"], visit["version"])
    [look] = shared_stack.db.audit.find({"target": visit["id"], "action": "record.read"})
    assert (look["actor"], look["why"]) == ("usr_staff_steady", "POST /v1/appointments/{appointment_id}/reschedule")


# Overrides


async def test_the_clinic_sets_notice_and_horizon_aside(shared_stack: Stack) -> None:
    """Three hours of notice and five days ahead are this clinic's own rules."""
    reason = {"reason": "her mother is very ill"}
    async with shared_stack.client(somebody()) as who, _desk(shared_stack, "strict") as desk:
        visit = await book(shared_stack, who, STRICT, await a_start(shared_stack, STRICT, days=(2, 4)))
        soon = datetime.now(UTC) + timedelta(minutes=40)
        near = datetime.fromtimestamp(soon.timestamp() // 900 * 900 + 300, UTC)
        far = near + timedelta(days=30)
        for wanted, code in ((near, "too_soon"), (far, "too_far")):
            problem(await reschedule(desk, visit["id"], wanted.isoformat()), 422, code)
            moved = ok(await reschedule(desk, visit["id"], wanted.isoformat(), override=reason))
            assert _instant(moved["start"]) == wanted
            assert _claimed(shared_stack, visit["id"]) == wanted
        odd = (far + timedelta(minutes=2)).isoformat()
        problem(await reschedule(desk, visit["id"], odd, override=reason), 422, "slot_invalid")
        past = (near - timedelta(days=1)).isoformat()
        problem(await reschedule(desk, visit["id"], past, override=reason), 422, "too_soon")
    noted = list(shared_stack.db.audit.find({"action": "appointment.overridden", "target": visit["id"]}))
    assert [one["actor"] for one in noted] == ["usr_staff_strict"] * 4
    stored = shared_stack.db.appointments.find_one({"_id": visit["id"]})
    assert stored is not None
    assert "mother" not in str(stored)
    assert len(stored["sealed"]["override"]) > 0


async def test_nobody_else_sets_rules_aside(shared_stack: Stack) -> None:
    there = (await _free(shared_stack, FREE, (18, 18)))[8]
    async with shared_stack.client(somebody()) as who, _desk(shared_stack, role=Role.DOCTOR) as doctor:
        visit = await book(shared_stack, who, FREE)
        for one in (who, doctor):
            answer = await reschedule(one, visit["id"], there, override={"reason": "I want to"})
            problem(answer, 403, "forbidden")
        assert ok(await reschedule(doctor, visit["id"], there))["start"] == there


async def test_the_workflow_tells_where_it_waits_now(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        visit = await book(shared_stack, who, FREE)
        starts = itertools.islice(await _free(shared_stack, FREE, (19, 19)), 3)
        for start in starts:
            ok(await reschedule(who, visit["id"], start))
            status: Json = (
                await (await temporal(shared_stack))
                .get_workflow_handle(booking_workflow_id(visit["id"]))
                .query("status")
            )
            assert _instant(status["waiting_for"]["until"]) == _instant(start) + timedelta(minutes=30)
