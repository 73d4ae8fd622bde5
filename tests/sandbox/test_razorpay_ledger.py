"""The sandbox's own books under any sequence of steps, and its clockwork: what fails in the background is heard of."""

import asyncio
import logging

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from sandbox.entities import new_id
from sandbox.errors import GatewayError
from sandbox.ledger import Event, Ledger
from sandbox.timers import Timers
from sandbox.validation import CaptureRule, OrderRequest, RefundRequest

AMOUNTS = st.integers(min_value=100, max_value=100_000)


class Books(RuleBasedStateMachine):
    """Anybody does anything in any order; refusals are fine, books that do not add up are not."""

    orders = Bundle("orders")
    payments = Bundle("payments")
    refunds = Bundle("refunds")

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.ledger = Ledger(self.events.append)

    @rule(target=orders, amount=AMOUNTS)
    def order(self, amount: int) -> str:
        return self.ledger.create_order(OrderRequest(amount, "INR", None, [], CaptureRule()))["id"]

    @rule(target=payments, order_id=orders)
    def open_payment(self, order_id: str) -> object:
        payment_id = new_id("pay")
        if not self.ledger.is_payable(order_id):
            with pytest.raises(GatewayError):
                self.ledger.open_payment(order_id, payment_id, "upi")
            return multiple()
        self.ledger.open_payment(order_id, payment_id, "upi")
        return payment_id

    @rule(payment_id=payments)
    def fail(self, payment_id: str) -> None:
        self.attempt(payment_id, {"created"}, lambda: self.ledger.fail(payment_id))

    @rule(payment_id=payments, capture=st.booleans())
    def authorize(self, payment_id: str, capture: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        self.attempt(payment_id, {"created", "failed"}, lambda: self.ledger.authorize(payment_id, capture=capture))

    @rule(payment_id=payments)
    def capture(self, payment_id: str) -> None:
        amount = self.ledger.payment(payment_id)["amount"]
        self.attempt(payment_id, {"authorized"}, lambda: self.ledger.capture(payment_id, amount, "INR"))

    @rule(payment_id=payments)
    def give_back(self, payment_id: str) -> None:
        self.attempt(payment_id, {"authorized"}, lambda: self.ledger.give_back(payment_id))

    @rule(target=refunds, payment_id=payments, amount=st.none() | AMOUNTS)
    def refund(self, payment_id: str, amount: int | None) -> object:
        payment = self.ledger.payment(payment_id)
        left = payment["amount"] - payment["amount_refunded"]
        request = RefundRequest(amount, "normal", None, [])
        if payment["status"] != "captured" or (amount or 0) > left:
            with pytest.raises(GatewayError):
                self.ledger.create_refund(payment_id, request)
            return multiple()
        return self.ledger.create_refund(payment_id, request)["id"]

    @rule(refund_id=consumes(refunds), processed=st.booleans())
    def decide(self, refund_id: str, processed: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        if processed:
            self.ledger.process_refund(refund_id)
        else:
            self.ledger.fail_refund(refund_id)

    def attempt(self, payment_id: str, allowed: set[str], step: object) -> None:
        assert callable(step)
        if self.ledger.payment(payment_id)["status"] in allowed:
            step()
            return
        told = len(self.events)
        with pytest.raises(GatewayError):
            step()
        assert len(self.events) == told, "a refusal is not told"

    @invariant()
    def refunds_add_up(self) -> None:
        for payment in self.ledger.payments.values():
            live = [item for item in self.ledger.refunds_of(payment["id"]) if item["status"] != "failed"]
            assert payment["amount_refunded"] == sum(item["amount"] for item in live) <= payment["amount"]
            whole = payment["amount_refunded"] == payment["amount"]
            assert (payment["status"] == "refunded") is whole
            expected = "full" if whole else "partial" if live else None
            assert payment["refund_status"] == expected

    @invariant()
    def an_order_is_paid_by_one_captured_payment(self) -> None:
        for order in self.ledger.orders.values():
            payments = self.ledger.payments_of(order["id"])
            captured = [item for item in payments if item["captured"]]
            assert len(captured) <= 1
            assert (order["status"] == "paid") is bool(captured)
            assert order["amount_paid"] == sum(item["amount"] for item in captured)
            assert order["amount_paid"] + order["amount_due"] == order["amount"]
            assert order["attempts"] == len(payments)
            assert sum(item["status"] == "authorized" for item in payments) <= 1


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40)


TestBooks = Books.TestCase


def test_creation_times_never_step_back() -> None:
    times = iter([100.9, 50.0, 101.2])
    ledger = Ledger(lambda _: None, clock=lambda: next(times))
    assert [ledger.now() for _ in range(3)] == [100, 100, 101]


async def test_what_fails_in_the_background_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    timers = Timers()

    async def broken() -> None:
        raise RuntimeError("task broke")

    def trip() -> None:
        raise RuntimeError("call broke")

    with caplog.at_level(logging.ERROR):
        timers.spawn(broken(), "a task")
        timers.later(0, trip, "a call")
        later = asyncio.Event()
        timers.later(0.01, later.set, "marker")
        async with asyncio.timeout(20):
            await later.wait()
    assert {record.getMessage() for record in caplog.records} == {
        "background task failed: a task",
        "delayed call failed: a call",
    }
    await timers.close()


async def test_closing_stops_what_runs_and_what_waits() -> None:
    timers = Timers()
    done: list[str] = []
    stopped = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    timers.spawn(endless(), "endless")
    kept = timers.later(0.01, lambda: done.append("cancelled"), "cancelled")
    timers.later(0.01, lambda: done.append("closed"), "closed")
    await asyncio.sleep(0)  # lets the task begin
    timers.cancel(kept)
    await timers.close()
    assert stopped.is_set()
    later = asyncio.Event()
    timers.later(0.02, later.set, "marker")
    async with asyncio.timeout(20):
        await later.wait()
    assert done == []
