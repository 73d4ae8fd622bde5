"""The gateway's own books: orders, payments and refunds, and how each may change.

Everything is in memory and synchronous, so each call is one step that nothing interleaves with. Each change tells
`notify` what happened, once the books show it. Transitions:

- order: created → attempted (somebody tried) → paid (captured); it stays paid after a refund and never expires.
- payment: created → authorized → captured → refunded, created → failed, failed → authorized (the bank answers late),
  authorized → refunded (nobody captured in time: given back, never captured).
- refund: pending → processed | failed; a failed one is taken off the payment's refunded amount again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sandbox import entities
from sandbox.entities import Entity, Method, Order, Payment, PaymentStatus, Refund
from sandbox.errors import GatewayError, unknown_id
from sandbox.validation import CaptureRule, OrderRequest, Page, RefundRequest

Item = TypeVar("Item", Order, Payment, Refund)

TRANSITIONS: dict[PaymentStatus, frozenset[PaymentStatus]] = {
    "created": frozenset({"authorized", "failed"}),
    "authorized": frozenset({"captured", "refunded"}),
    "captured": frozenset({"refunded"}),
    "failed": frozenset({"authorized"}),
    "refunded": frozenset({"captured"}),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a payment, with the entities as they stand now, in the order they are told."""

    name: str
    payment_id: str
    contents: tuple[Entity, ...]


