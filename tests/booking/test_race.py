"""Many after the same time at once: one has it, nobody else has left anything behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from tests.booking.crowd import KEY, Outcome, check, run
from tests.booking.support import a_start, ask, book, cancel, id_of, ok, problem, somebody, temporal, until
from tests.clinics import SEATS, Offer, offer
from tests.stack import Stack

CROWD = 50
THOUSAND = 1000

VISIT, LONG, PREPARED = offer("steady", "visit"), offer("steady", "long"), offer("steady", "prepared")
SHENOY = ("vikram_shenoy_arogya-indiranagar", "vikram_shenoy_sanjeevani-bandra")
SHENOY_VISIT, SHENOY_VIDEO, SHENOY_IN_MUMBAI = (
    Offer(f"prv_{SHENOY[0]}", f"svc_{SHENOY[0]}_visit"),
    Offer(f"prv_{SHENOY[0]}", f"svc_{SHENOY[0]}_video"),
    Offer(f"prv_{SHENOY[1]}", f"svc_{SHENOY[1]}_visit"),
)
CHILDREN = Offer("prv_meera_krishnan_arogya-indiranagar", "svc_meera_krishnan_arogya-indiranagar_token")
BUFFERS = {VISIT: (0, 15), LONG: (5, 40), PREPARED: (30, 15), SHENOY_VISIT: (5, 35), SHENOY_VIDEO: (0, 15),
           SHENOY_IN_MUMBAI: (0, 40)}  # fmt: skip
"""How many minutes each claims before and from its start on."""


@pytest.fixture(scope="module")
async def client(shared_stack: Stack) -> Client:
    return await temporal(shared_stack)


async def starts_over(stack: Stack, instant: datetime, offers: Sequence[Offer]) -> list[tuple[Offer, str]]:
    """Every free start whose claim holds that instant; any two of them overlap."""
    day = (instant - datetime.now(UTC)).days
    found = []
    for one in offers:
        before, after = (timedelta(minutes=minutes) for minutes in BUFFERS[one])
        for start in await stack.free_starts(one.provider_id, one.service_id, days=(max(day - 1, 0), day + 2)):
            begin = datetime.fromisoformat(start)
            if begin - before <= instant < begin + after:
                found.append((one, start))
    return found


async def check_orders(stack: Stack, outcome: Outcome) -> None:
    """The gateway was asked for one order for each who won."""
    for one in outcome.won:
        async with stack.client(next(w.who for w in outcome.wishes if id_of(stack, w.who, KEY) == one["id"])) as who:
            await until(who, one["id"], state="held")
    receipts = [order["receipt"] for order in (await stack.ledger())["orders"]]
    ids = {id_of(stack, wish.who, KEY) for wish in outcome.wishes}
    assert sorted(one for one in receipts if one in ids) == sorted(one["id"] for one in outcome.won)


async def race(stack: Stack, client: Client, offers: Sequence[Offer], instant: datetime, people: int) -> None:
    """People want whatever lies over the instant: one gets something."""
    wanted = await starts_over(stack, instant, offers)
    assert {one for one, _ in wanted} == set(offers)
    outcome = await run(stack, wanted, people)
    await check(stack, client, outcome, 1)
    await check_orders(stack, outcome)
    # Alternatives are no promise, but they were true: the first that this loser was told can be had.
    loser, refused = next(
        (wish, answer) for wish, answer in zip(outcome.wishes, outcome.answers, strict=True) if answer in outcome.lost
    )
    async with stack.client(loser.who) as who:
        ok(await ask(stack, who, loser.offer, refused.json()["alternatives"][0], key=KEY), 201)


def noon(days: int) -> datetime:
    return (datetime.now(UTC) + timedelta(days=days)).replace(hour=12, minute=0, second=0, microsecond=0)


def shared_hour(weeks: int = 1) -> datetime:
    """17:20 in India on a Wednesday, when the cardiologist works at both clinics."""
    day = noon(7 * weeks)
    return (day + timedelta(days=(2 - day.weekday()) % 7)).replace(hour=11, minute=50)


async def test_many_after_one_time(shared_stack: Stack, client: Client) -> None:
    await race(shared_stack, client, [VISIT], noon(20), CROWD)


async def test_many_after_overlapping_times_of_one_doctor(shared_stack: Stack, client: Client) -> None:
    await race(shared_stack, client, [VISIT, LONG, PREPARED], noon(21) + timedelta(minutes=10), CROWD)


async def test_many_after_one_doctor_at_two_clinics(shared_stack: Stack, client: Client) -> None:
    await race(shared_stack, client, [SHENOY_VISIT, SHENOY_VIDEO, SHENOY_IN_MUMBAI], shared_hour(), CROWD)


async def test_a_clash_at_another_clinic_does_not_say_whose(shared_stack: Stack) -> None:
    """The doctor's other clinic is another tenant: the refusal looks like any other."""
    wanted = dict(await starts_over(shared_stack, shared_hour(weeks=2), [SHENOY_VISIT, SHENOY_IN_MUMBAI]))
    async with shared_stack.client(somebody()) as first, shared_stack.client(somebody()) as second:
        booked = await book(shared_stack, first, SHENOY_VISIT, wanted[SHENOY_VISIT])
        refused = await ask(shared_stack, second, SHENOY_IN_MUMBAI, wanted[SHENOY_IN_MUMBAI])
        problem(refused, 409, "slot_taken")
        for secret in ("arogya", SHENOY[0], booked["id"]):
            assert secret not in refused.text
        ok(await cancel(first, booked["id"]))
        ok(await ask(shared_stack, second, SHENOY_IN_MUMBAI, wanted[SHENOY_IN_MUMBAI]), 201)


