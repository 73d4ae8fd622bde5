"""The outside as a whole: the gateway's books, clockwork and webhooks, everybody's inboxes, and the faults of all."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from sandbox.config import SandboxConfig
from sandbox.entities import Method, Payment, Refund, RefundStatus, new_id
from sandbox.errors import GatewayError
from sandbox.faults import Faults, Holds
from sandbox.ledger import Event, Ledger
from sandbox.messages import Messages
from sandbox.timers import Timers
from sandbox.validation import CaptureRule, RefundRequest, parse_object
from sandbox.webhooks import Mode, Webhooks, sign

log = logging.getLogger(__name__)

Outcome = Literal["authorized", "captured", "failed"]
REFUND_KEY = re.compile(r"[A-Za-z0-9_-]{10,}")


@dataclass(frozen=True, slots=True)
class RefundPlan:
    """What becomes of new refunds: `pending` leaves them so until somebody decides."""

    outcome: RefundStatus
    seconds: float


class Gateway:
    """Everything the wire, the control API and the pages act on; lives in one event loop."""

    def __init__(self, config: SandboxConfig) -> None:
        """Build a gateway that knows nothing yet."""
        self.config = config
        self.timers = Timers()
        self.webhooks = Webhooks(config, self.timers)
        self.messages = Messages(config, self.timers)
        self.faults = Faults()
        self.holds = Holds()
        self.requests: Counter[str] = Counter()
        self._forget()

    def _forget(self) -> None:
        self.ledger = Ledger(self._notify)
        self._expiries: dict[str, int] = {}
        self._plan = RefundPlan("processed", self.config.refund_seconds)
        self._plans: dict[str, RefundPlan] = {}
        self._refund_keys: dict[str, tuple[str, str]] = {}
        self._keys_in_flight: set[str] = set()

    def reset(self) -> None:
        """Forget all: entities, messages, webhooks on their way, faults, counts; whoever is held is let go."""
        self.timers.clear()
        self.webhooks.restore()
        self.messages.clear()
        self.faults.clear()
        self.holds.release()
        self.requests.clear()
        self._forget()

    def release(self) -> None:
        """Let go whom a time-out holds, now and from now on: the process is about to stop."""
        self.holds.close()

    async def close(self) -> None:
        """Stop everything that runs in the background."""
        self.release()
        await self.timers.close()
        self.webhooks.close()
        self.messages.close()

    # Somebody pays

    def pay(self, order_id: str, outcome: Outcome, *, method: Method = "upi", mode: Mode = "once") -> str:
        """Pay an order now and give the payment's id; GatewayError where the order cannot be paid."""
        payment_id = new_id("pay")
        self.ledger.check_payable(order_id)
        self.webhooks.set_mode(payment_id, mode)
        self._pay(order_id, payment_id, outcome, method)
        return payment_id

    def pay_later(
        self, order_id: str, outcome: Outcome, seconds: float, *, method: Method = "upi", mode: Mode = "once"
    ) -> str:
        """Let somebody pay after so many seconds: the id is known now, the gateway knows nothing of it until then."""
        self.ledger.order(order_id)
        payment_id = new_id("pay")
        self.webhooks.set_mode(payment_id, mode)

        def pay() -> None:
            try:
                self._pay(order_id, payment_id, outcome, method)
            except GatewayError as error:
                log.warning("payment %s was not made: %s", payment_id, error)

        self.timers.later(seconds, pay, f"payment {payment_id}")
        return payment_id

    def pay_after_all(self, payment_id: str, outcome: Outcome, mode: Mode | None = None) -> None:
        """Let the bank answer late: a failed payment turns out authorized, or even captured."""
        payment = self.ledger.payment(payment_id)
        if payment["status"] != "failed" or outcome == "failed":
            raise GatewayError("Only a failed payment can still be authorized or captured.")
        if mode is not None:
            self.webhooks.set_mode(payment_id, mode)
        self._authorize(payment, by_bank=outcome == "captured")

    def signature(self, order_id: str, payment_id: str) -> str:
        """Sign what the checkout hands back to the merchant's page."""
        return sign(self.config.key_secret, f"{order_id}|{payment_id}".encode())

    def _pay(self, order_id: str, payment_id: str, outcome: Outcome, method: Method) -> None:
        payment = self.ledger.open_payment(order_id, payment_id, method)
        if outcome == "failed":
            self.ledger.fail(payment_id)
        else:
            self._authorize(payment, by_bank=outcome == "captured")

    def _authorize(self, payment: Payment, *, by_bank: bool) -> None:
        rule = self.ledger.rule(payment["order_id"])
        payment_id = payment["id"]
        self.ledger.authorize(payment_id, capture=by_bank or self._captures_itself(payment, rule))
        if payment["status"] == "authorized":
            seconds = rule.manual_expiry_minutes * self.config.minute_seconds
            self._expiries[payment_id] = self.timers.later(seconds, lambda: self.lapse(payment_id), "expiry")

    def _captures_itself(self, payment: Payment, rule: CaptureRule) -> bool:
        age = self.ledger.now() - payment["created_at"]
        return rule.automatic and age <= rule.automatic_expiry_minutes * self.config.minute_seconds

    # The merchant captures, or nobody does

    def capture(self, payment_id: str, amount: int, currency: str) -> Payment:
        """Capture a payment; it can no longer lapse."""
        payment = self.ledger.capture(payment_id, amount, currency)
        self._stop_expiry(payment_id)
        return payment

    def lapse(self, payment_id: str) -> Refund:
        """Give back an authorized payment that nobody captured."""
        refund = self.ledger.give_back(payment_id)
        self._stop_expiry(payment_id)
        return refund

    def _stop_expiry(self, payment_id: str) -> None:
        serial = self._expiries.pop(payment_id, None)
        if serial is not None:
            self.timers.cancel(serial)

    # The merchant refunds

    def plan_refunds(self, plan: RefundPlan, payment_id: str | None) -> None:
        """Decide what becomes of new refunds, of one payment or of all."""
        if payment_id is None:
            self._plan = plan
        else:
            self.ledger.payment(payment_id)
            self._plans[payment_id] = plan

    def refund(self, payment_id: str, request: RefundRequest, key: str | None, body: bytes) -> Refund:
        """Refund a payment; the same key and body give the same refund again, as it stands now."""
        if key is None:
            return self._refund(payment_id, request)
        self._check_key(key)
        digest = _digest(payment_id, body)
        known = self._refund_keys.get(key)
        if known is None:
            refund = self._refund(payment_id, request)
            self._refund_keys[key] = (digest, refund["id"])
            return refund
        if known[0] != digest:
            raise GatewayError("Different request with the same idempotency key has already been processed.")
        return self.ledger.refund(known[1])

    def begin_refund(self, key: str) -> None:
        """Mark a key as in flight: the same key is refused until `end_refund`."""
        self._check_key(key)
        self._keys_in_flight.add(key)

    def end_refund(self, key: str) -> None:
        """Mark a key as no longer in flight."""
        self._keys_in_flight.discard(key)

    def _check_key(self, key: str) -> None:
        if REFUND_KEY.fullmatch(key) is None:
            raise GatewayError("The idempotency key must have at least 10 letters, digits, hyphens or underscores.")
        if key in self._keys_in_flight:
            raise GatewayError(
                "A request with the same idempotency key is still being processed.", status=HTTPStatus.CONFLICT
            )

    def _refund(self, payment_id: str, request: RefundRequest) -> Refund:
        refund = self.ledger.create_refund(payment_id, request)
        plan = self._plans.get(payment_id, self._plan)
        if plan.outcome != "pending":
            self.timers.later(plan.seconds, lambda: self._finish_refund(refund["id"], plan.outcome), "refund")
        return refund

    def _finish_refund(self, refund_id: str, outcome: RefundStatus) -> None:
        # Somebody may have decided by hand meanwhile.
        if self.ledger.refund(refund_id)["status"] == "pending":
            self.decide_refund(refund_id, outcome)

    def decide_refund(self, refund_id: str, outcome: RefundStatus) -> Refund:
        """Let the bank take a pending refund or refuse it; GatewayError where it is not pending."""
        if outcome == "failed":
            return self.ledger.fail_refund(refund_id)
        return self.ledger.process_refund(refund_id)

    def _notify(self, event: Event) -> None:
        self.webhooks.emit(event)


def _digest(payment_id: str, body: bytes) -> str:
    canonical = json.dumps([payment_id, parse_object(body)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
