"""A follow-up on real processes, from the visit to the phone; and where the worker dies at any of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from models.identity import Account, Role
from models.policy import TenantPolicy
from sandbox.servers.stack import Addresses
from tests.booking.support import book, ok, say
from tests.clinics import catalogue, employee, offer
from tests.faults import dying
from tests.messaging.readers import a_reader, repositories
from tests.stack import LONG, Json, Stack, eventually, running

pytestmark = pytest.mark.timeout(240)

CLINIC: Final = offer("steady", "free")
STEPS: Final = ("follow_up.look", "follow_up.raise_task")
IN_CI: Final = "after:follow_up.raise_task"
QUICK: Final[TenantPolicy] = LONG.model_copy(update={"feedback_after_seconds": 2})


def _points() -> list[ParameterSet]:
    points = [f"{moment}:{step}" for step in STEPS for moment in ("before", "after")]
    return [pytest.param(one, marks=() if one == IN_CI else (pytest.mark.fault_matrix,)) for one in points]


@pytest.fixture(scope="module")
def asking(servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, whose patients are asked within seconds."""
    folder = tmp_path_factory.mktemp("stack")
    with running(servers, module_database_name, folder, QUICK, catalogue=catalogue(QUICK)) as started:
        yield started


async def _visit(stack: Stack, reader: Account) -> str:
    async with stack.client(reader) as who, stack.client(employee("steady", Role.STAFF)) as desk:
        visit = str((await book(stack, who, CLINIC))["id"])
        for step in ("check-in", "start", "complete"):
            ok(await say(desk, visit, step))
    return visit


@pytest.mark.parametrize("point", _points())
async def test_a_low_rating_is_one_task_whenever_the_worker_dies(asking: Stack, point: str) -> None:
    async with repositories(asking) as stores:
        reader = await a_reader(stores)
        visit = await _visit(asking, reader)

        async def asked() -> list[str]:
            return [one["text"] for one in await asking.messages(reader.phone or "-") if "/review" in one["text"]]

        [text] = await eventually(asked, bool, 60)
        assert "/unsubscribe" in text

        async def tasks() -> list[Json]:
            return list(asking.db.staff_tasks.find({"appointment_id": visit}))

        async def raised() -> list[Json]:
            found = asking.db.appointments.find_one({"_id": visit}) or {}
            return [one for one in found.get("follow_up", []) if one["key"] == "low_rating"]

        async with asking.client(reader) as who, dying(asking, point):
            for _ in range(2):
                ok(await who.put(f"/v1/appointments/{visit}/review", json={"rating": 1}))
            assert len(await eventually(raised, bool, 90)) == 1
        assert len(await tasks()) == 1
        assert len(await asked()) == 1
