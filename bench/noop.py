"""The least that a durable workflow can cost: one activity that does nothing."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow


@activity.defn(name="noop")
async def noop() -> None:
    """Do nothing."""


@workflow.defn(name="NoopWorkflow")
class NoopWorkflow:
    """One activity; then the end, or an open workflow that waits for nothing in particular."""

    @workflow.run
    async def run(self, stay_open: bool) -> None:  # noqa: FBT001  a workflow's arguments are positional
        """Run the activity, then stay where asked to."""
        await workflow.execute_activity(noop, start_to_close_timeout=timedelta(seconds=10))
        if stay_open:
            await workflow.wait_condition(lambda: False)
