"""The gateway's adapter under every fault that the sandbox knows, on the wire and in its pace."""

import asyncio
import io
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import razorpay
import requests

from adapters.razorpay import RazorpayGateway, TokenBucket
from models.errors import GatewayError, UnavailableError
from sandbox.config import SandboxConfig
from sandbox.entities import CANARY_CONTACT, CANARY_EMAIL, CANARY_VPA
from sandbox.process import SandboxProcess
from sandbox.servers.processes import free_port
from tests.adapters.razorpay_support import (
    FEE,
    KEY_ID,
    KEY_SECRET,
    READ_TIMEOUT,
    Sandbox,
    authorized,
    captured,
    new_order,
    new_refund,
)

pytestmark = pytest.mark.usefixtures("prints_nothing")


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


async def test_wrong_keys_are_refused_until_somebody_mends_them(sandbox: Sandbox) -> None:
    gateway = RazorpayGateway(sandbox.url, KEY_ID, "another-secret")
    with pytest.raises(GatewayError) as refusal:
        await gateway.create_order(new_order())
    assert (refusal.value.status, refusal.value.retryable) == (401, True)
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


async def test_the_calls_of_a_thread_share_one_kept_connection(gateway: RazorpayGateway) -> None:
    order = await gateway.create_order(new_order())
    for _ in range(50):
        await gateway.payments_of(order.id)
    opened = 0
    for session in gateway._sessions:
        transport = session.get_adapter("http://")
        assert isinstance(transport, requests.adapters.HTTPAdapter)
        pools = transport.poolmanager.pools
        opened += sum(pools[key].num_connections for key in pools.keys())  # noqa: SIM118  no dictionary
    assert opened == len(gateway._sessions) < 8


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
