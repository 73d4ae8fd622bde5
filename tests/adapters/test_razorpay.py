"""The gateway's adapter against the sandbox over HTTP, under every fault that the sandbox knows."""

import asyncio
import io
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import razorpay
import requests

from adapters.razorpay import RazorpayGateway, TokenBucket
from models.errors import GatewayError, UnavailableError
from models.money import Money
from models.payments import GatewayPaymentStatus, NewOrder, PaymentFact, RefundReason, RefundRecord, RefundState
from sandbox.config import SandboxConfig
from sandbox.entities import CANARY_CONTACT, CANARY_EMAIL, CANARY_VPA
from sandbox.process import SandboxProcess
from sandbox.servers.processes import free_port

KEY_ID = "rzp_test_adapter"
KEY_SECRET = "adapter-secret"
READ_TIMEOUT = 0.6
FEE = Money(amount=50_000)


def new_order(receipt: str = "apt_one", amount: Money = FEE, expiry: int = 1440) -> NewOrder:
    return NewOrder(receipt=receipt, amount=amount, tenant_id="tnt_one", capture_expiry_minutes=expiry)


def new_refund(payment_id: str, refund_id: str = "rfd_0123456789", amount: int = FEE.amount) -> RefundRecord:
    return RefundRecord(
        id=refund_id,
        tenant_id="tnt_one",
        appointment_id="apt_one",
        subject_id="usr_one",
        payment_id=payment_id,
        amount=amount,
        reason=RefundReason.GOODWILL,
    )


class Sandbox:
    """What a person, a bank or a bad day does to the sandbox."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, auth=(KEY_ID, KEY_SECRET), timeout=5, trust_env=False)

    def post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    def pays(self, order_id: str, outcome: str = "authorized") -> str:
        return str(self.post("/_control/payments", {"order_id": order_id, "outcome": outcome})["payment_id"])

    def breaks(self, operation: str, mode: str, **more: object) -> None:
        self.post("/_control/faults", {"service": "razorpay", "operation": operation, "mode": mode, "times": 1, **more})

    def ledger(self, kind: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self._http.get("/_control/ledger").json()[kind]
        return found

    def calls(self) -> int:
        return sum(self._http.get("/_control/stats").json()["requests"].values())

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    config = SandboxConfig(key_id=KEY_ID, key_secret=KEY_SECRET, refund_seconds=0.05)
    with SandboxProcess(config, log=tmp_path_factory.mktemp("sandbox") / "log") as process:
        yield process


@pytest.fixture
def sandbox(process: SandboxProcess) -> Iterator[Sandbox]:
    sandbox = Sandbox(process.url)
    yield sandbox
    sandbox.post("/_control/reset", {})
    sandbox.close()


@pytest.fixture
async def gateway(sandbox: Sandbox) -> AsyncIterator[RazorpayGateway]:
    gateway = RazorpayGateway(sandbox.url + "/", KEY_ID, KEY_SECRET, read_timeout=READ_TIMEOUT, threads=8)
    yield gateway
    gateway.close()


@pytest.fixture(autouse=True)
def prints_nothing(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr().out == ""


async def authorized(gateway: RazorpayGateway, sandbox: Sandbox) -> str:
    order = await gateway.create_order(new_order())
    return sandbox.pays(order.id)


async def captured(gateway: RazorpayGateway, sandbox: Sandbox) -> str:
    payment_id = await authorized(gateway, sandbox)
    await gateway.capture(payment_id, FEE)
    return payment_id


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < give_up, "the condition never held"
        await asyncio.sleep(0.02)


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


# Faults


@dataclass(frozen=True)
class Step:
    """One operation of the port, and whether it has happened by the sandbox's own books."""

    call: Callable[[], Awaitable[object]]
    happened: Callable[[], bool]


OPERATIONS = ["order.create", "order.payments", "payment.fetch", "payment.capture", "refund.create", "refund.fetch"]


