"""The upkeep, run by a schedule every minute."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.upkeep import Turn, UpkeepActivities
    from models.upkeep import UpkeepTally
    from workflows.policies import SWEEP, heartbeating


@workflow.defn(name="UpkeepWorkflow")
class UpkeepWorkflow:
    """Begins what was promised and never begun, then forgets what nobody needs any more."""

    @workflow.run
    async def run(self) -> UpkeepTally:
        """One turn."""
        turn = Turn(at=workflow.now())
        begun = await heartbeating(UpkeepActivities.begin, turn, SWEEP, "begin what was promised")
        forgotten = await heartbeating(UpkeepActivities.forget, turn, SWEEP, "forget what is over")
        kinds = forgotten.model_dump(include={"words", "strangers", "files"})
        tally = begun.model_copy(update=kinds)
        workflow.set_current_details(
            f"{tally.leaves} leaves, {tally.messages} messages and {tally.deletions} deletions begun, "
            f"{tally.reviews} low reviews and {tally.requests} requests by right passed on, "
            f"the words of {tally.words} messages and {tally.strangers} strangers forgotten, "
            f"{tally.files} files removed"
        )
        return tally
