"""Two who act on the same visit, or want the same time, at once: whoever comes first, everything fits afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from itertools import pairwise
from typing import Final

import httpx
import pytest
import pytest_asyncio

from models.identity import Role
from tests.booking.support import (
    ask,
    book,
    book_paid,
    cancel,
    claims_of,
    look,
    problem,
    reschedule,
    say,
    somebody,
    the_books_hold,
)
from tests.clinics import employee, offer
from tests.stack import Json, Stack

FREE, VISIT, TALK = offer("steady", "free"), offer("steady", "visit"), offer("steady", "talk", "group")
FEW: Final = 4
TRIES: Final = 3
MANY: Final = 60
"""How often each race is run; which of the two comes first is chance."""

ROUNDS: Final = [FEW, pytest.param(MANY, marks=[pytest.mark.race, pytest.mark.timeout(600)])]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


class Scene:
    """The front desk, and patients each with a visit of their own."""

    def __init__(self, stack: Stack, desk: httpx.AsyncClient, free: Iterator[str], clients: AsyncExitStack) -> None:
        self.stack = stack
        self.desk = desk
        self.free = free
        self._clients = clients

    async def patient(self) -> httpx.AsyncClient:
        return await self._clients.enter_async_context(self.stack.client(somebody()))

    async def visit(self) -> tuple[httpx.AsyncClient, Json]:
        """Somebody with a confirmed visit."""
        who = await self.patient()
        return who, await book(self.stack, who, FREE, next(self.free))

    async def holds(self, who: httpx.AsyncClient, visit: Json, *states: str) -> Json:
        """The visit is in one of these states, and has exactly the time that it says, or none."""
        seen = await look(who, visit["id"])
        assert seen["state"] in states
        assert claims_of(self.stack, visit["id"]) == (0 if seen["state"] == "cancelled" else 1)
        return seen


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(shared_stack: Stack) -> AsyncIterator[Scene]:
    free = await shared_stack.free_starts(FREE.provider_id, FREE.service_id, days=(22, 50))
    async with AsyncExitStack() as clients:
        desk = await clients.enter_async_context(shared_stack.client(employee("steady", Role.STAFF)))
        yield Scene(shared_stack, desk, iter(free), clients)


async def at_once(*asked: Awaitable[httpx.Response]) -> list[httpx.Response]:
    """Ask for all in the same moment."""
    return list(await asyncio.gather(*asked))


class _TooBusyError(Exception):
    """Somebody was told to come again, so nobody knows whether they were heard: such a round decides nothing."""


def _codes(answers: list[httpx.Response], *refusals: str) -> list[str]:
    """How each was answered: `ok`, or one of the refusals that there may be."""
    if any(one.status_code == HTTPStatus.SERVICE_UNAVAILABLE for one in answers):
        raise _TooBusyError
    found = ["ok" if one.is_success else problem(one, 409, one.json()["code"])["code"] for one in answers]
    assert set(found) <= {"ok", *refusals}, found
    return found


async def _times(rounds: int, play: Callable[[], Awaitable[str]]) -> None:
    """Play so many rounds, a few side by side; how they ended is shown where one fails."""
    ends: Counter[str] = Counter()

    async def played() -> str:
        for _ in range(TRIES):
            try:
                return await play()
            except _TooBusyError:
                ends["too busy"] += 1
        pytest.fail(f"too busy {TRIES} times in turn")

    for done in range(0, rounds, FEW):
        ends.update(await asyncio.gather(*(played() for _ in range(min(FEW, rounds - done)))))
    print(dict(ends))  # noqa: T201  shown where the test fails


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_cancel_and_book(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        who, visit = await scene.visit()
        other = await scene.patient()
        answers = await at_once(cancel(who, visit["id"]), ask(scene.stack, other, FREE, visit["start"]))
        cancelled, booked = _codes(answers, "slot_taken")
        assert cancelled == "ok"
        await scene.holds(who, visit, "cancelled")
        if booked == "ok":
            await scene.holds(other, answers[1].json(), "confirmed")
        return booked

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_cancel_and_cancel(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        who, visit = await scene.visit()
        answers = await at_once(cancel(who, visit["id"]), cancel(scene.desk, visit["id"]), cancel(who, visit["id"]))
        found = _codes(answers, "state_conflict")
        assert found.count("ok") == 1
        seen = await scene.holds(who, visit, "cancelled")
        assert [one["event"] for one in seen["history"]].count("appointment.cancelled") == 1
        return str(found)

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_cancel_and_pay(scene: Scene, rounds: int) -> None:
    """Cancelled it is; what was taken goes back, as the books are asked at the end."""

    async def play() -> str:
        who = await scene.patient()
        held = await book(scene.stack, who, VISIT, next(scene.free))
        order = held["payment"]["order_id"]
        _, cancelled = await asyncio.gather(scene.stack.pay(order), cancel(who, held["id"]))
        assert _codes([cancelled]) == ["ok"]
        seen = await scene.holds(who, held, "cancelled")
        return str(seen["payment_state"])

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_cancel_and_reschedule(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        who, visit = await scene.visit()
        there = next(scene.free)
        cancelled, moved = _codes(
            await at_once(cancel(scene.desk, visit["id"]), reschedule(who, visit["id"], there)), "state_conflict"
        )
        assert cancelled == "ok"
        await scene.holds(who, visit, "cancelled")
        # Both times are free again.
        for start in (visit["start"], there):
            other = await scene.patient()
            await book(scene.stack, other, FREE, start)
        return moved

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_cancel_and_check_in(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        who = await scene.patient()
        visit = await book_paid(scene.stack, who, VISIT, next(scene.free))
        cancelled, here, missed = _codes(
            await at_once(
                cancel(who, visit["id"]), say(scene.desk, visit["id"], "check-in"),
                say(scene.desk, visit["id"], "no-show"),
            ),
            "state_conflict",
        )  # fmt: skip
        seen = await scene.holds(who, visit, *(["cancelled"] if cancelled == "ok" else ["no_show", "checked_in"]))
        assert (seen["refunds"] != []) == (cancelled == "ok")
        return f"cancel {cancelled}, check-in {here}, no-show {missed}"

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_check_in_and_reschedule(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        who, visit = await scene.visit()
        there = next(scene.free)
        answers = await at_once(say(scene.desk, visit["id"], "check-in"), reschedule(who, visit["id"], there))
        here, moved = _codes(answers, "state_conflict")
        assert here == "ok"
        seen = await scene.holds(who, visit, "checked_in")
        assert seen["start"] == (there if moved == "ok" else visit["start"])
        return moved

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_two_patients_move_to_one_time_that_a_third_wants(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        (one, first), (other, second), third = await scene.visit(), await scene.visit(), await scene.patient()
        there = next(scene.free)
        answers = await at_once(
            reschedule(one, first["id"], there), reschedule(other, second["id"], there),
            ask(scene.stack, third, FREE, there),
        )  # fmt: skip
        found = _codes(answers, "slot_taken")
        assert found.count("ok") == 1
        for who, visit, code in ((one, first, found[0]), (other, second, found[1])):
            seen = await scene.holds(who, visit, "confirmed")
            assert seen["start"] == (there if code == "ok" else visit["start"])
        return str(found)

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_two_patients_swap_and_chase_each_other(scene: Scene, rounds: int) -> None:
    """Into a time that its owner is just leaving: it is got or not, and never by two."""

    async def play() -> str:
        (one, first), (other, second) = await scene.visit(), await scene.visit()
        there = next(scene.free)
        answers = await at_once(reschedule(one, first["id"], there), reschedule(other, second["id"], first["start"]))
        found = _codes(answers, "slot_taken")
        assert found[0] == "ok"
        await scene.holds(one, first, "confirmed")
        seen = await scene.holds(other, second, "confirmed")
        assert seen["start"] == (first["start"] if found[1] == "ok" else second["start"])
        if found[1] != "ok":
            return "too early"
        swapped = await at_once(reschedule(one, first["id"], first["start"]), reschedule(other, second["id"], there))
        _codes(swapped, "slot_taken")
        starts = [
            (await scene.holds(who, visit, "confirmed"))["start"] for who, visit in ((one, first), (other, second))
        ]
        assert len(set(starts)) == 2
        return "chased"

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_one_patient_moves_one_visit_twice(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        who, visit = await scene.visit()
        here, there = next(scene.free), next(scene.free)
        answers = await at_once(*(reschedule(who, visit["id"], start) for start in (here, there, here, there)))
        assert _codes(answers) == ["ok"] * 4
        seen = await scene.holds(who, visit, "confirmed")
        assert seen["start"] in {here, there}
        moves = [one["start"] for one in seen["history"] if one["event"] == "appointment.rescheduled"]
        assert moves[-1] == seen["start"]
        assert all(before != after for before, after in pairwise(moves))
        return str(len(moves))

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_what_is_said_twice_counts_once(scene: Scene, rounds: int) -> None:
    async def play() -> str:
        who, visit = await scene.visit()
        for step, state in (("no-show", "no_show"), ("check-in", "checked_in"), ("start", "in_consultation")):
            answers = await at_once(*(say(scene.desk, visit["id"], step) for _ in range(3)))
            assert _codes(answers, "state_conflict").count("ok") == 1
            await scene.holds(who, visit, state)
        seen = await look(who, visit["id"])
        assert len(seen["history"]) == 4
        # The same new time, sent twice, is one move and two answers.
        mover, moved = await scene.visit()
        there = next(scene.free)
        answers = await at_once(*(reschedule(mover, moved["id"], there) for _ in range(3)))
        assert _codes(answers) == ["ok"] * 3
        assert len((await scene.holds(mover, moved, "confirmed"))["history"]) == 2
        return "once"

    await _times(rounds, play)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_several_move_into_the_last_seat(scene: Scene, rounds: int) -> None:
    talks = await scene.stack.free_starts(TALK.provider_id, TALK.service_id, days=(22, 45))
    free = iter(talks)

    async def play() -> str:
        full, other = next(free), next(free)
        for _ in range(3):
            await book(scene.stack, await scene.patient(), TALK, full)
        movers = [await scene.patient() for _ in range(3)]
        visits = [await book(scene.stack, one, TALK, other) for one in movers]
        last = await scene.patient()
        answers = await at_once(
            *(reschedule(who, visit["id"], full) for who, visit in zip(movers, visits, strict=True)),
            ask(scene.stack, last, TALK, full),
        )
        found = _codes(answers, "slot_taken")
        assert found.count("ok") == 1
        for who, visit in zip(movers, visits, strict=True):
            await scene.holds(who, visit, "confirmed")
        return str(found)

    await _times(max(rounds // 4, 2), play)
