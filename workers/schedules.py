"""The schedules of the periodic work; applying them twice changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from activities.compliance import SealEverything
from adapters.mongo.compliance import SETTLE_SECONDS
from workflows.compliance import AuditSealingWorkflow
from workflows.operations import Reconcile, ReconciliationWorkflow
from workflows.policies import BULK_QUEUE
from workflows.retention import RetentionWorkflow
from workflows.upkeep import UpkeepWorkflow

RETENTION = "retention"


def _sweep(name: str, every: timedelta, look_back: timedelta) -> Schedule:
    reconcile = ScheduleActionStartWorkflow(
        ReconciliationWorkflow.run,
        Reconcile(look_back=look_back),
        id=name,
        task_queue=BULK_QUEUE,
        static_summary=f"compares the last {look_back} with the gateway",
    )
    return _one_at_a_time(reconcile, every)


def _upkeep(name: str, every: timedelta) -> Schedule:
    turn = ScheduleActionStartWorkflow(
        UpkeepWorkflow.run, id=name, task_queue=BULK_QUEUE, static_summary="begins what was promised, forgets the rest"
    )
    return _one_at_a_time(turn, every)


def _sealing(name: str, every: timedelta) -> Schedule:
    turn = ScheduleActionStartWorkflow(
        AuditSealingWorkflow.run,
        SealEverything(settle_seconds=SETTLE_SECONDS),
        id=name,
        task_queue=BULK_QUEUE,
        static_summary="puts the audit's entries under seals",
    )
    return _one_at_a_time(turn, every)


def _retention(name: str, every: timedelta) -> Schedule:
    turn = ScheduleActionStartWorkflow(
        RetentionWorkflow.run, id=name, task_queue=BULK_QUEUE, static_summary="removes what was kept for its time"
    )
    return _one_at_a_time(turn, every)


def _one_at_a_time(action: ScheduleActionStartWorkflow, every: timedelta) -> Schedule:
    return Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        # A sweep that is still running has not seen less than a new one would.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    )


def schedules() -> dict[str, Schedule]:
    """Every schedule by its id. The gateway wants unpaid orders asked for from 15 minutes on."""
    return {
        "reconcile-recent": _sweep("reconcile-recent", timedelta(minutes=5), timedelta(hours=2)),
        "upkeep": _upkeep("upkeep", timedelta(minutes=1)),
        "audit-sealing": _sealing("audit-sealing", timedelta(minutes=5)),
        RETENTION: _retention(RETENTION, timedelta(days=1)),
        "reconcile-week": _sweep("reconcile-week", timedelta(hours=6), timedelta(days=8)),
    }


async def apply(client: Client) -> list[str]:
    """Create or update every schedule; their ids. What an operator has paused stays paused."""
    for name, schedule in schedules().items():
        try:
            await client.create_schedule(name, schedule)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(name).update(_replacing(schedule))
    return list(schedules())


def _replacing(schedule: Schedule) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    def update(present: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=replace(schedule, state=present.description.schedule.state))

    return update
