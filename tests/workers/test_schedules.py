"""The schedules of the periodic work: applying them is repeatable, and what they start can start."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from functools import partial

import pytest_asyncio
from temporalio.client import Client, ScheduleDescription, ScheduleHandle

from adapters.connections import connect_temporal
from adapters.settings import Settings
from cli.running import environment_of
from tests.stack import ROOT, eventually
from workers import schedules
from workflows.policies import BULK_QUEUE


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(settings: Settings) -> Client:
    return await connect_temporal(settings)


async def described(client: Client) -> dict[str, ScheduleDescription]:
    """Every schedule there is."""
    return {
        name: await client.get_schedule_handle(name).describe()
        for name in [one.id async for one in await client.list_schedules()]
    }


async def all_listed(client: Client) -> dict[str, ScheduleDescription]:
    """Every schedule, once the list has caught up with what was made."""
    wanted = schedules.schedules()
    return await eventually(lambda: described(client), lambda found: found.keys() == wanted.keys())


async def test_applying_twice_changes_nothing(client: Client) -> None:
    names = list(schedules.schedules())
    assert names
    assert await schedules.apply(client) == names
    first = await all_listed(client)
    assert await schedules.apply(client) == names
    second = await all_listed(client)
    for name in names:
        assert second[name].schedule.spec == first[name].schedule.spec
        assert second[name].schedule.policy == first[name].schedule.policy
        assert second[name].schedule.spec.intervals == schedules.schedules()[name].spec.intervals


async def test_two_releases_may_apply_at_once(client: Client) -> None:
    assert await asyncio.gather(*(schedules.apply(client) for _ in range(4))) == [list(schedules.schedules())] * 4
    await all_listed(client)


async def test_what_an_operator_paused_stays_paused(client: Client) -> None:
    await schedules.apply(client)
    name = next(iter(schedules.schedules()))
    handle = client.get_schedule_handle(name)
    await handle.pause(note="the gateway is being moved")
    await schedules.apply(client)
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "the gateway is being moved")
    await handle.unpause()


async def _skipped(handle: ScheduleHandle) -> int:
    """How many starts the schedule left out, since one was still running."""
    return (await handle.describe()).info.num_actions_skipped_overlap


async def test_each_starts_its_sweep_and_never_two_at_once(client: Client) -> None:
    await schedules.apply(client)
    for name in schedules.schedules():
        handle = client.get_schedule_handle(name)
        await handle.trigger()

        async def started(query: str = f'WorkflowId STARTS_WITH "{name}" AND ExecutionStatus = "Running"') -> list[str]:
            return [f"{one.workflow_type} on {one.task_queue}" async for one in client.list_workflows(query)]

        kind = {
            "upkeep": "UpkeepWorkflow",
            "audit-sealing": "AuditSealingWorkflow",
            "retention": "RetentionWorkflow",
        }.get(name, "ReconciliationWorkflow")
        assert await eventually(started, bool) == [f"{kind} on {BULK_QUEUE}"]
        await handle.trigger()
        await eventually(partial(_skipped, handle), bool)
        assert len(await started()) == 1


async def test_the_command_applies_them(settings: Settings, client: Client) -> None:
    command = [sys.executable, "-P", "-m", "cli", "schedules", "apply"]
    environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT)}
    ended = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout.split()) == (0, list(schedules.schedules())), ended.stderr
    await all_listed(client)
