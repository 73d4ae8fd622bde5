"""Leave: its free time is blocked day by day, which outlives the request that asked for it."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.availability import AvailabilityActivities, BlockLeave
    from models.booking import WaitingFor
    from models.ids import absence_workflow_id
    from models.operations import WorkflowStatus
    from models.publishing import LeaveRef, LeaveTally
    from workflows import attributes
    from workflows.absence import Absence, AbsenceWorkflow
    from workflows.policies import BULK_QUEUE, STORE, TASK_TIMEOUT, local_first

ABSENCE = "absence"
"""Leaves of before had nobody see to those whom they affect."""


@workflow.defn(name="LeaveWorkflow")
class LeaveWorkflow:
    """Takes one leave; it may run again at any time, since what is blocked stays blocked."""

    @workflow.init
    def __init__(self, leave: LeaveRef) -> None:
        """All state exists before any handler may run."""
        self._leave = leave
        self._blocked_until: datetime | None = None
        self._tally: LeaveTally | None = None

    @workflow.run
    async def run(self, leave: LeaveRef) -> LeaveTally:
        """Block the free time, some days at a time; then count what the leave has met."""
        workflow.upsert_search_attributes([attributes.TENANT_ID.value_set(leave.tenant_id)])
        while True:
            step = BlockLeave(leave=leave, since=self._blocked_until)
            following = await local_first(AvailabilityActivities.block_leave, step, STORE, "block free time")
            if following is None:
                break
            self._blocked_until = following
            workflow.set_current_details(f"blocked until {following:%Y-%m-%d %H:%M} UTC")
        self._tally = await local_first(AvailabilityActivities.settle_leave, leave, STORE, "count what it has met")
        workflow.set_current_details(
            f"{self._tally.blocks} stretches of free time are blocked, {self._tally.appointments} bookings lie within"
        )
        if workflow.patched(ABSENCE):
            await self._see_to_those_affected()
        return self._tally

    async def _see_to_those_affected(self) -> None:
        """That goes on by itself, for as long as they may choose."""
        try:
            child = await workflow.start_child_workflow(
                AbsenceWorkflow.run,
                Absence(leave=self._leave),
                id=absence_workflow_id(self._leave.leave_id),
                task_queue=BULK_QUEUE,
                task_timeout=TASK_TIMEOUT,
                parent_close_policy=ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                static_summary="offers other times to those whom a leave affects",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("somebody sees to them already")
        else:
            workflow.logger.debug("seen to by run %s", child.first_execution_run_id)

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is being done; nothing is awaited."""
        done = [] if self._blocked_until is None else [f"blocked until {self._blocked_until:%Y-%m-%d %H:%M} UTC"]
        waiting: WaitingFor | None = None
        return WorkflowStatus(state="taking" if self._tally is None else "taken", waiting_for=waiting, done=tuple(done))
