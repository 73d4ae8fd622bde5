"""The ledger balances, states move forward, and only the right money counts."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.payments import (
    GATEWAY_ACCOUNT,
    PAYMENT_TRANSITIONS,
    REFUND_TRANSITIONS,
    Capture,
    GatewayPaymentStatus,
    LedgerLine,
    LedgerTransaction,
    PaymentFact,
    PaymentState,
    RefundReason,
    RefundRecord,
    RefundState,
    best_payment,
    capture_transaction,
    owed_refund_id,
    reason_behind,
    refund_payment_state,
    refund_transaction,
    stray_captures,
)

AT = datetime(2027, 1, 1, tzinfo=UTC)
ORDER = "order_A"
FEE = 50_000


def _fact(
    status: GatewayPaymentStatus,
    payment_id: str = "pay_1",
    *,
    order_id: str = ORDER,
    amount: int = FEE,
    currency: str = "INR",
    refunded: int = 0,
) -> PaymentFact:
    return PaymentFact(
        payment_id=payment_id,
        order_id=order_id,
        amount=amount,
        currency=currency,
        status=status,
        captured=status is GatewayPaymentStatus.CAPTURED,
        amount_refunded=refunded,
    )


def _refund(amount: int) -> RefundRecord:
    return RefundRecord(
        id="rfd_1",
        tenant_id="ten_1",
        appointment_id="apt_1",
        subject_id="usr_1",
        payment_id="pay_1",
        amount=amount,
        reason=RefundReason.GOODWILL,
    )


@given(amount=st.integers(1, 10**9), data=st.data())
def test_every_transaction_sums_to_zero(amount: int, data: st.DataObject) -> None:
    fee = data.draw(st.integers(0, amount))
    back = data.draw(st.integers(1, amount))
    capture = Capture(
        tenant_id="ten_1",
        appointment_id="apt_1",
        subject_id="usr_1",
        order_id=ORDER,
        payment_id="pay_1",
        amount=amount,
        platform_fee=fee,
    )
    taken = capture_transaction(capture, AT)
    given_back = refund_transaction(_refund(back), AT)
    reversed_ = refund_transaction(_refund(back), AT, failed=True)
    for transaction in (taken, given_back, reversed_):
        assert sum(line.amount for line in transaction.lines) == 0
    at_gateway = sum(line.amount for t in (taken, given_back) for line in t.lines if line.account == GATEWAY_ACCOUNT)
    assert at_gateway == amount - back
    assert len({taken.id, given_back.id, reversed_.id}) == 3


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=6))
def test_an_unbalanced_transaction_cannot_exist(amounts: list[int]) -> None:
    lines = tuple(LedgerLine(account="a", amount=amount, item="consultation") for amount in amounts)
    try:
        LedgerTransaction(id="x", tenant_id="t", appointment_id="a", kind="capture", lines=lines, at=AT)
    except ValidationError:
        assert sum(amounts) != 0
    else:
        assert sum(amounts) == 0


@pytest.mark.parametrize("status", [GatewayPaymentStatus.AUTHORIZED, GatewayPaymentStatus.CAPTURED])
def test_only_exactly_the_right_money_settles(status: GatewayPaymentStatus) -> None:
    right = _fact(status)
    assert best_payment([right], ORDER, FEE) == right
    for wrong in (
        _fact(status, amount=FEE - 1),
        _fact(status, amount=FEE + 1),
        _fact(status, order_id="order_B"),
        _fact(status, currency="USD"),
    ):
        assert best_payment([wrong], ORDER, FEE) is None


@pytest.mark.parametrize(
    "status", [GatewayPaymentStatus.FAILED, GatewayPaymentStatus.CREATED, GatewayPaymentStatus.REFUNDED]
)
def test_what_is_not_money_does_not_settle(status: GatewayPaymentStatus) -> None:
    assert best_payment([_fact(status)], ORDER, FEE) is None


def test_taken_money_comes_before_promised_money() -> None:
    facts = [_fact(GatewayPaymentStatus.AUTHORIZED, "pay_1"), _fact(GatewayPaymentStatus.CAPTURED, "pay_2")]
    best = best_payment(facts, ORDER, FEE)
    assert best is not None
    assert best.payment_id == "pay_2"


def test_strays_are_captured_money_that_nobody_is_owed() -> None:
    facts = [
        _fact(GatewayPaymentStatus.CAPTURED, "pay_1"),
        _fact(GatewayPaymentStatus.CAPTURED, "pay_2"),
        _fact(GatewayPaymentStatus.AUTHORIZED, "pay_3"),
        _fact(GatewayPaymentStatus.CAPTURED, "pay_4", refunded=FEE),
        _fact(GatewayPaymentStatus.CAPTURED, "pay_5", amount=1),
    ]
    assert [fact.payment_id for fact in stray_captures(facts, "pay_1")] == ["pay_2", "pay_5"]
    assert [fact.payment_id for fact in stray_captures(facts, None)] == ["pay_1", "pay_2", "pay_5"]


def test_final_refunds_stay_final() -> None:
    assert REFUND_TRANSITIONS[RefundState.PROCESSED] == frozenset()
    assert REFUND_TRANSITIONS[RefundState.FAILED] == frozenset()


def test_voided_money_is_taken_only_by_the_bank_and_nothing_returns_to_pending() -> None:
    assert PAYMENT_TRANSITIONS[PaymentState.VOIDED] == {PaymentState.CAPTURED}
    assert all(PaymentState.PENDING not in after for after in PAYMENT_TRANSITIONS.values())
    assert set(PAYMENT_TRANSITIONS) == set(PaymentState)


@pytest.mark.parametrize(
    ("captured", "refunded", "state"),
    [
        (100, 0, PaymentState.CAPTURED),
        (100, 1, PaymentState.PARTIALLY_REFUNDED),
        (100, 99, PaymentState.PARTIALLY_REFUNDED),
        (100, 100, PaymentState.REFUNDED),
    ],
)
def test_payment_state_follows_refunds(captured: int, refunded: int, state: PaymentState) -> None:
    assert refund_payment_state(captured, refunded) is state


@pytest.mark.parametrize("reason", RefundReason)
def test_the_id_of_what_is_owed_tells_why(reason: RefundReason) -> None:
    owed = owed_refund_id("apt_1", "pay_1", reason)
    assert reason_behind(owed, "apt_1", "pay_1") is reason
    assert reason_behind(owed, "apt_2", "pay_1") is RefundReason.GOODWILL