async def test_a_group_has_as_many_as_it_has_seats(shared_stack: Stack, client: Client) -> None:
    group = offer("steady", "class", "group")
    start = await a_start(shared_stack, group, days=(22, 23))
    outcome = await run(shared_stack, [(group, start)], 3 * SEATS)
    await check(shared_stack, client, outcome, SEATS)
    await check_orders(shared_stack, outcome)


async def test_a_full_house_of_the_childrens_clinic(shared_stack: Stack, client: Client) -> None:
    start = await a_start(shared_stack, CHILDREN, days=(22, 25))
    outcome = await run(shared_stack, [(CHILDREN, start)], 36)
    await check(shared_stack, client, outcome, 12)
    assert {one["state"] for one in outcome.won} == {"confirmed"}


async def test_two_groups_of_one_doctor_never_share_an_hour(shared_stack: Stack) -> None:
    classes, talk = offer("steady", "class", "group"), offer("steady", "talk", "group")
    start = await a_start(shared_stack, classes, days=(24, 25))
    outcome = await run(shared_stack, [(classes, start), (talk, start)], 3 * SEATS)
    assert len({one["service"]["id"] for one in outcome.won}) == 1
    assert len(outcome.won) == SEATS


async def test_a_freed_time_goes_to_one(shared_stack: Stack) -> None:
    """Cancelling and booking at once: whoever comes first, two never have it."""
    start = await a_start(shared_stack, VISIT, days=(26, 27))
    async with shared_stack.client(somebody()) as holder:
        held = await book(shared_stack, holder, VISIT, start)
        _, outcome = await asyncio.gather(cancel(holder, held["id"]), run(shared_stack, [(VISIT, start)], 12))
        await until(holder, held["id"], state="cancelled")
    assert len(outcome.won) <= 1
    taken = {"start": datetime.fromisoformat(start), "provider_id": VISIT.provider_id}
    assert [one["_id"] for one in shared_stack.db.slots.find(taken)] == [one["id"] for one in outcome.won]


@pytest.mark.race
@pytest.mark.timeout(600)
async def test_a_thousand_after_one_time(shared_stack: Stack, client: Client) -> None:
    await race(shared_stack, client, [VISIT], noon(30), THOUSAND)


@pytest.mark.race
@pytest.mark.timeout(600)
async def test_a_thousand_after_overlapping_times_of_one_doctor(shared_stack: Stack, client: Client) -> None:
    await race(shared_stack, client, [VISIT, LONG, PREPARED], noon(31) + timedelta(minutes=10), THOUSAND)


@pytest.mark.race
@pytest.mark.timeout(600)
async def test_a_thousand_after_one_doctor_at_two_clinics(shared_stack: Stack, client: Client) -> None:
    await race(shared_stack, client, [SHENOY_VISIT, SHENOY_VIDEO, SHENOY_IN_MUMBAI], shared_hour(weeks=3), THOUSAND)


@pytest.mark.race
@pytest.mark.timeout(600)
async def test_a_thousand_after_a_few_seats(shared_stack: Stack, client: Client) -> None:
    group = offer("steady", "class", "group")
    start = await a_start(shared_stack, group, days=(32, 33))
    outcome = await run(shared_stack, [(group, start)], THOUSAND)
    await check(shared_stack, client, outcome, SEATS)
    await check_orders(shared_stack, outcome)
