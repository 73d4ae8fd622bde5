"""Every fault at every step of every path: `make fault-matrix`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.booking.ending import steps_taken
from tests.booking.paths import MOVING, PATHS, PLACING
from tests.booking.town import SERVERS, Town

pytestmark = [pytest.mark.fault_matrix, pytest.mark.timeout(300)]

MOMENTS: Final = ("before", "after")
UNHURRIED: Final = (
    "paid", "captured_by_bank", "cancelled_held", "cancelled_paid", "free", "cancelled_free", "seat", "moved",
    "seat_moved", "visited", "missed",
)  # fmt: skip
"""Paths in which no deadline passes, however long the repair takes."""


@pytest.fixture(autouse=True)
async def _known(town: Town) -> None:
    await town.mend()
    await town.endings(list(PATHS))


async def test_undisturbed(town: Town) -> None:
    for path, appointment in town.undisturbed.items():
        assert await steps_taken(town.stack, town.temporal, appointment) == set(PATHS[path].steps)
    await town.holds()


def _points() -> Iterator[tuple[str, str]]:
    """Each step of each path, before and after; a hold with a short deadline begins after its placing."""
    for path in PATHS.values():
        steps = [step for step in path.steps if "swift" not in path.offer.provider_id or step not in PLACING]
        yield from ((path.name, f"{moment}:{step}") for step in steps for moment in MOMENTS)


@pytest.mark.parametrize(("path", "point"), list(_points()))
async def test_the_worker_is_killed(town: Town, path: str, point: str) -> None:
    visit = await town.visit(path)
    async with town.dying(point):
        await visit.play()
    await town.ends_as_usual(visit)


@dataclass(frozen=True)
class Misbehaviour:
    """How the gateway misbehaves, once."""

    mode: str
    status: int | None = None
    delay_seconds: float | None = None

    def __str__(self) -> str:
        more = [str(one) for one in (self.status, self.delay_seconds) if one is not None]
        return "-".join([self.mode, *more])

    async def begin(self, town: Town, operation: str, *, times: int = 1) -> None:
        options = {name: getattr(self, name) for name in ("status", "delay_seconds")}
        given = {name: value for name, value in options.items() if value is not None}
        await town.stack.fault(operation, self.mode, times=times, **given)


MISBEHAVIOURS: Final = (
    Misbehaviour("error"),
    Misbehaviour("error", status=401),
    Misbehaviour("timeout"),
    Misbehaviour("timeout_after_success"),
    Misbehaviour("slow"),
    Misbehaviour("slow", delay_seconds=7),
    Misbehaviour("malformed"),
    Misbehaviour("malformed", status=502),
    Misbehaviour("rate_limited"),
)
OPERATIONS: Final = {
    "order.create": "paid",
    "order.payments": "paid",
    "payment.capture": "paid",
    "refund.create": "cancelled_paid",
    "refund.fetch": "cancelled_paid",
}
LOST_ANSWERS: Final = {"order.fetch": "order.create", "payment.fetch": "payment.capture"}
"""What is only asked for after the answer to another request was lost."""


@pytest.mark.parametrize("fault", MISBEHAVIOURS, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_gateway_misbehaves(town: Town, operation: str, fault: Misbehaviour) -> None:
    visit = await town.visit(OPERATIONS[operation])
    await fault.begin(town, operation)
    await visit.play()
    await town.ends_as_usual(visit)


@pytest.mark.parametrize("fault", MISBEHAVIOURS, ids=str)
@pytest.mark.parametrize("operation", LOST_ANSWERS)
async def test_the_gateway_misbehaves_again_after_a_lost_answer(
    town: Town, operation: str, fault: Misbehaviour
) -> None:
    visit = await town.visit("paid")
    await town.stack.fault(LOST_ANSWERS[operation], "timeout_after_success")
    await fault.begin(town, operation)
    await visit.play()
    await town.ends_as_usual(visit)


@pytest.mark.parametrize("operation", ["order.create", "payment.capture"])
async def test_the_worker_dies_after_a_step_had_run_out_of_time(town: Town, operation: str) -> None:
    visit = await town.visit("cancelled_paid")
    await town.stack.fault(operation, "timeout")
    async with town.dying("before:booking.close"):
        await visit.play()
    await town.ends_as_usual(visit)


@pytest.mark.parametrize("operation", ["refund.create", "refund.fetch"])
async def test_a_refund_is_unknown_for_a_while(town: Town, operation: str) -> None:
    visit = await town.visit("cancelled_paid")
    await town.stack.fault(operation, "error", times=5)
    await visit.play()
    await town.ends_as_usual(visit)


async def test_the_gateway_is_away_until_the_deadline(town: Town) -> None:
    visit = await town.visit("expired")
    await town.stack.fault("order.create", "error", status=503, times=200)
    await visit.play()
    async with town.stack.control() as control:
        assert (await control.delete("/_control/faults")).is_success
    town.told[visit.id] = visit.told
    await town.holds()


async def test_the_gateway_refuses_to_tell_until_it_is_asked_again(town: Town) -> None:
    visit = await town.visit("hurried")
    await town.stack.fault("order.payments", "error", status=400)
    await visit.play()
    await town.ends_as_usual(visit)


@pytest.mark.parametrize("mode", ["thrice", "reordered"])
@pytest.mark.parametrize(
    "path", [path.name for path in PATHS.values() if path.payment_state not in {"pending", "not_required"}]
)
async def test_webhooks_go_astray(town: Town, path: str, mode: str) -> None:
    visit = await town.visit(path, webhook=mode)
    await visit.play()
    await town.ends_as_usual(visit)


@pytest.mark.parametrize("path", ["hurried", "late_authorized", "late_captured"])
async def test_webhooks_never_come(town: Town, path: str) -> None:
    visit = await town.visit(path, webhook="never")
    await visit.play()
    if path != "hurried":
        # Money of earlier visits that was left to lapse is still there to be found as well.
        assert (await town.sweep()).payments_found >= 1
    await town.ends_as_usual(visit)


def _outages() -> Iterator[tuple[str, str, str]]:
    for server in SERVERS:
        for path in ("cancelled_paid", "late_captured"):
            steps = [step for step in PATHS[path].steps if path == "cancelled_paid" or step not in PLACING]
            yield from ((server, path, f"{moment}:{step}") for step in steps for moment in MOMENTS)


@pytest.mark.parametrize(("server", "path", "point"), list(_outages()))
async def test_a_server_crashes(town: Town, server: str, path: str, point: str) -> None:
    visit = await town.visit(path)
    async with town.sweeping():
        async with town.held_up(point, lambda: town.restart(server)):
            await visit.play()
        await town.ends_as_usual(visit)
    assert town.stack.worker.alive, town.stack.worker.log_tail()
    assert town.stack.api.alive, town.stack.api.log_tail()


@pytest.mark.parametrize("path", ["moved", "seat_moved"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_crashes_while_a_visit_moves(town: Town, server: str, moment: str, path: str) -> None:
    visit = await town.visit(path)
    async with town.sweeping():
        async with town.held_up(f"{moment}:{MOVING}", lambda: town.restart(server)):
            await visit.play()
        await town.ends_as_usual(visit)


@pytest.mark.parametrize("point", [f"{moment}:{step}" for step in PATHS["cancelled_paid"].steps for moment in MOMENTS])
async def test_the_api_crashes(town: Town, point: str) -> None:
    visit = await town.visit("cancelled_paid")
    async with town.sweeping():
        async with town.held_up(point, town.restart_api):
            await visit.play()
        await town.ends_as_usual(visit)


@pytest.mark.parametrize("seed", range(6))
async def test_many_faults_at_once(town: Town, seed: int) -> None:
    """The seed, which is part of the test's name, is all that a failure needs to happen again."""
    chance = random.Random(seed)  # noqa: S311  it only has to be repeatable
    paths = ["cancelled_paid", *(chance.choice(UNHURRIED) for _ in range(9))]
    visits = [await town.visit(path, webhook=chance.choice(["once", "thrice", "reordered"])) for path in paths]
    for operation in OPERATIONS:
        await chance.choice(MISBEHAVIOURS).begin(town, operation, times=chance.randint(1, 3))
    point = f"{chance.choice(MOMENTS)}:{chance.choice([*PATHS['paid'].steps, 'booking.close'])}"
    outage = _later(chance.uniform(0, 5), town.restart(chance.choice(SERVERS)))
    plays = [_later(chance.uniform(0, 5), visit.play()) for visit in visits]
    async with town.sweeping():
        async with town.dying(point):
            await asyncio.gather(outage, *plays)
        await town.ends_as_usual(*visits)


async def _later(seconds: float, what: Awaitable[None]) -> None:
    await asyncio.sleep(seconds)
    await what
