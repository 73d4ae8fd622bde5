"""Steps at the payment gateway and in the books. The gateway is asked before anything is believed."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity

from activities.failures import typed_failures
from models.base import Id, Model, UtcDatetime
from models.booking import FINAL_STATES, RefundEntry
from models.errors import GatewayError, UnavailableError, not_found
from models.identity import System, Tenant
from models.money import Money
from models.payments import (
    Capture,
    GatewayPaymentStatus,
    NewOrder,
    PaymentFact,
    PaymentState,
    RefundFact,
    RefundRecord,
    RefundState,
    best_payment,
    capture_transaction,
    refund_transaction,
    stray_captures,
)
from models.ports import Appointments, PaymentGateway, Payments

LATE_PAYMENT = System("late payments arrive by order, not by tenant")


class OpenOrder(Model):
    """Ask the gateway for an order and note it on the appointment."""

    tenant_id: Id
    appointment_id: Id
    amount: Money
    window: timedelta
    at: UtcDatetime


class AskPayment(Model):
    """Ask the gateway who has paid an order; with `over` nothing can settle it any more but what already has."""

    order_id: Id
    amount: int
    settled_by: str | None = None
    over: bool = False


class PaymentAnswer(Model):
    """What the gateway knows of an order: the payment that settles it, and captured money that nobody is owed."""

    settles: PaymentFact | None
    strays: tuple[PaymentFact, ...]


class CapturePayment(Model):
    """Take authorized money, or book what the gateway took by itself."""

    capture: Capture
    already_captured: bool
    at: UtcDatetime


class OpenRefund(Model):
    """Promise money back, in the appointment and in the books."""

    refund: RefundRecord
    at: UtcDatetime


class SettleRefund(Model):
    """What became of a refund."""

    refund: RefundRecord
    state: RefundState
    gateway_refund_id: str | None
    at: UtcDatetime


class LateOrder(Model):
    """An order whose booking is over, and its appointment."""

    order_id: Id
    appointment_id: Id


class LateFound(Model):
    """What the guardian of an order needs to know of the appointment."""

    tenant_id: Id
    subject_id: Id
    settled_by: str | None
    amount: int
    watch_until: UtcDatetime
    voided: bool
    over: bool


ORDER_EXPIRY_MINIMUM = timedelta(minutes=12)
"""The shortest time after which the gateway gives uncaptured money back (Razorpay, capture settings)."""


class PaymentActivities:
    """The gateway, payments, refunds and the ledger."""

    def __init__(self, gateway: PaymentGateway, payments: Payments, appointments: Appointments) -> None:
        """The gateway and the stores to write to."""
        self._gateway = gateway
        self._payments = payments
        self._appointments = appointments

    @activity.defn(name="payments.open_order")
    async def open_order(self, step: OpenOrder) -> str:
        """The order's id; the receipt is the appointment's id, so a second try finds the first one's order."""
        expiry = max(ORDER_EXPIRY_MINIMUM, step.window + timedelta(days=1))
        with typed_failures():
            order = await self._gateway.create_order(
                NewOrder(
                    receipt=step.appointment_id,
                    amount=step.amount,
                    tenant_id=step.tenant_id,
                    capture_expiry_minutes=int(expiry.total_seconds() // 60),
                )
            )
            await self._appointments.record_order(Tenant(step.tenant_id), step.appointment_id, order.id, step.at)
        return order.id

    @activity.defn(name="payments.ask")
    async def ask(self, step: AskPayment) -> PaymentAnswer:
        """Who has paid, as the gateway says now."""
        with typed_failures():
            facts = await self._gateway.payments_of(step.order_id)
        settles = best_payment(facts, step.order_id, step.amount)
        settled_by = step.settled_by or (settles.payment_id if settles and not step.over else None)
        return PaymentAnswer(settles=settles, strays=tuple(stray_captures(facts, settled_by)))

    @activity.defn(name="payments.capture")
    async def capture(self, step: CapturePayment) -> bool:
        """Take the money and book it; False where it is gone (lapsed or given back meanwhile)."""
        with typed_failures():
            if not step.already_captured and not await self._take(step.capture):
                return False
            await self._payments.record_capture(
                Tenant(step.capture.tenant_id), step.capture, capture_transaction(step.capture, step.at)
            )
        return True

    async def _take(self, capture: Capture) -> bool:
        try:
            fact = await self._gateway.capture(capture.payment_id, Money(amount=capture.amount))
        except GatewayError as error:
            if error.retryable:
                raise
            # The refusal's text decides nothing: the payment itself tells whether the money is ours.
            fact = await self._gateway.payment(capture.payment_id)
            if fact.status is GatewayPaymentStatus.AUTHORIZED:
                raise
        return fact.status is GatewayPaymentStatus.CAPTURED

    @activity.defn(name="payments.open_refund")
    async def open_refund(self, step: OpenRefund) -> int:
        """Reserve the amount on the appointment and write the refund; the paise that were promised.

        Never more than earlier refunds have left, and 0 where they have left nothing.
        """
        scope = Tenant(step.refund.tenant_id)
        with typed_failures():
            amount = await self._reserve(scope, step)
            if amount:
                refund = step.refund.model_copy(update={"amount": amount})
                await self._payments.open_refund(scope, refund, None, step.at)
        return amount

    async def _reserve(self, scope: Tenant, step: OpenRefund) -> int:
        refund = step.refund
        appointment = await self._appointments.find(scope, refund.appointment_id, open_sealed=False)
        if appointment is None:
            raise not_found()
        earlier = next((entry.amount for entry in appointment.refunds if entry.id == refund.id), None)
        amount = earlier or min(refund.amount, appointment.captured - appointment.refund_reserved)
        if amount <= 0:
            return 0
        entry = RefundEntry(
            id=refund.id,
            amount=amount,
            state=RefundState.PENDING,
            reason=refund.reason,
            payment_id=refund.payment_id,
        )
        if not await self._appointments.reserve_refund(scope, refund.appointment_id, entry, step.at):
            # Another refund has come in between: look again.
            raise UnavailableError("another refund of the same appointment is being promised")
        return amount

    @activity.defn(name="payments.send_refund")
    async def send_refund(self, refund: RefundRecord) -> RefundFact:
        """Ask the gateway for the refund; the refund's id is the idempotency key, so repeating it is safe."""
        with typed_failures():
            return await self._gateway.refund(refund)

    @activity.defn(name="payments.refund_status")
    async def refund_status(self, refund: RefundRecord) -> RefundFact:
        """What became of a refund at the gateway."""
        with typed_failures():
            if refund.gateway_refund_id is None:
                return await self._gateway.refund(refund)
            return await self._gateway.refund_status(refund.payment_id, refund.gateway_refund_id)

    @activity.defn(name="payments.settle_refund")
    async def settle_refund(self, step: SettleRefund) -> RefundRecord:
        """Move the refund forward in the books, then on the appointment."""
        scope = Tenant(step.refund.tenant_id)
        transaction = None
        if step.state is RefundState.FAILED and step.gateway_refund_id is not None:
            transaction = refund_transaction(step.refund, step.at, failed=True)
        elif step.state in (RefundState.PENDING, RefundState.PROCESSED):
            transaction = refund_transaction(step.refund, step.at)
        with typed_failures():
            record = await self._payments.settle_refund(
                scope, step.refund.id, step.state, step.gateway_refund_id, transaction, step.at
            )
            await self._appointments.settle_refund(
                scope, step.refund.appointment_id, step.refund.id, record.state, step.at
            )
        return record

    @activity.defn(name="payments.late_order")
    async def late_order(self, late: LateOrder) -> LateFound | None:
        """The appointment behind an order; None where the order is not the appointment's."""
        with typed_failures():
            found = await self._appointments.find(LATE_PAYMENT, late.appointment_id, open_sealed=False)
        if found is None or found.order_id != late.order_id:
            return None
        watch = timedelta(days=found.policy.late_payment_watch_days)
        return LateFound(
            tenant_id=found.tenant_id,
            subject_id=found.subject_id,
            settled_by=found.payment_id,
            amount=found.service.fee.amount,
            watch_until=max(found.updated_at, found.deadline or found.updated_at) + watch,
            voided=found.payment_state is PaymentState.VOIDED,
            over=found.state in FINAL_STATES,
        )
