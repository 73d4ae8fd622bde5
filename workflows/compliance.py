"""Sealing the audit, run by a schedule every few minutes."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.compliance import AuditActivities, SealEverything, SealTally
    from workflows.policies import SWEEP, heartbeating


@workflow.defn(name="AuditSealingWorkflow")
class AuditSealingWorkflow:
    """Puts every tenant's settled entries under signed seals."""

    @workflow.run
    async def run(self, turn: SealEverything) -> SealTally:
        """One turn."""
        tally = await heartbeating(AuditActivities.seal, turn, SWEEP, "seal the audit")
        workflow.set_current_details(f"{tally.entries} entries of {tally.tenants} tenants under {tally.seals} seals")
        return tally
