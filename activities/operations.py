"""The sweep: what we were never told of and what we lost sight of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from temporalio import activity

from activities.failures import typed_failures
from activities.webhooks import WebhookRouter
from models.base import Model, UtcDatetime
from models.booking import Appointment
from models.errors import GatewayError
from models.identity import System
from models.operations import ReconciliationTally
from models.payments import GatewayPaymentStatus
from models.ports import Appointments, PaymentGateway, Payments, WebhookInbox, WorkflowStarter

SWEEP = System("the sweep looks after all tenants")
PAGE = 100
WEBHOOK_PATIENCE = timedelta(seconds=15)
OVERDUE_PATIENCE = timedelta(minutes=5)
REFUND_PATIENCE = timedelta(minutes=15)
_MONEY = frozenset({GatewayPaymentStatus.AUTHORIZED, GatewayPaymentStatus.CAPTURED})


class Sweep(Model):
    """One sweep: the present instant and how far back orders of ended bookings are asked for."""

    at: UtcDatetime
    orders_since: UtcDatetime


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Identified)


class OperationsActivities:
    """Sweeps. Each only looks and tells; the workflows do what is to be done, once."""

    def __init__(
        self,
        inbox: WebhookInbox,
        appointments: Appointments,
        payments: Payments,
        gateway: PaymentGateway,
        starter: WorkflowStarter,
    ) -> None:
        """The stores to look into, the gateway to compare with and the way to tell workflows."""
        self._inbox = inbox
        self._appointments = appointments
        self._payments = payments
        self._gateway = gateway
        self._starter = starter
        self._router = WebhookRouter(inbox, appointments, payments, starter)

    @activity.defn(name="operations.sweep")
    async def sweep(self, sweep: Sweep) -> ReconciliationTally:
        """Look at everything once."""
        with typed_failures():
            webhooks = await self._webhooks(sweep.at)
            refunds = await self._refunds(sweep.at)
            bookings = await self._overdue(sweep.at)
            # Last, since it is the only part that the gateway can hold up.
            orders = await self._orders(sweep)
        return orders.model_copy(
            update={"webhooks_signalled": webhooks, "refunds_revived": refunds, "bookings_revived": bookings}
        )

    async def _webhooks(self, at: datetime) -> int:
        """Pass on what was not; whatever was passed on no longer waits, so the next page is always the first."""
        count = 0
        while waiting := await self._inbox.waiting(at - WEBHOOK_PATIENCE, PAGE):
            for event in waiting:
                await self._router.pass_on(event)
                activity.heartbeat(event.id)
            count += len(waiting)
        return count

    async def _orders(self, sweep: Sweep) -> ReconciliationTally:
        """Orders of ended bookings on which nobody is known to have paid."""
        found = refused = 0

        async def ask(appointment: Appointment) -> None:
            nonlocal found, refused
            order_id = appointment.order_id
            if order_id is None:
                return
            try:
                facts = await self._gateway.payments_of(order_id)
            except GatewayError as error:
                if error.retryable:
                    raise
                # One order that the gateway will not hear of must not keep the others from being asked for.
                activity.logger.warning("the gateway refuses to tell of %s: %s", order_id, error)
                refused += 1
                return
            if any(fact.status in _MONEY and fact.payment_id != appointment.payment_id for fact in facts):
                found += 1
                await self._starter.report_payment(appointment.id, order_id, None)

        asked = await self._each(
            lambda after: self._appointments.unsettled(SWEEP, sweep.orders_since, sweep.at, after, PAGE), ask
        )
        return ReconciliationTally(orders_asked=asked, payments_found=found, orders_refused=refused)

    async def _refunds(self, at: datetime) -> int:
        return await self._each(
            lambda after: self._payments.open_refunds(SWEEP, at - REFUND_PATIENCE, after, PAGE),
            self._starter.report_refund,
        )

    async def _overdue(self, at: datetime) -> int:
        """Bookings whose awaited event is overdue: a nudge makes their workflow look again."""

        async def nudge(appointment: Appointment) -> None:
            await self._starter.report_payment(appointment.id, appointment.order_id or "none", None)

        return await self._each(
            lambda after: self._appointments.overdue(SWEEP, at - OVERDUE_PATIENCE, after, PAGE), nudge
        )

    async def _each(self, page: Callable[[str], Awaitable[list[T]]], act: Callable[[T], Awaitable[None]]) -> int:
        """Walk through pages by id, telling Temporal after each item that we are alive."""
        after, count = "", 0
        while items := await page(after):
            for item in items:
                await act(item)
                count += 1
                activity.heartbeat(count)
            after = items[-1].id
        return count
