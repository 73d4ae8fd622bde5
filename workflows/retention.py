"""Retention, run by a schedule every day: what was kept for its time goes."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.erasure import ErasureActivities
    from activities.retention import Amendment, RetentionActivities
    from models.erasure import STORES, EraseStore, ErasureReceipt
    from models.retention import Over, RetentionTally, Turn
    from workflows.policies import ERASE, SWEEP, heartbeating, is_cancelled, regular

AT_ONCE = 5
"""So many classes of those who left are erased side by side: each waits until nobody remembers a key."""


@workflow.defn(name="RetentionWorkflow")
class RetentionWorkflow:
    """Removes what is too old of everybody, then class by class what was left of those who were erased."""

    @workflow.run
    async def run(self) -> RetentionTally:
        """One turn."""
        turn = Turn(at=workflow.now())
        tally, failure = await self._sweep(turn)
        over = await regular(RetentionActivities.over, turn, SWEEP, "what was left behind and is over")
        for start in range(0, len(over), AT_ONCE):
            await asyncio.gather(*(self._erase(one) for one in over[start : start + AT_ONCE]))
        workflow.set_current_details(f"{tally.total} records and {len(over)} classes of those who left removed")
        if failure is not None:
            raise failure
        return tally.model_copy(update={"classes": len(over)})

    async def _sweep(self, turn: Turn) -> tuple[RetentionTally, ActivityError | None]:
        """What was promised to those who left does not wait for those who stay: a failure is told at the end."""
        try:
            return await heartbeating(RetentionActivities.sweep, turn, SWEEP, "remove what is too old"), None
        except ActivityError as error:
            if is_cancelled(error):
                raise
            return RetentionTally(), error

    async def _erase(self, over: Over) -> None:
        receipts: list[ErasureReceipt] = []
        for store in STORES:
            step = EraseStore(
                subject_id=over.subject_id,
                store=store,
                data_class=over.retained_under,
                at=workflow.now(),
                deletion_id=over.deletion_id,
            )
            receipts += await heartbeating(
                ErasureActivities.erase, step, ERASE, f"erase in {store}: {over.retained_under}"
            )
        amendment = Amendment(over=over, receipts=tuple(receipts), at=workflow.now())
        await regular(RetentionActivities.amend, amendment, ERASE, "amend the certificate")