async def prepared(operation: str, gateway: RazorpayGateway, sandbox: Sandbox) -> Step:
    if operation == "order.create":
        return Step(lambda: gateway.create_order(new_order()), lambda: bool(sandbox.ledger("orders")))
    if operation == "payment.capture":
        payment_id = await authorized(gateway, sandbox)
        return Step(
            lambda: gateway.capture(payment_id, FEE), lambda: sandbox.ledger("payments")[0]["status"] == "captured"
        )
    payment_id = await captured(gateway, sandbox)
    if operation == "refund.create":
        return Step(lambda: gateway.refund(new_refund(payment_id)), lambda: bool(sandbox.ledger("refunds")))
    fact = await gateway.payment(payment_id)
    assert fact.order_id is not None
    order_id = fact.order_id
    if operation == "order.payments":
        return Step(lambda: gateway.payments_of(order_id), lambda: True)
    if operation == "payment.fetch":
        return Step(lambda: gateway.payment(payment_id), lambda: True)
    refund = await gateway.refund(new_refund(payment_id))
    return Step(lambda: gateway.refund_status(payment_id, refund.refund_id), lambda: True)


CHANGES = {"order.create", "payment.capture", "refund.create"}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("status", "code"), [(500, "SERVER_ERROR"), (502, "GATEWAY_ERROR")])
async def test_the_gateway_s_own_trouble_keeps_its_words(
    gateway: RazorpayGateway, sandbox: Sandbox, operation: str, status: int, code: str
) -> None:
    step = await prepared(operation, gateway, sandbox)
    sandbox.breaks(operation, "error", status=status)
    with pytest.raises(GatewayError) as refusal:
        await step.call()
    assert (refusal.value.status, refusal.value.code, refusal.value.retryable) == (status, code, True)
    assert not (operation in CHANGES and step.happened())
    await step.call()
    assert step.happened()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_rate_limit_may_be_tried_again(gateway: RazorpayGateway, sandbox: Sandbox, operation: str) -> None:
    step = await prepared(operation, gateway, sandbox)
    sandbox.breaks(operation, "rate_limited")
    with pytest.raises(GatewayError) as refusal:
        await step.call()
    assert (refusal.value.status, refusal.value.retryable) == (429, True)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_timeout_says_nothing_about_the_outcome(
    gateway: RazorpayGateway, sandbox: Sandbox, operation: str
) -> None:
    step = await prepared(operation, gateway, sandbox)
    sandbox.breaks(operation, "timeout")
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="ReadTimeout"):
        await step.call()
    assert READ_TIMEOUT <= time.monotonic() - began < READ_TIMEOUT + 3
    assert not (operation in CHANGES and step.happened())


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_lost_answer_is_made_good_by_asking_again(
    gateway: RazorpayGateway, sandbox: Sandbox, operation: str
) -> None:
    step = await prepared(operation, gateway, sandbox)
    sandbox.breaks(operation, "timeout_after_success")
    with pytest.raises(UnavailableError):
        await step.call()
    assert step.happened()
    books = {kind: len(sandbox.ledger(kind)) for kind in ("orders", "payments", "refunds")}
    await step.call()
    assert {kind: len(sandbox.ledger(kind)) for kind in books} == books


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("proxy_status", [None, 502, 403])
async def test_an_answer_that_cannot_be_read_is_no_answer_and_its_text_goes_nowhere(
    gateway: RazorpayGateway, sandbox: Sandbox, operation: str, proxy_status: int | None
) -> None:
    step = await prepared(operation, gateway, sandbox)
    sandbox.breaks(operation, "malformed", **({} if proxy_status is None else {"status": proxy_status}))
    with pytest.raises(UnavailableError) as unknown:
        await step.call()
    told = "".join(traceback.format_exception(unknown.value))
    assert not any(canary in told for canary in (CANARY_EMAIL, CANARY_CONTACT, CANARY_VPA, "<html>"))
    await step.call()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_slow_answer_within_the_time_limit_is_an_answer(
    gateway: RazorpayGateway, sandbox: Sandbox, operation: str
) -> None:
    step = await prepared(operation, gateway, sandbox)
    sandbox.breaks(operation, "slow", delay_seconds=READ_TIMEOUT / 3)
    began = time.monotonic()
    await step.call()
    assert time.monotonic() - began >= READ_TIMEOUT / 3
    assert step.happened()


