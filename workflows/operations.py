"""Periodic work: the reconciliation sweep, run by a schedule."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.operations import OperationsActivities, Sweep
    from models.base import Model
    from models.operations import ReconciliationTally
    from workflows.policies import SWEEP, heartbeating


class Reconcile(Model):
    """How far back the orders of ended bookings are asked for."""

    look_back: timedelta


@workflow.defn(name="ReconciliationWorkflow")
class ReconciliationWorkflow:
    """Finds payments that we were never told of and refunds that we lost sight of."""

    @workflow.run
    async def run(self, reconcile: Reconcile) -> ReconciliationTally:
        """One sweep."""
        now = workflow.now()
        sweep = Sweep(at=now, orders_since=now - reconcile.look_back)
        tally = await heartbeating(OperationsActivities.sweep, sweep, SWEEP, "compare with the gateway")
        workflow.set_current_details(
            f"{tally.webhooks_signalled} webhooks passed on, {tally.orders_asked} orders asked, "
            f"{tally.orders_refused} of them refused, "
            f"{tally.payments_found} payments found, {tally.refunds_revived} refunds and "
            f"{tally.bookings_revived} bookings woken"
        )
        return tally
