"""The relay is woken by steps of appointments, and by nothing else."""

from __future__ import annotations

import time

import pytest

from adapters.mongo.changes import ChangeWake
from adapters.mongo.repositories import Repositories
from models.identity import System
from tests.adapters.mongo.builders import a_command, a_confirmation, a_step

TEST = System("tests")
PATIENCE = 20.0


async def waited(wake: ChangeWake, seconds: float) -> float:
    began = time.monotonic()
    await wake.changed(seconds)
    return time.monotonic() - began


async def test_a_step_wakes_and_draining_does_not(stores: Repositories) -> None:
    async with ChangeWake.on(stores) as wake:
        # The stream opens in its own time: until it does, nothing is heard.
        deadline = time.monotonic() + PATIENCE
        while await waited(wake, 0.2) >= 0.2:
            assert time.monotonic() < deadline
            await stores.appointments.insert(TEST, a_step(a_command()), None)
        while await waited(wake, 0.5) < 0.5:
            assert time.monotonic() < deadline
        command = a_command()
        await stores.appointments.insert(TEST, a_step(command), None)
        assert await waited(wake, PATIENCE) < PATIENCE
        await stores.appointments.drained(await stores.appointments.events(1000))
        assert await waited(wake, 0.5) >= 0.5
        assert (await stores.appointments.advance(TEST, a_confirmation(command))).applied
        assert await waited(wake, PATIENCE) < PATIENCE
        assert await waited(wake, 0) < 0.5


async def test_it_says_so_where_it_may_not_listen(stores: Repositories) -> None:
    async def listen() -> None:
        wake = ChangeWake(stores.database["audit"])
        await wake._listen()

    with pytest.raises(Exception, match="not authorized"):
        await listen()