class Ledger:
    """Every entity the gateway knows; refusals are GatewayError in the gateway's words."""

    def __init__(self, notify: Callable[[Event], None], clock: Callable[[], float] = time.time) -> None:
        """Open empty books; `clock` gives Unix seconds."""
        self.orders: dict[str, Order] = {}
        self.payments: dict[str, Payment] = {}
        self.refunds: dict[str, Refund] = {}
        self.captured_at: dict[str, int] = {}
        self._notify = notify
        self._clock = clock
        self._latest = 0
        self._rules: dict[str, CaptureRule] = {}
        self._by_receipt: dict[str, str] = {}
        self._payments_of: dict[str, list[str]] = {}
        self._refunds_of: dict[str, list[str]] = {}

    # Reading

    def order(self, order_id: str) -> Order:
        """Find an order."""
        return _found(self.orders, order_id)

    def payment(self, payment_id: str) -> Payment:
        """Find a payment."""
        return _found(self.payments, payment_id)

    def refund(self, refund_id: str) -> Refund:
        """Find a refund."""
        return _found(self.refunds, refund_id)

    def rule(self, order_id: str) -> CaptureRule:
        """Say how an order's payments are captured and when an uncaptured one is given back."""
        return self._rules[order_id]

    def order_with_receipt(self, receipt: str) -> Order | None:
        """Find an order by the merchant's own number for it."""
        order_id = self._by_receipt.get(receipt)
        return self.orders[order_id] if order_id is not None else None

    def payments_of(self, order_id: str) -> list[Payment]:
        """List an order's payments, newest first."""
        self.order(order_id)
        return [self.payments[item] for item in reversed(self._payments_of[order_id])]

    def refunds_of(self, payment_id: str) -> list[Refund]:
        """List a payment's refunds, newest first."""
        self.payment(payment_id)
        return [self.refunds[item] for item in reversed(self._refunds_of.get(payment_id, []))]

    def refund_of(self, payment_id: str, refund_id: str) -> Refund:
        """Find a refund of this very payment."""
        self.payment(payment_id)
        refund = self.refund(refund_id)
        if refund["payment_id"] != payment_id:
            raise unknown_id()
        return refund

    # Orders

    def create_order(self, request: OrderRequest) -> Order:
        """Open an order; a receipt serves once."""
        if request.receipt is not None and request.receipt in self._by_receipt:
            raise GatewayError("Order receipt should be unique.", field="receipt")
        order = entities.new_order(request.amount, request.currency, request.receipt, request.notes, self.now())
        self.orders[order["id"]] = order
        self._rules[order["id"]] = request.rule
        self._payments_of[order["id"]] = []
        if request.receipt is not None:
            self._by_receipt[request.receipt] = order["id"]
        return order

    # Payments

    def check_payable(self, order_id: str) -> Order:
        """Find an order that can be paid now: not paid yet and no other payment authorized on it."""
        order = self.order(order_id)
        if order["status"] == "paid":
            raise GatewayError(
                "Your payment has been declined as the order is already paid. Create a new order to pay again."
            )
        if self._has_authorized(order_id):
            raise GatewayError("Your payment has been declined as another payment on this order is already authorized.")
        return order

    def is_payable(self, order_id: str) -> bool:
        """Tell whether an order can be paid now."""
        return self.order(order_id)["status"] != "paid" and not self._has_authorized(order_id)

    def open_payment(self, order_id: str, payment_id: str, method: Method) -> Payment:
        """Record that somebody tries to pay an order in full; the bank has not answered yet."""
        order = self.check_payable(order_id)
        payment = entities.new_payment(payment_id, order, method, self.now())
        self.payments[payment_id] = payment
        self._payments_of[order_id].append(payment_id)
        order["attempts"] += 1
        order["status"] = "attempted"
        return payment

    def fail(self, payment_id: str) -> Payment:
        """Record that the bank refused, or did not answer in time."""
        payment = self.payment(payment_id)
        _move(payment, "failed")
        entities.set_error(payment)
        self._tell("payment.failed", payment_id, payment)
        return payment

    def authorize(self, payment_id: str, *, capture: bool) -> Payment:
        """Record that the bank said yes, perhaps late; with `capture` the money is taken in the same step.

        A payment that comes to an order on which another one has succeeded is given back at once instead.
        """
        payment = self.payment(payment_id)
        order = self.order(payment["order_id"])
        duplicate = order["status"] == "paid" or self._has_authorized(order["id"])
        _move(payment, "authorized")
        entities.clear_error(payment)
        entities.set_bank_reference(payment)
        if capture and not duplicate:
            self._capture(payment, order)
        # Told after the capture: a real payment.authorized may show a captured payment too.
        self._tell("payment.authorized", payment_id, payment)
        if duplicate:
            self.give_back(payment_id)
        elif capture:
            self._tell_captured(payment, order)
        return payment

    def capture(self, payment_id: str, amount: int, currency: str) -> Payment:
        """Take the money of an authorized payment, all of it."""
        payment = self.payment(payment_id)
        if payment["captured"]:
            raise GatewayError("This payment has already been captured")
        if payment["status"] != "authorized":
            raise GatewayError("Only payments which have been authorized and not yet captured can be captured")
        if amount != payment["amount"]:
            raise GatewayError("Capture amount must be equal to the amount authorized.", field="amount")
        if currency != payment["currency"]:
            raise GatewayError("Capture currency must be equal to the currency authorized.", field="currency")
        order = self.order(payment["order_id"])
        self._capture(payment, order)
        self._tell_captured(payment, order)
        return payment

    def give_back(self, payment_id: str) -> Refund:
        """Return an authorized payment that nobody captured: refunded in full, and `captured` stays false."""
        payment = self.payment(payment_id)
        if payment["status"] != "authorized":
            raise GatewayError("Only payments which have been authorized and not yet captured are given back")
        refund = self._open_refund(payment, RefundRequest(amount=None, speed="normal", receipt=None, notes=[]))
        self.process_refund(refund["id"])
        return refund

    # Refunds

    def create_refund(self, payment_id: str, request: RefundRequest) -> Refund:
        """Open a refund of a captured payment, in full or in part; it is pending until the bank has taken it."""
        payment = self.payment(payment_id)
        if payment["status"] == "refunded":
            raise GatewayError("The payment has been fully refunded already.")
        if payment["status"] != "captured":
            raise GatewayError("The payment status should be captured for action to be taken")
        left = payment["amount"] - payment["amount_refunded"]
        if request.amount is not None and request.amount > left:
            raise GatewayError("The refund amount provided is greater than amount captured.", field="amount")
        return self._open_refund(payment, request)

    def process_refund(self, refund_id: str) -> Refund:
        """Record that the bank took a refund."""
        refund = self._pending_refund(refund_id)
        refund["status"] = "processed"
        refund["acquirer_data"] = {"arn": entities.digits(14)}
        self._tell("refund.processed", refund["payment_id"], refund, self.payment(refund["payment_id"]))
        return refund

    def fail_refund(self, refund_id: str) -> Refund:
        """Record that the bank did not take a refund: the money stays captured and may be refunded anew."""
        refund = self._pending_refund(refund_id)
        payment = self.payment(refund["payment_id"])
        refund["status"] = "failed"
        if payment["status"] == "refunded":
            _move(payment, "captured")
        self._count_refunded(payment, -refund["amount"])
        self._tell("refund.failed", payment["id"], refund, payment)
        return refund

    def _pending_refund(self, refund_id: str) -> Refund:
        refund = self.refund(refund_id)
        if refund["status"] != "pending":
            raise GatewayError(f"The refund is {refund['status']} already.")
        return refund

    def _open_refund(self, payment: Payment, request: RefundRequest) -> Refund:
        amount = request.amount if request.amount is not None else payment["amount"] - payment["amount_refunded"]
        refund = entities.new_refund(payment, amount, request.speed, request.receipt, request.notes, self.now())
        self.refunds[refund["id"]] = refund
        self._refunds_of.setdefault(payment["id"], []).append(refund["id"])
        self._count_refunded(payment, amount)
        if payment["amount_refunded"] == payment["amount"]:
            _move(payment, "refunded")
        self._tell("refund.created", payment["id"], refund, payment)
        return refund

    def _count_refunded(self, payment: Payment, amount: int) -> None:
        payment["amount_refunded"] += amount
        if payment["amount_refunded"] == 0:
            payment["refund_status"] = None
        else:
            payment["refund_status"] = "full" if payment["amount_refunded"] == payment["amount"] else "partial"

    def _capture(self, payment: Payment, order: Order) -> None:
        _move(payment, "captured")
        payment["captured"] = True
        entities.set_fee(payment)
        self.captured_at[payment["id"]] = self.now()
        order["amount_paid"] = payment["amount"]
        order["amount_due"] = order["amount"] - payment["amount"]
        order["status"] = "paid"

    def _has_authorized(self, order_id: str) -> bool:
        return any(self.payments[item]["status"] == "authorized" for item in self._payments_of[order_id])

    def _tell_captured(self, payment: Payment, order: Order) -> None:
        self._tell("payment.captured", payment["id"], payment)
        self._tell("order.paid", payment["id"], payment, order)

    def _tell(self, name: str, payment_id: str, *contents: Entity) -> None:
        self._notify(Event(name, payment_id, contents))

    def now(self) -> int:
        """Tell the time in Unix seconds."""
        # Lists stop at the first entity that is too old, so creation times must not step back with the clock.
        self._latest = max(self._latest, int(self._clock()))
        return self._latest


def page_of(items: Iterable[Item], page: Page) -> list[Item]:
    """Cut one page out of entities that come newest first."""
    return list(islice(_created_within(items, page), page.skip, page.skip + page.count))


def _created_within(items: Iterable[Item], page: Page) -> Iterator[Item]:
    for item in items:
        if item["created_at"] < page.start:
            return
        if page.end is None or item["created_at"] <= page.end:
            yield item


def _move(payment: Payment, status: PaymentStatus) -> None:
    if status not in TRANSITIONS[payment["status"]]:
        raise GatewayError(f"A payment that is {payment['status']} cannot become {status}.")
    payment["status"] = status


def _found(table: dict[str, Item], key: str) -> Item:
    try:
        return table[key]
    except KeyError:
        raise unknown_id() from None
