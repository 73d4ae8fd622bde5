"""Webhooks as the merchant receives them: signed, retried, and on demand lost, tripled or out of order."""

import json
import socket
import threading
from pathlib import Path

import pytest

from sandbox.entities import CANARY_CONTACT, CANARY_EMAIL, CANARY_VPA
from sandbox.posting import Poster, PostError
from tests.sandbox.support import (
    WEBHOOK_SECRET,
    Json,
    Merchant,
    Sandbox,
    configuration,
    merchant,
    running,
    until,
)

CAPTURED = ["payment.authorized", "payment.captured", "order.paid"]


def deliveries(sandbox: Sandbox, payment_id: str) -> list[Json]:
    items = sandbox.http.get("/_control/webhooks").json()["items"]
    return [item for item in items if item["payment_id"] == payment_id]


def capture(sandbox: Sandbox, payment_id: str) -> None:
    sandbox.client.payment.capture(payment_id, 50000, {"currency": "INR"})


def test_the_envelope_is_the_real_ones_and_its_raw_bytes_are_signed(sandbox: Sandbox) -> None:
    order = sandbox.order()
    payment_id = sandbox.pay(order)
    [received] = sandbox.merchant.wait(payment_id, 1)
    assert received.path == "/webhooks/razorpay"
    assert received.headers["content-type"] == "application/json"
    assert received.signed_with(WEBHOOK_SECRET)
    assert not received.signed_with("another-secret")
    event = received.event
    assert list(event) == ["entity", "account_id", "event", "contains", "payload", "created_at"]
    assert (event["entity"], event["event"], event["contains"]) == ("event", "payment.authorized", ["payment"])
    assert str(event["account_id"]).startswith("acc_")
    assert received.entity("payment") == sandbox.payment(payment_id)
    assert sandbox.client.utility.verify_webhook_signature(
        received.body.decode(), received.headers["x-razorpay-signature"], WEBHOOK_SECRET
    )


def test_a_body_carries_personal_data_as_real_ones_do(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order(), method="upi")
    [received] = sandbox.merchant.wait(payment_id, 1)
    payment = received.entity("payment")
    assert (payment["email"], payment["contact"], payment["vpa"]) == (CANARY_EMAIL, CANARY_CONTACT, CANARY_VPA)


def test_each_step_of_a_payment_is_told_once_and_in_order(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order())
    capture(sandbox, payment_id)
    refund = sandbox.refund(payment_id, amount=20000).json()
    received = sandbox.merchant.wait(payment_id, 5)
    assert [item.name for item in received] == [*CAPTURED, "refund.created", "refund.processed"]
    assert len({item.event_id for item in received}) == 5
    assert [item.event["contains"] for item in received] == [
        ["payment"],
        ["payment"],
        ["payment", "order"],
        ["refund", "payment"],
        ["refund", "payment"],
    ]
    assert received[2].entity("order")["status"] == "paid"
    assert received[3].entity("refund")["id"] == refund["id"]
    assert [item.entity("refund")["status"] for item in received[3:]] == ["pending", "processed"]
    assert [item.entity("payment")["amount_refunded"] for item in received] == [0, 0, 0, 20000, 20000]


