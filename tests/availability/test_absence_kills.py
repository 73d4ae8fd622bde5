"""The worker dies in the middle of an absence: everybody is told once all the same, and ends exactly once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from models.ids import absence_workflow_id
from sandbox.servers.stack import Addresses
from tests.availability.away import (
    after,
    booked,
    choose,
    free_on,
    hurry,
    link_of,
    offers_of,
    offers_received,
    take_leave,
    until_offers,
    whole_refunds,
)
from tests.booking.support import temporal, the_books_hold
from tests.clinics import catalogue, offer
from tests.faults import dying
from tests.stack import LONG, Json, Stack, eventually, running

PAID: Final = offer("brisk", "visit")
FREE: Final = offer("brisk", "free")
STEPS: Final = ("absence.find", "absence.tell", "absence.settle", "absence.count")
POINTS: Final = [f"{moment}:{step}" for step in STEPS for moment in ("before", "after")]
IN_CI: Final = "after:absence.settle"
MANY: Final = 500
CHOICE: Final = 240
"""Seconds to choose: all are told within them, and some hesitate until after them."""


@pytest.fixture(scope="module")
def own_stack(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose worker this module may kill."""
    folder = tmp_path_factory.mktemp("stack")
    with running(servers, "visitnow_absence", folder, LONG, catalogue=catalogue(LONG)) as started:
        yield started


async def _a_leave_over(stack: Stack, visits: list[Json], seconds: int) -> str:
    await hurry(stack, visits, seconds)
    starts = sorted(one["start"] for one in visits)
    return str((await take_leave(stack, PAID, starts[0], after(starts[-1], 15)))["id"])


async def _told_once(stack: Stack, first: int, count: int) -> None:
    async def received() -> set[int]:
        return {await offers_received(stack, first + number) for number in range(count)}

    assert await eventually(received, lambda seen: seen == {1}, 30) == {1}


def _points() -> list[ParameterSet]:
    return [pytest.param(one, marks=() if one == IN_CI else (pytest.mark.fault_matrix,)) for one in POINTS]


def _choice(point: str) -> int:
    """Seconds to choose. A worker that dies before everybody is told is replaced within them: an offer whose time is
    over is told to nobody.
    """
    return 15 if point == IN_CI else 45


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", _points())
async def test_a_killed_worker_tells_and_refunds_nobody_twice(own_stack: Stack, point: str) -> None:
    stack, count = own_stack, 6 if point == IN_CI else 12
    first, day = 31_000 + 100 * POINTS.index(point), 12 + 2 * POINTS.index(point)
    starts = (await free_on(stack, PAID, day))[:count]
    visits = await booked(stack, PAID, starts, first, paid=True)
    async with dying(stack, point):
        leave = await _a_leave_over(stack, visits, _choice(point))
        await until_offers(stack, leave, 150, cancelled=count)
    await _told_once(stack, first, count)
    await whole_refunds(stack, visits)


@pytest.mark.fault_matrix
@pytest.mark.timeout(1500)
async def test_five_hundred_end_exactly_once(own_stack: Stack) -> None:
    """A third are paid; a fifth choose, at any moment; the worker dies several times in between."""
    stack, first, chance = own_stack, 40_000, random.Random(20_261_123)  # noqa: S311  chance, no secret
    starts = await stack.free_starts(FREE.provider_id, FREE.service_id, days=(50, 58))
    visits = await booked(stack, FREE, starts[: MANY * 2 // 3], first)
    paid = await booked(stack, PAID, starts[MANY * 2 // 3 : MANY], first + len(visits), paid=True)
    everybody = [*visits, *paid]
    assert len(everybody) == MANY
    leave = await _a_leave_over(stack, everybody, CHOICE)
    choosing = chance.sample(range(MANY), MANY // 5)
    times = await stack.free_starts(FREE.provider_id, FREE.service_id, days=(5, 20))
    taken = chance.sample(times, len(choosing))

    async def chooses(number: int, start: str) -> tuple[int, int]:
        token = await link_of(stack, first + number, CHOICE)
        await asyncio.sleep(chance.uniform(0, CHOICE))
        async with stack.anonymous() as anybody:
            return number, (await choose(anybody, token, start)).status_code

    async def dies_now_and_then() -> None:
        for _ in range(5):
            await asyncio.sleep(chance.uniform(5, 20))
            stack.worker.kill()
            stack.restart_worker()

    async with asyncio.TaskGroup() as beside:
        beside.create_task(dies_now_and_then())
        tasks = [beside.create_task(chooses(*one)) for one in zip(choosing, taken, strict=True)]
    answers = dict(task.result() for task in tasks)
    assert set(answers.values()) <= {200, 409, 503}
    ended = await eventually(lambda: offers_of(stack, leave), lambda seen: not {"new", "offered"} & seen.keys(), 300)
    assert sum(ended.values()) == MANY
    assert set(ended) <= {"rebooked", "cancelled"}
    assert ended["rebooked"] >= sum(code == 200 for code in answers.values())
    for number, visit in enumerate(everybody):
        now = stack.db.appointments.find_one({"_id": visit["id"]})
        noted = stack.db.absence_offers.find_one({"leave_id": leave, "appointment_id": visit["id"]})
        assert now is not None
        assert noted is not None
        moved = noted["state"] == "rebooked"
        assert now["state"] == ("confirmed" if moved else "cancelled"), number
        assert sum(one["event"] == "appointment.cancelled" for one in now["history"]) == (0 if moved else 1)
        assert answers.get(number) != 200 or moved
    cancelled = [one for one in paid if stack.db.appointments.count_documents({"_id": one["id"], "state": "cancelled"})]
    await whole_refunds(stack, cancelled)
    await _told_once(stack, first, MANY)
    await the_books_hold(stack)
    client = await temporal(stack)
    tally = _counts(await client.get_workflow_handle(absence_workflow_id(leave)).result())
    assert tally == {**dict.fromkeys(tally, 0), **ended}


def _counts(result: object) -> dict[str, int]:
    """The tally that the workflow has ended with."""
    assert isinstance(result, dict)
    return {str(name): int(count) for name, count in result.items()}
