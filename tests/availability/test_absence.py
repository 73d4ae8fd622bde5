"""A leave over visits that are booked already: everybody is told, chooses or is refunded, and ends exactly once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from cli.accounts import patient
from models.errors import Code
from tests.availability.away import (
    after,
    booked,
    choose,
    free_on,
    hurry,
    link_of,
    offers_of,
    offers_received,
    staff_of,
    take_leave,
    tally_of,
    until_offers,
    whole_refunds,
    workflow_result,
)
from tests.booking.support import cancel, look, ok, problem, reschedule
from tests.clinics import offer
from tests.faults import held_up
from tests.stack import Stack, eventually

PAID = offer("brisk", "visit")
UNTOUCHED = {"offered": 0, "rebooked": 0, "cancelled": 0, "withdrawn": 0, "kept": 0, "undecided": 0}


@pytest.fixture
async def anybody(shared_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with shared_stack.anonymous() as client:
        yield client


async def test_everybody_is_told_once_and_ends_once(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    """Of twelve, two want the same time, one another, one has the money back, one cancels, and the rest wait."""
    stack, first = shared_stack, 30_000
    starts = (await free_on(stack, PAID, 20))[:12]
    visits = await booked(stack, PAID, starts, first, paid=True)
    leave = await take_leave(stack, PAID, starts[0], after(starts[-1], 15))
    assert (leave["affected_total"], leave["tally"]["appointments"]) == (12, 12)
    tokens = await asyncio.gather(*(link_of(stack, first + number) for number in range(4)))

    shown = ok(await anybody.get(f"/v1/links/{tokens[0]}"))
    assert (shown["start"], shown["state"], shown["actions"]) == (starts[0], "confirmed", ["reschedule", "cancel"])
    assert (shown["is_paid"], shown["refund_percent_now"]) == (True, 100)
    assert shown["choose_until"] < starts[0]
    page = await anybody.get(f"/v1/links/{tokens[0]}", headers={"Accept": "text/html"})
    assert "the doctor is away at this time" in page.text
    assert len(shown["times"]) == 20
    assert not [one for one in shown["times"] if leave["start"] <= one < leave["end"]]
    wanted = shown["times"][10]
    answers = await asyncio.gather(*(choose(anybody, token, wanted) for token in tokens[:2]))
    assert sorted(one.status_code for one in answers) == [200, 409]
    [lost] = [number for number, one in enumerate(answers) if one.status_code == 409]
    taken = problem(answers[lost], 409, Code.SLOT_TAKEN)
    assert taken["alternatives"]
    moved = ok(await choose(anybody, tokens[lost], taken["alternatives"][0]))
    assert (moved["start"], moved["choose_until"]) == (taken["alternatives"][0], None)
    ok(await choose(anybody, tokens[2], shown["times"][19]))
    ok(await choose(anybody, tokens[2], shown["times"][19]))
    given_back = ok(await anybody.post(f"/v1/links/{tokens[3]}/cancel"))
    assert (given_back["state"], given_back["choose_until"]) == ("cancelled", None)
    problem(await anybody.post(f"/v1/links/{tokens[3]}/cancel"), 409, Code.STATE_CONFLICT)
    problem(await choose(anybody, tokens[3], shown["times"][17]), 409, Code.STATE_CONFLICT)
    async with stack.client(patient(first + 4)) as who:
        ok(await cancel(who, visits[4]["id"]))

    await until_offers(stack, leave["id"], rebooked=3, cancelled=8, withdrawn=1)
    expected = {**UNTOUCHED, "rebooked": 3, "cancelled": 8, "withdrawn": 1}
    await eventually(lambda: tally_of(stack, PAID, leave["id"]), lambda seen: seen == expected)
    await whole_refunds(stack, [visits[3], *visits[5:]])
    for number, visit in enumerate(visits):
        assert await offers_received(stack, first + number) == 1
        async with stack.client(patient(first + number)) as who:
            now = await look(who, visit["id"])
            assert now["state"] == ("confirmed" if number < 3 else "cancelled")
            assert now["payment_state"] == ("captured" if number < 3 else "refunded")


async def test_whom_the_clinic_sees_by_hand_keeps_the_time(shared_stack: Stack) -> None:
    """The doctor comes for two patients all the same; who was booking while the leave was taken is told like others."""
    stack, first, leaves = shared_stack, 30_150, list[str]()
    offered = offer("brisk", "free")
    starts = (await free_on(stack, offered, 47))[:4]
    visits = await booked(stack, offered, starts[1:3], first)
    [elsewhere] = await booked(stack, offered, (await free_on(stack, offered, 48))[:1], first + 2)
    await hurry(stack, visits, 45)

    async def is_taken() -> None:
        leaves.append((await take_leave(stack, offered, starts[0], after(starts[-1], 15)))["id"])

    async with held_up(stack, "before:booking.hold", is_taken):
        [late] = await booked(stack, offered, starts[:1], first + 3)
    [leave] = leaves
    await eventually(lambda: offers_of(stack, leave), lambda seen: seen.total() == 3, 60)
    for number, visit in enumerate(visits):
        async with stack.client(patient(first + number)) as who:
            ok(await cancel(who, visit["id"]))
    why = {"override": {"reason": "she cannot come on another day"}}
    async with stack.client(staff_of(offered)) as desk:
        wanted = {"provider_id": offered.provider_id, "service_id": offered.service_id, "start": starts[1]}
        received = await desk.post(
            "/v1/clinics/cln_brisk_central/walk-ins",
            headers={"Idempotency-Key": secrets.token_urlsafe(12)},
            json={**wanted, "patient": {"name": "Asha Kale"}, **why},
        )
        by_hand = ok(received, 201)
        ok(await reschedule(desk, elsewhere["id"], starts[2], **why))
        await workflow_result(stack, leave)
        assert (await look(desk, late["id"]))["state"] == "cancelled"
        assert (await look(desk, by_hand["id"]))["state"] == "confirmed"
        kept = await look(desk, elsewhere["id"])
    assert (kept["state"], kept["start"]) == ("confirmed", starts[2])
    assert await offers_of(stack, leave) == {"withdrawn": 2, "cancelled": 1}


async def test_an_ended_leave_cancels_nobody_any_more(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    stack, first = shared_stack, 30_100
    offered = offer("steady", "free")
    starts = (await free_on(stack, offered, 54))[:3]
    visits = await booked(stack, offered, starts, first)
    leave = await take_leave(stack, offered, starts[0], after(starts[-1], 15))
    token = await link_of(stack, first)
    await until_offers(stack, leave["id"], offered=3)
    choices = ok(await anybody.get(f"/v1/links/{token}"))["times"]
    ok(await choose(anybody, token, choices[0]))
    async with stack.client(staff_of(offered)) as staff:
        assert (await staff.delete(f"/v1/leaves/{leave['id']}")).status_code == 204
    await until_offers(stack, leave["id"], rebooked=1, kept=2)
    for number in (1, 2):
        async with stack.client(patient(first + number)) as who:
            assert (await look(who, visits[number]["id"]))["start"] == starts[number]
            assert (await look(who, visits[number]["id"]))["state"] == "confirmed"

        async def told(number: int = number) -> list[str]:
            return [one["text"] for one in await stack.messages(str(patient(first + number).phone))]

        await eventually(told, lambda seen: any("will be there after all" in one for one in seen))
        stale = await link_of(stack, first + number)
        assert ok(await anybody.get(f"/v1/links/{stale}"))["choose_until"] is None


async def test_whoever_chooses_while_the_deadline_passes_keeps_the_new_time(
    shared_stack: Stack, anybody: httpx.AsyncClient
) -> None:
    """The step that would cancel is under way: the visit moves first, and is not cancelled at its new time."""
    stack, first = shared_stack, 30_200
    offered = offer("brisk", "desk")
    starts = (await free_on(stack, offered, 24))[:2]
    visits = await booked(stack, offered, starts, first)
    await hurry(stack, visits, 6)
    leave = await take_leave(stack, offered, starts[0], after(starts[-1], 15))
    token = await link_of(stack, first)
    choices = ok(await anybody.get(f"/v1/links/{token}"))["times"]

    async def chooses() -> None:
        ok(await choose(anybody, token, choices[3]))

    # The first look settles nothing, since nobody's time is up; the next one is held up until the choice is made.
    await eventually(lambda: offers_of(stack, leave["id"]), lambda seen: seen["offered"] == 2)
    async with held_up(stack, "before:absence.settle", chooses):
        await until_offers(stack, leave["id"], rebooked=1, cancelled=1)
    async with stack.client(patient(first)) as who:
        kept = await look(who, visits[0]["id"])
        assert (kept["state"], kept["start"]) == ("confirmed", choices[3])
    async with stack.client(patient(first + 1)) as who:
        assert (await look(who, visits[1]["id"]))["state"] == "cancelled"


async def test_choices_and_deadlines_at_the_same_moment(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    stack, first, count = shared_stack, 30_300, 6
    offered = offer("brisk", "free")
    starts = (await free_on(stack, offered, 27))[:count]
    visits = await booked(stack, offered, starts, first)
    await hurry(stack, visits, 7)
    leave = await take_leave(stack, offered, starts[0], after(starts[-1], 15))
    tokens = await asyncio.gather(*(link_of(stack, first + number) for number in range(count)))
    choices = ok(await anybody.get(f"/v1/links/{tokens[0]}"))["times"]
    [due] = stack.db.absence_offers.distinct("deadline", {"leave_id": leave["id"], "subject_id": patient(first).id})

    async def at_the_deadline(number: int) -> int:
        until_then = (due - datetime.now(UTC)).total_seconds() + 0.15 * (number - count / 2)
        await asyncio.sleep(max(0.0, until_then))
        return (await choose(anybody, tokens[number], choices[number])).status_code

    answers = await asyncio.gather(*(at_the_deadline(number) for number in range(count)))
    assert set(answers) <= {200, 409}
    chosen = answers.count(200)
    await until_offers(stack, leave["id"], rebooked=chosen, cancelled=count - chosen)
    for number, visit in enumerate(visits):
        async with stack.client(patient(first + number)) as who:
            now = await look(who, visit["id"])
        expected = ("confirmed", choices[number]) if answers[number] == 200 else ("cancelled", starts[number])
        assert (now["state"], now["start"]) == expected