def test_a_snapshot_may_run_ahead_of_its_name(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    received = sandbox.merchant.wait(payment_id, 3)
    assert [item.name for item in received] == CAPTURED
    assert received[0].entity("payment")["captured"] is True


def test_a_failure_is_told_and_then_the_late_answer(sandbox: Sandbox) -> None:
    order = sandbox.order()
    payment_id = sandbox.pay(order, "failed")
    sandbox.pay(order, payment_id=payment_id)
    received = sandbox.merchant.wait(payment_id, 2)
    assert [item.name for item in received] == ["payment.failed", "payment.authorized"]
    assert received[0].entity("payment")["error_reason"] == "payment_failed"


def test_a_lapse_tells_of_a_refund_of_what_was_never_captured(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order())
    sandbox.control("lapse", {"payment_id": payment_id})
    received = sandbox.merchant.wait(payment_id, 3)
    assert [item.name for item in received] == ["payment.authorized", "refund.created", "refund.processed"]
    assert received[2].entity("payment")["captured"] is False


def test_never_means_that_no_event_of_the_payment_arrives(sandbox: Sandbox) -> None:
    silent = sandbox.pay(sandbox.order(), webhook="never")
    capture(sandbox, silent)
    marker = sandbox.captured()
    sandbox.merchant.wait(marker, 3)
    assert sandbox.merchant.names(silent) == []
    assert {item["state"] for item in deliveries(sandbox, silent)} == {"suppressed"}


def test_what_was_lost_can_be_sent_after_all(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order(), webhook="never")
    [lost] = deliveries(sandbox, payment_id)
    sandbox.control(f"webhooks/{lost['event_id']}/send", {})
    [received] = sandbox.merchant.wait(payment_id, 1)
    assert received.event_id == lost["event_id"]
    assert received.signed_with(WEBHOOK_SECRET)
    sandbox.control("webhooks/evt_00000000000000/send", {}, status=404)


def test_thrice_means_the_same_bytes_under_the_same_id(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order(), "captured", webhook="thrice")
    received = sandbox.merchant.wait(payment_id, 9)
    for name in CAPTURED:
        copies = [item for item in received if item.name == name]
        assert len(copies) == 3
        assert len({(item.event_id, item.body, item.headers["x-razorpay-signature"]) for item in copies}) == 1


def test_reordered_means_the_latest_first_and_holds_up_nobody_else(sandbox: Sandbox) -> None:
    reordered = sandbox.pay(sandbox.order(), "captured", webhook="reordered")
    prompt = sandbox.captured()
    sandbox.merchant.wait(reordered, 3)
    assert sandbox.merchant.names(reordered) == CAPTURED[::-1]
    payments = [item.entity("payment")["id"] for item in sandbox.merchant.received]
    assert payments == [prompt] * 3 + [reordered] * 3


def test_reordered_spans_steps_that_follow_soon(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.order(), webhook="reordered")
    capture(sandbox, payment_id)
    sandbox.merchant.wait(payment_id, 3)
    assert sandbox.merchant.names(payment_id) == CAPTURED[::-1]


@pytest.mark.parametrize("refusals", [[500, 503], [400], [302]])
def test_anything_but_2xx_is_sent_again_as_it_was(sandbox: Sandbox, refusals: list[int]) -> None:
    sandbox.merchant.answers[:] = refusals
    payment_id = sandbox.pay(sandbox.order())
    received = sandbox.merchant.wait(payment_id, len(refusals) + 1)
    assert len({(item.event_id, item.body, item.headers["x-razorpay-signature"]) for item in received}) == 1
    until(lambda: deliveries(sandbox, payment_id)[0]["state"] == "delivered", "the delivery")
    [delivery] = deliveries(sandbox, payment_id)
    assert (delivery["attempts"], delivery["last_status"]) == (len(refusals) + 1, 200)


def test_204_is_an_answer_too(sandbox: Sandbox) -> None:
    sandbox.merchant.answers[:] = [204]
    payment_id = sandbox.pay(sandbox.order())
    until(lambda: deliveries(sandbox, payment_id)[0]["state"] == "delivered", "the delivery")
    assert deliveries(sandbox, payment_id)[0]["attempts"] == 1


def test_after_a_rotation_older_events_keep_the_old_signature(sandbox: Sandbox) -> None:
    sandbox.merchant.answers[:] = [500]
    old = sandbox.pay(sandbox.order())
    sandbox.merchant.wait(old, 1)
    answer = sandbox.http.put("/_control/webhooks", json={"url": sandbox.merchant.url, "secret": "new-secret"})
    assert answer.status_code == 200
    assert all(item.signed_with(WEBHOOK_SECRET) for item in sandbox.merchant.wait(old, 2))
    new = sandbox.pay(sandbox.order())
    [received] = sandbox.merchant.wait(new, 1)
    assert received.signed_with("new-secret")


def test_a_bad_target_is_refused(sandbox: Sandbox) -> None:
    for url in ("ftp://127.0.0.1/x", "127.0.0.1", "http://", ""):
        answer = sandbox.http.put("/_control/webhooks", json={"url": url, "secret": "x"})
        assert answer.status_code == 422


def test_a_merchant_that_never_accepts_is_given_up_and_the_next_event_goes_on(tmp_path: Path) -> None:
    with merchant() as keeper, running(configuration(keeper, attempts=3), keeper, tmp_path / "log") as sandbox:
        keeper.answers[:] = [500] * 3
        payment_id = sandbox.pay(sandbox.order())
        until(lambda: deliveries(sandbox, payment_id)[0]["state"] == "given_up", "giving up")
        assert len(keeper.wait(payment_id, 3)) == 3
        capture(sandbox, payment_id)
        assert [item.name for item in keeper.wait(payment_id, 5)[3:]] == CAPTURED[1:]
        counts = sandbox.http.get("/_control/stats").json()["webhooks"]
        assert (counts["given_up"], counts["suppressed"]) == (1, 0)


def test_a_merchant_that_is_away_for_a_while_hears_of_it_when_back(tmp_path: Path) -> None:
    with merchant() as away:
        address = away.url
    with running(configuration(away), away, tmp_path / "log") as sandbox:
        payment_id = sandbox.pay(sandbox.order())
        until(lambda: deliveries(sandbox, payment_id)[0]["attempts"] != 0, "a first try")
        port = int(address.split(":")[2].split("/")[0])
        bodies = receive_once(port, sandbox, payment_id)
    assert json.loads(bodies)["event"] == "payment.authorized"


def receive_once(port: int, sandbox: Sandbox, payment_id: str) -> bytes:
    """Come back on the old port, accept one webhook and answer without saying how long the answer is."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(10)
        connection, _ = listener.accept()
        with connection:
            with connection.makefile("rb") as stream:
                lines = iter(stream.readline, b"\r\n")
                lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")]
                body = stream.read(lengths[0])
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        until(lambda: deliveries(sandbox, payment_id)[0]["state"] == "delivered", "the delivery")
    return body


def test_without_a_target_nothing_leaves(tmp_path: Path, shop: Merchant) -> None:
    config = configuration(shop)
    silent = type(config)(key_id=config.key_id, key_secret=config.key_secret)
    with running(silent, shop, tmp_path / "log") as sandbox:
        payment_id = sandbox.captured()
        found = deliveries(sandbox, payment_id)
        assert {item["state"] for item in found} == {"suppressed"}
        sandbox.control(f"webhooks/{found[0]['event_id']}/send", {}, status=409)


async def test_an_answer_that_takes_too_long_or_makes_no_sense_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        slow = Poster(f"http://127.0.0.1:{port}/")
        with pytest.raises(PostError, match="no answer in time"):
            await slow.post({}, b"{}", 0.05)
        thread = threading.Thread(target=answer_nonsense, args=(listener,))
        thread.start()
        with pytest.raises(PostError):
            await Poster(f"http://127.0.0.1:{port}/").post({}, b"{}", 5)
        thread.join()
    with pytest.raises(PostError):
        await Poster(f"http://127.0.0.1:{port}/").post({}, b"{}", 5)
    with pytest.raises(ValueError, match="not an http or https address"):
        Poster("ftp://127.0.0.1/")


def answer_nonsense(listener: socket.socket) -> None:
    for _ in range(2):  # the first connection is the one that was never answered
        connection, _address = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"nonsense\r\n\r\n")
