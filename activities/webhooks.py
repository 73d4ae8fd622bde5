"""Passing on what the gateway told us: from the inbox to the workflow that it concerns."""

from __future__ import annotations

from models.identity import System
from models.payments import REFUND_TRANSITIONS, WebhookEvent
from models.ports import Appointments, Payments, WebhookInbox, WorkflowStarter

WEBHOOK = System("the gateway names orders and refunds, not tenants")


class WebhookRouter:
    """Finds whom an event concerns. The event itself is only a hint: the workflow asks the gateway."""

    def __init__(
        self, inbox: WebhookInbox, appointments: Appointments, payments: Payments, starter: WorkflowStarter
    ) -> None:
        """Where events wait, what they may concern and how workflows are told."""
        self._inbox = inbox
        self._appointments = appointments
        self._payments = payments
        self._starter = starter

    async def pass_on(self, event: WebhookEvent) -> None:
        """Tell the workflow, then note that it was told. Raises `UnavailableError`; the sweep tries again."""
        if event.type.startswith("refund."):
            await self._refund(event)
        elif event.order_id is not None:
            await self._payment(event, event.order_id)
        await self._inbox.passed_on(event.id)

    async def _refund(self, event: WebhookEvent) -> None:
        if event.refund_id is None:
            return
        refund = await self._payments.by_gateway_refund(WEBHOOK, event.refund_id)
        if refund is None and event.receipt is not None:
            # The word about a refund may come before the answer to our request for it.
            refund = await self._payments.refund(WEBHOOK, event.receipt)
        # A refund whose last word is in the books needs no workflow any more.
        if refund is not None and REFUND_TRANSITIONS[refund.state]:
            await self._starter.report_refund(refund)

    async def _payment(self, event: WebhookEvent, order_id: str) -> None:
        appointment = await self._appointments.by_order(WEBHOOK, order_id)
        if appointment is None:
            return
        if appointment.payment_id == event.payment_id and event.payment_id is not None:
            # This payment is in the books already; telling the workflow again would only cost it a turn.
            return
        await self._starter.report_payment(appointment.id, order_id, event.payment_id)
