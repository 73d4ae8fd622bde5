"""The gateway's adapter against the sandbox over HTTP: orders, payments and refunds."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.razorpay import RazorpayGateway
from models.errors import GatewayError, UnavailableError
from models.money import Money
from models.payments import GatewayPaymentStatus, PaymentFact, RefundState
from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess
from tests.adapters.razorpay_support import (
    FEE,
    KEY_ID,
    KEY_SECRET,
    Sandbox,
    authorized,
    captured,
    new_order,
    new_refund,
    until,
)

pytestmark = pytest.mark.usefixtures("prints_nothing")


# Orders


async def test_an_order_asks_for_manual_capture_and_carries_our_ids(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    order = await gateway.create_order(new_order())
    assert (order.amount, order.currency, order.receipt, order.status) == (FEE.amount, "INR", "apt_one", "created")
    [kept] = sandbox.ledger("orders")
    assert kept["id"] == order.id
    assert kept["notes"] == {"appointment_id": "apt_one", "tenant_id": "tnt_one"}
    fact = await gateway.payment(sandbox.pays(order.id))
    assert (fact.status, fact.captured) == (GatewayPaymentStatus.AUTHORIZED, False)


async def test_money_that_nobody_captures_lapses_after_the_order_s_own_time(tmp_path: Path) -> None:
    quick = SandboxConfig(key_id=KEY_ID, key_secret=KEY_SECRET, minute_seconds=0.02)
    with SandboxProcess(quick, log=tmp_path / "log") as process:
        sandbox, gateway = Sandbox(process.url), RazorpayGateway(process.url, KEY_ID, KEY_SECRET)
        order = await gateway.create_order(new_order(expiry=12))
        patient = await gateway.create_order(new_order("apt_two", expiry=7200))
        payment_id, waiting = sandbox.pays(order.id), sandbox.pays(patient.id)

        async def lapsed() -> bool:
            return (await gateway.payment(payment_id)).status is GatewayPaymentStatus.REFUNDED

        await until(lapsed)
        assert (await gateway.payment(waiting)).status is GatewayPaymentStatus.AUTHORIZED
        with pytest.raises(GatewayError) as refusal:
            await gateway.capture(payment_id, FEE)
        assert not refusal.value.retryable
        assert not (await gateway.payment(payment_id)).captured
        gateway.close()
        sandbox.close()


async def test_the_same_receipt_finds_the_first_order(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    first = await gateway.create_order(new_order())
    assert await gateway.create_order(new_order()) == first
    assert len(sandbox.ledger("orders")) == 1


async def test_a_receipt_never_stands_for_two_amounts(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    await gateway.create_order(new_order())
    with pytest.raises(GatewayError) as refusal:
        await gateway.create_order(new_order(amount=Money(amount=100)))
    assert (refusal.value.status, refusal.value.code, refusal.value.retryable) == (400, "BAD_REQUEST_ERROR", False)
    assert len(sandbox.ledger("orders")) == 1


async def test_an_order_made_by_a_call_whose_answer_was_lost_is_found_again(
    gateway: RazorpayGateway, sandbox: Sandbox
) -> None:
    sandbox.breaks("order.create", "timeout_after_success")
    with pytest.raises(UnavailableError):
        await gateway.create_order(new_order())
    order = await gateway.create_order(new_order())
    assert [kept["id"] for kept in sandbox.ledger("orders")] == [order.id]
    assert await gateway.find_order("apt_one") == order
    assert await gateway.find_order("apt_nobody") is None


async def test_an_amount_that_the_gateway_refuses_is_a_refusal(gateway: RazorpayGateway) -> None:
    with pytest.raises(GatewayError) as refusal:
        await gateway.create_order(new_order(amount=Money(amount=99)))
    assert refusal.value.status == 400
    assert refusal.value.reason == "input_validation_failed"
    assert "minimum" in refusal.value.description
    assert "minimum" not in str(refusal.value)


# Payments


async def test_all_orders_since_an_instant_are_listed_page_by_page(gateway: RazorpayGateway) -> None:
    began = datetime.now(UTC)
    opened = [(await gateway.create_order(new_order(f"apt_{number}"))).receipt for number in range(3)]
    assert {one.receipt for one in await gateway.orders_since(began, 0)} >= set(opened)
    assert len(await gateway.orders_since(began, 2)) == len(await gateway.orders_since(began, 0)) - 2
    assert await gateway.orders_since(began, 1000) == []
    assert await gateway.orders_since(began + timedelta(hours=1), 0) == []


async def test_every_try_on_an_order_is_told(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    order = await gateway.create_order(new_order())
    assert await gateway.payments_of(order.id) == []
    failed, paid = sandbox.pays(order.id, "failed"), sandbox.pays(order.id)
    facts = {fact.payment_id: fact for fact in await gateway.payments_of(order.id)}
    assert facts[failed].status is GatewayPaymentStatus.FAILED
    assert facts[paid] == PaymentFact(
        payment_id=paid,
        order_id=order.id,
        amount=FEE.amount,
        currency="INR",
        status=GatewayPaymentStatus.AUTHORIZED,
        captured=False,
        amount_refunded=0,
        method="upi",
    )
    assert facts[paid] == await gateway.payment(paid)


async def test_capturing_twice_takes_the_money_once(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    payment_id = await authorized(gateway, sandbox)
    first = await gateway.capture(payment_id, FEE)
    assert (first.status, first.captured) == (GatewayPaymentStatus.CAPTURED, True)
    assert await gateway.capture(payment_id, FEE) == first
    [order] = sandbox.ledger("orders")
    assert order["amount_paid"] == FEE.amount


async def test_a_capture_whose_answer_was_lost_is_seen_by_the_next_one(
    gateway: RazorpayGateway, sandbox: Sandbox
) -> None:
    payment_id = await authorized(gateway, sandbox)
    sandbox.breaks("payment.capture", "timeout_after_success")
    with pytest.raises(UnavailableError):
        await gateway.capture(payment_id, FEE)
    assert (await gateway.capture(payment_id, FEE)).captured


async def test_what_the_bank_captured_by_itself_counts_as_captured(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    order = await gateway.create_order(new_order())
    fact = await gateway.capture(sandbox.pays(order.id, "captured"), FEE)
    assert (fact.order_id, fact.captured) == (order.id, True)


async def test_another_amount_than_authorized_is_refused_and_captures_nothing(
    gateway: RazorpayGateway, sandbox: Sandbox
) -> None:
    payment_id = await authorized(gateway, sandbox)
    with pytest.raises(GatewayError):
        await gateway.capture(payment_id, Money(amount=FEE.amount - 1))
    assert (await gateway.payment(payment_id)).status is GatewayPaymentStatus.AUTHORIZED


async def test_calls_under_way_at_once_never_mix_their_amounts(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    amounts = [Money(amount=10_000 + 100 * number) for number in range(24)]
    orders = await asyncio.gather(
        *(gateway.create_order(new_order(f"apt_{amount.amount}", amount)) for amount in amounts)
    )
    payments = [sandbox.pays(order.id) for order in orders]
    facts = await asyncio.gather(
        *(gateway.capture(payment, amount) for payment, amount in zip(payments, amounts, strict=True))
    )
    assert [fact.amount for fact in facts] == [amount.amount for amount in amounts]
    assert all(fact.captured for fact in facts)


# Refunds


async def test_a_refund_is_made_once_under_our_id(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    payment_id = await captured(gateway, sandbox)
    first = await gateway.refund(new_refund(payment_id, amount=20_000))
    assert (first.payment_id, first.amount) == (payment_id, 20_000)
    assert (await gateway.refund(new_refund(payment_id, amount=20_000))).refund_id == first.refund_id
    [kept] = sandbox.ledger("refunds")
    assert (kept["receipt"], kept["speed_requested"]) == ("rfd_0123456789", "normal")
    assert kept["notes"] == {"appointment_id": "apt_one", "tenant_id": "tnt_one"}

    async def processed() -> bool:
        return (await gateway.refund_status(payment_id, first.refund_id)).state is RefundState.PROCESSED

    await until(processed)
    assert (await gateway.payment(payment_id)).amount_refunded == 20_000


async def test_all_refunds_since_an_instant_are_listed_with_what_they_are_for(
    gateway: RazorpayGateway, sandbox: Sandbox
) -> None:
    began = datetime.now(UTC)
    payment_id = await captured(gateway, sandbox)
    ours = await gateway.refund(new_refund(payment_id, amount=20_000))
    by_hand = str(sandbox.post(f"/v1/payments/{payment_id}/refund", {"amount": 10_000})["id"])
    found = {one.refund_id: one for one in await gateway.refunds_since(began, 0)}
    assert (found[ours.refund_id].receipt, found[ours.refund_id].appointment_id) == ("rfd_0123456789", "apt_one")
    assert (found[by_hand].receipt, found[by_hand].appointment_id) == (None, None)
    assert len(await gateway.refunds_since(began, 1)) == len(found) - 1
    assert await gateway.refunds_since(began + timedelta(hours=1), 0) == []


async def test_a_refund_whose_answer_was_lost_is_not_made_again(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    payment_id = await captured(gateway, sandbox)
    sandbox.breaks("refund.create", "timeout_after_success")
    with pytest.raises(UnavailableError):
        await gateway.refund(new_refund(payment_id))
    fact = await gateway.refund(new_refund(payment_id))
    assert [kept["id"] for kept in sandbox.ledger("refunds")] == [fact.refund_id]


async def test_a_refund_is_found_by_its_receipt_where_the_gateway_forgot_the_key(
    gateway: RazorpayGateway, sandbox: Sandbox
) -> None:
    payment_id = await captured(gateway, sandbox)
    refund = new_refund(payment_id)
    earlier = sandbox.post(f"/v1/payments/{payment_id}/refund", {"amount": refund.amount, "receipt": refund.id})
    assert (await gateway.refund(refund)).refund_id == earlier["id"]
    with pytest.raises(GatewayError) as refusal:
        await gateway.refund(new_refund(payment_id, "rfd_another_one"))
    assert not refusal.value.retryable
    assert len(sandbox.ledger("refunds")) == 1


async def test_two_refunds_under_one_id_never_both_happen(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    payment_id = await captured(gateway, sandbox)
    await gateway.refund(new_refund(payment_id, amount=10_000))
    with pytest.raises(GatewayError) as refusal:
        await gateway.refund(new_refund(payment_id, amount=20_000))
    assert not refusal.value.retryable
    assert [kept["amount"] for kept in sandbox.ledger("refunds")] == [10_000]


async def test_a_refund_still_in_flight_may_be_tried_again(gateway: RazorpayGateway, sandbox: Sandbox) -> None:
    payment_id = await captured(gateway, sandbox)
    sandbox.breaks("refund.create", "slow", delay_seconds=0.3)
    slow = asyncio.ensure_future(gateway.refund(new_refund(payment_id)))
    calls = sandbox.calls()

    async def arrived() -> bool:
        return await asyncio.to_thread(sandbox.calls) > calls

    await until(arrived)
    with pytest.raises(GatewayError) as refusal:
        await gateway.refund(new_refund(payment_id))
    assert (refusal.value.status, refusal.value.retryable) == (409, True)
    assert (await slow).refund_id == (await gateway.refund(new_refund(payment_id))).refund_id