async def test_a_gateway_that_is_gone_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    config = SandboxConfig(key_id=KEY_ID, key_secret=KEY_SECRET)
    process = SandboxProcess(config, log=tmp_path / "log")
    gateway = RazorpayGateway(process.url, KEY_ID, KEY_SECRET)
    with pytest.raises(UnavailableError, match="ConnectionError"):
        await gateway.create_order(new_order())
    with process:
        first = await gateway.create_order(new_order())
        process.kill()
        with pytest.raises(UnavailableError):
            await gateway.payments_of(first.id)
        process.start()
        assert (await gateway.create_order(new_order())).id != first.id
    gateway.close()


async def test_wrong_keys_are_refused_for_good(sandbox: Sandbox) -> None:
    gateway = RazorpayGateway(sandbox.url, KEY_ID, "another-secret")
    with pytest.raises(GatewayError) as refusal:
        await gateway.create_order(new_order())
    assert (refusal.value.status, refusal.value.retryable) == (401, False)
    gateway.close()


async def test_an_id_that_the_gateway_does_not_know_is_a_refusal(gateway: RazorpayGateway) -> None:
    with pytest.raises(GatewayError) as refusal:
        await gateway.payment("pay_AAAAAAAAAAAAAA")
    assert (refusal.value.status, refusal.value.retryable) == (400, False)


@pytest.mark.parametrize("hostile", ["..", "pay_1/../../orders", "pay_1?x=1", "", "pay%2F1", "a" * 65])
async def test_an_id_cannot_lead_to_another_address(gateway: RazorpayGateway, sandbox: Sandbox, hostile: str) -> None:
    calls = sandbox.calls()
    for call in (gateway.payment(hostile), gateway.payments_of(hostile), gateway.capture(hostile, FEE)):
        with pytest.raises(GatewayError):
            await call
    assert sandbox.calls() == calls


# The wire


async def test_a_proxy_of_the_environment_is_not_used(
    gateway: RazorpayGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    await gateway.create_order(new_order())


async def test_calls_share_one_kept_connection_of_a_thread(gateway: RazorpayGateway) -> None:
    order = await gateway.create_order(new_order())
    for _ in range(10):
        await gateway.payments_of(order.id)
    opened = 0
    for session in gateway._sessions:
        transport = session.get_adapter("http://")
        assert isinstance(transport, requests.adapters.HTTPAdapter)
        pools = transport.poolmanager.pools
        opened += sum(pools[key].num_connections for key in pools.keys())  # noqa: SIM118  no dictionary
    assert opened == len(gateway._sessions) == 1


def test_the_client_alone_would_print_what_the_adapter_does_not() -> None:
    client = razorpay.Client(auth=(KEY_ID, KEY_SECRET), base_url=f"http://127.0.0.1:{free_port()}")
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.raises(requests.ConnectionError):
        client.order.create(data={})
    assert printed.getvalue()


def test_the_version_is_not_part_of_the_address() -> None:
    with pytest.raises(ValueError, match="/v1"):
        RazorpayGateway("http://127.0.0.1:9/v1/", KEY_ID, KEY_SECRET)


# The pace


async def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = TokenBucket(rate=100, burst=10)
    order: list[int] = []

    async def caller(number: int) -> None:
        await bucket.take()
        order.append(number)

    began = time.monotonic()
    await asyncio.gather(*(caller(number) for number in range(30)))
    assert time.monotonic() - began >= 0.19
    assert order[:10] == list(range(10))


async def test_a_caller_that_gives_up_gives_its_place_back() -> None:
    bucket = TokenBucket(rate=0.001, burst=1)
    await bucket.take()
    waiting = [asyncio.ensure_future(bucket.take()) for _ in range(5)]
    await asyncio.sleep(0)
    assert bucket._tokens < -4
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert -0.1 < bucket._tokens < 0.1


async def test_the_adapter_keeps_to_its_pace(sandbox: Sandbox) -> None:
    gateway = RazorpayGateway(sandbox.url, KEY_ID, KEY_SECRET, calls_per_second=50, burst=2)
    began = time.monotonic()
    await asyncio.gather(*(gateway.find_order("apt_one") for _ in range(12)))
    assert time.monotonic() - began >= 0.19
    gateway.close()
