"""A stand-in for the telling: that it was begun is all that reminders are about."""

from __future__ import annotations

from temporalio import workflow

from models.notices import Notice


@workflow.defn(name="NotifyWorkflow")
class Told:
    """Takes a notice and is done."""

    @workflow.run
    async def run(self, notice: Notice) -> str:
        """The notice's own key."""
        return notice.id
