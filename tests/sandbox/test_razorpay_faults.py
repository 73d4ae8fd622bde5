"""Armed faults: what the caller sees, and what has happened behind it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import requests
from razorpay.errors import BadRequestError, GatewayError, ServerError

from tests.sandbox.support import KEY_ID, KEY_SECRET, Json, Merchant, Sandbox, configuration, running, until

OPERATIONS = (
    "order.create",
    "order.fetch",
    "order.payments",
    "payment.fetch",
    "payment.capture",
    "refund.create",
    "refund.fetch",
    "settlement.recon",
)
AUTH = (KEY_ID, KEY_SECRET)
Call = Callable[[], httpx.Response]


def calls(sandbox: Sandbox) -> dict[str, Call]:
    """Prepare one good call of each operation."""
    order = sandbox.order()
    payment_id = sandbox.pay(order)
    captured = sandbox.captured()
    refund_id = sandbox.refund(captured, amount=1000).json()["id"]
    http = sandbox.http
    money = {"amount": 50000, "currency": "INR"}
    return {
        "order.create": lambda: http.post("/v1/orders", json=money),
        "order.fetch": lambda: http.get(f"/v1/orders/{order['id']}"),
        "order.payments": lambda: http.get(f"/v1/orders/{order['id']}/payments"),
        "payment.fetch": lambda: http.get(f"/v1/payments/{payment_id}"),
        "payment.capture": lambda: http.post(f"/v1/payments/{payment_id}/capture", json=money),
        "refund.create": lambda: http.post(f"/v1/payments/{captured}/refund", json={"amount": 1000}),
        "refund.fetch": lambda: http.get(f"/v1/refunds/{refund_id}"),
        "settlement.recon": lambda: http.get("/v1/settlements/recon/combined?year=2026&month=1"),
    }


def count(sandbox: Sandbox, kind: str) -> int:
    return len(sandbox.http.get("/_control/ledger").json()[kind])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_hits_its_own_operation_and_as_often_as_armed(sandbox: Sandbox, operation: str) -> None:
    prepared = calls(sandbox)
    sandbox.fault(operation, "error", times=2)
    for name, call in prepared.items():
        if name != operation:
            assert call().status_code == 200, name
    # A capture that went through in the loop above would be refused now, so capture's own turn comes last.
    answers = [prepared[operation]() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 500, 200]
    assert answers[0].json()["error"]["code"] == "SERVER_ERROR"


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/orders", "order.fetch"),
        ("/v1/orders?receipt=x", "order.fetch"),
        ("/v1/payments", "payment.fetch"),
        ("/v1/refunds", "refund.fetch"),
    ],
)
def test_lists_belong_to_the_fetches(sandbox: Sandbox, path: str, operation: str) -> None:
    sandbox.fault(operation, "error")
    assert [sandbox.http.get(path).status_code for _ in range(2)] == [500, 200]


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (400, "BAD_REQUEST_ERROR", BadRequestError),
        (500, "SERVER_ERROR", ServerError),
        (502, "GATEWAY_ERROR", GatewayError),
        (503, "SERVER_ERROR", ServerError),
        (504, "GATEWAY_ERROR", GatewayError),
    ],
)
def test_an_error_refuses_and_does_nothing(sandbox: Sandbox, status: int, code: str, raised: type[Exception]) -> None:
    body = {"amount": 50000, "currency": "INR"}
    sandbox.fault("order.create", "error", status=status, times=2)
    answer = sandbox.http.post("/v1/orders", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    with pytest.raises(raised):
        sandbox.client.order.create(data=body)
    assert count(sandbox, "orders") == 0


def test_a_rate_limit_is_429(sandbox: Sandbox) -> None:
    sandbox.fault("payment.fetch", "rate_limited")
    payment_id = sandbox.pay(sandbox.order())
    answer = sandbox.http.get(f"/v1/payments/{payment_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "BAD_REQUEST_ERROR")
    assert sandbox.http.get(f"/v1/payments/{payment_id}").status_code == 200


def test_a_timeout_holds_the_caller_and_does_nothing(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order())
    sandbox.fault("payment.capture", "timeout")
    with pytest.raises(requests.exceptions.ReadTimeout):
        sandbox.client.payment.capture(payment_id, 50000, {"currency": "INR"}, timeout=(1, 0.2))
    assert sandbox.payment(payment_id)["status"] == "authorized"


def test_a_caller_who_has_gone_is_no_longer_held(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.fault("order.fetch", "timeout", delay_seconds=60)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(httpx.get, f"{sandbox.process.url}/v1/orders/{order['id']}", auth=AUTH, timeout=0.5)
        until(lambda: held(sandbox) == 1, "the held call")
        assert isinstance(call.exception(), httpx.ReadTimeout)
    until(lambda: held(sandbox) == 0, "the end of the held call")


def held(sandbox: Sandbox) -> int:
    return int(sandbox.http.get("/_control/stats").json()["held"])


def test_a_timeout_after_success_has_done_it(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order())
    sandbox.fault("payment.capture", "timeout_after_success")
    with pytest.raises(requests.exceptions.ReadTimeout):
        sandbox.client.payment.capture(payment_id, 50000, {"currency": "INR"}, timeout=(1, 0.2))
    assert sandbox.payment(payment_id)["status"] == "captured"


def test_a_refund_that_timed_out_after_success_is_found_again_by_its_key(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    sandbox.fault("refund.create", "timeout_after_success")
    key = {"X-Refund-Idempotency": "refund_0001"}
    with pytest.raises(requests.exceptions.ReadTimeout):
        sandbox.client.payment.refund(payment_id, {"amount": 20000}, headers=key, timeout=(1, 0.2))
    again = sandbox.client.payment.refund(payment_id, {"amount": 20000}, headers=key)
    assert sandbox.client.payment.fetch_multiple_refund(payment_id)["items"][0]["id"] == again["id"]
    assert sandbox.payment(payment_id)["amount_refunded"] == 20000


def test_an_order_that_timed_out_after_success_is_found_by_its_receipt(sandbox: Sandbox) -> None:
    sandbox.fault("order.create", "timeout_after_success")
    with pytest.raises(requests.exceptions.ReadTimeout):
        sandbox.client.order.create(data={"amount": 50000, "currency": "INR", "receipt": "apt_1"}, timeout=(1, 0.2))
    assert sandbox.client.order.all({"receipt": "apt_1"})["count"] == 1


def test_who_waits_long_enough_gets_an_answer(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.fault("order.fetch", "timeout", delay_seconds=0.05)
    sandbox.fault("order.fetch", "timeout", delay_seconds=0, status=503)
    sandbox.fault("order.fetch", "timeout_after_success", delay_seconds=0.05)
    answers = [sandbox.http.get(f"/v1/orders/{order['id']}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [504, 503, 200]


def test_slow_is_done_late_even_when_the_caller_has_gone(sandbox: Sandbox) -> None:
    sandbox.fault("order.create", "slow", delay_seconds=0.4)
    with pytest.raises(httpx.ReadTimeout):
        sandbox.http.post("/v1/orders", json={"amount": 50000, "currency": "INR"}, timeout=0.1)
    until(lambda: count(sandbox, "orders") == 1, "the slow order")


def test_slow_takes_its_time(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.fault("order.fetch", "slow", delay_seconds=0.2)
    started = time.monotonic()
    assert sandbox.http.get(f"/v1/orders/{order['id']}").json() == order
    assert time.monotonic() - started >= 0.2


def test_a_malformed_answer_breaks_off_after_the_work_was_done(sandbox: Sandbox) -> None:
    sandbox.fault("order.create", "malformed")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        sandbox.client.order.create(data={"amount": 50000, "currency": "INR"})
    assert count(sandbox, "orders") == 1


def test_a_proxys_page_is_no_json_and_nothing_was_done(sandbox: Sandbox) -> None:
    sandbox.fault("order.create", "malformed", status=502)
    answer = sandbox.http.post("/v1/orders", json={"amount": 50000, "currency": "INR"})
    assert answer.status_code == 502
    assert answer.headers["content-type"].startswith("text/html")
    assert count(sandbox, "orders") == 0


def test_faults_come_in_the_order_in_which_they_were_armed(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.fault("order.fetch", "error", status=503, times=2)
    sandbox.fault("order.fetch", "rate_limited")
    listed = sandbox.http.get("/_control/faults").json()["items"]
    assert [(item["mode"], item["times"]) for item in listed] == [("error", 2), ("rate_limited", 1)]
    statuses = [sandbox.http.get(f"/v1/orders/{order['id']}").status_code for _ in range(4)]
    assert statuses == [503, 503, 429, 200]
    assert sandbox.http.get("/_control/faults").json() == {"items": []}


def test_disarming_lets_everybody_go(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.fault("order.fetch", "timeout", times=5)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(sandbox.http.get, f"/v1/orders/{order['id']}")
        until(lambda: sandbox.requests().get("order.fetch") == 1, "the held call")
        assert sandbox.http.delete("/_control/faults").json() == {"items": []}
        assert held.result().status_code == 504
    assert sandbox.http.get(f"/v1/orders/{order['id']}").status_code == 200


def test_a_refused_caller_uses_up_no_fault(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.fault("order.fetch", "error")
    assert httpx.get(f"{sandbox.process.url}/v1/orders/{order['id']}").status_code == 401
    assert sandbox.http.get(f"/v1/orders/{order['id']}").status_code == 500


@pytest.mark.parametrize("fault", ["timeout", "slow"])
def test_the_process_stops_at_once_although_it_holds_a_caller(tmp_path: Path, shop: Merchant, fault: str) -> None:
    with running(configuration(shop), shop, tmp_path / "log") as sandbox, ThreadPoolExecutor(1) as pool:
        order = sandbox.order()
        sandbox.fault("order.fetch", fault, delay_seconds=60)
        held = pool.submit(sandbox.http.get, f"/v1/orders/{order['id']}")
        until(lambda: sandbox.requests().get("order.fetch") == 1, "the held call")
        started = time.monotonic()
        sandbox.process.stop()
        assert time.monotonic() - started < 4
        assert not sandbox.process.alive
        assert held.result().status_code in {200, 504}
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"service": "paypal"}, "service"),
        ({"service": "smtp"}, ""),
        ({"operation": "order.delete"}, "operation"),
        ({"operation": "message.create"}, ""),
        ({"mode": "explode"}, "mode"),
        ({"times": 0}, "times"),
        ({"status": 200}, "status"),
        ({"delay_seconds": -1}, "delay_seconds"),
        ({"delay_seconds": 601}, "delay_seconds"),
        ({"extra": 1}, "extra"),
        ({"mode": "slow", "status": 500}, ""),
    ],
)
def test_a_fault_that_does_not_exist_is_refused(sandbox: Sandbox, change: Json, field: str) -> None:
    body: Json = {"service": "razorpay", "operation": "order.fetch", "mode": "error", "times": 1, **change}
    answer = sandbox.control("faults", body, status=422)
    errors = answer["errors"]
    assert isinstance(errors, list)
    assert [error["field"] for error in errors] == [field]
    assert sandbox.http.get("/_control/faults").json() == {"items": []}
