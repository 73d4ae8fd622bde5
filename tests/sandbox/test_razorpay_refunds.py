"""Refunds on the wire: full and partial, their keys, how they end, and the settlement report."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from razorpay.errors import BadRequestError

from tests.sandbox.support import Json, Sandbox, refusal, until

REFUND_FIELDS = [
    "id",
    "entity",
    "amount",
    "currency",
    "payment_id",
    "notes",
    "receipt",
    "acquirer_data",
    "created_at",
    "batch_id",
    "status",
    "speed_processed",
    "speed_requested",
]
INDIA = timezone(timedelta(hours=5, minutes=30))


def state(sandbox: Sandbox, payment_id: str) -> tuple[object, object, object]:
    payment = sandbox.payment(payment_id)
    return payment["status"], payment["amount_refunded"], payment["refund_status"]


def hold_refunds(sandbox: Sandbox, outcome: str = "pending", **fields: object) -> None:
    sandbox.control("refunds", {"outcome": outcome, **fields})


def test_a_refund_has_the_fields_of_the_real_one_and_is_processed_soon(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    body: Json = {"amount": 20000, "speed": "normal", "receipt": "rf_1", "notes": {"reason": "cancelled"}}
    refund = sandbox.client.payment.refund(payment_id, body, headers={"X-Refund-Idempotency": "refund_0001"})
    assert list(refund) == REFUND_FIELDS
    assert re.fullmatch(r"rfnd_[A-Za-z0-9]{14}", refund["id"])
    expected = {
        "entity": "refund",
        "amount": 20000,
        "currency": "INR",
        "payment_id": payment_id,
        "notes": {"reason": "cancelled"},
        "receipt": "rf_1",
        "acquirer_data": {"arn": None},
        "batch_id": None,
        "status": "pending",
        "speed_processed": "normal",
        "speed_requested": "normal",
    }
    assert {name: refund[name] for name in expected} == expected
    until(lambda: bool(sandbox.client.refund.fetch(refund["id"])["status"] == "processed"), "the refund")
    processed = sandbox.client.refund.fetch(refund["id"])
    assert re.fullmatch(r"\d{14}", processed["acquirer_data"]["arn"])
    assert sandbox.client.payment.fetch_refund_id(payment_id, refund["id"]) == processed


def test_parts_leave_the_payment_captured_and_the_whole_makes_it_refunded(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    order_id = sandbox.payment(payment_id)["order_id"]
    first = sandbox.refund(payment_id, amount=20000).json()
    assert state(sandbox, payment_id) == ("captured", 20000, "partial")
    rest = sandbox.refund(payment_id).json()
    assert rest["amount"] == 30000
    assert state(sandbox, payment_id) == ("refunded", 50000, "full")
    assert sandbox.client.order.fetch(order_id)["status"] == "paid"
    listed = sandbox.client.payment.fetch_multiple_refund(payment_id)
    assert [item["id"] for item in listed["items"]] == [rest["id"], first["id"]]
    assert [item["id"] for item in sandbox.client.refund.all()["items"]] == [rest["id"], first["id"]]


@pytest.mark.parametrize(
    ("body", "description"),
    [
        ({"amount": 50001}, "The refund amount provided is greater than amount captured."),
        ({"amount": 99}, "The amount must be at least INR 1.00"),
        ({"amount": "100"}, "The amount must be an integer."),
        ({"amount": 0}, "The amount must be at least INR 1.00"),
        ({"amount": -100}, "The amount must be at least INR 1.00"),
        ({"speed": "slow"}, "The speed is invalid."),
        ({"currency": "INR"}, "currency is/are not required and should not be sent"),
        ({"receipt": "x" * 41}, "The receipt may not be greater than 40 characters."),
    ],
)
def test_a_wrong_refund_is_refused_and_changes_nothing(sandbox: Sandbox, body: Json, description: str) -> None:
    payment_id = sandbox.captured()
    assert refusal(sandbox.http.post(f"/v1/payments/{payment_id}/refund", json=body)) == description
    assert state(sandbox, payment_id) == ("captured", 0, None)
    assert sandbox.client.refund.all()["count"] == 0


def test_no_more_than_what_is_left_is_refunded(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    sandbox.refund(payment_id, amount=30000)
    more = "The refund amount provided is greater than amount captured."
    assert refusal(sandbox.refund(payment_id, amount=20001)) == more
    sandbox.refund(payment_id, amount=20000)
    with pytest.raises(BadRequestError, match=r"^The payment has been fully refunded already\.$"):
        sandbox.client.payment.refund(payment_id, {})


@pytest.mark.parametrize("outcome", ["authorized", "failed"])
def test_what_was_not_captured_is_not_refunded(sandbox: Sandbox, outcome: str) -> None:
    payment_id = sandbox.pay(sandbox.order(), outcome)
    assert refusal(sandbox.refund(payment_id)) == "The payment status should be captured for action to be taken"


def test_unknown_ids_do_not_exist(sandbox: Sandbox) -> None:
    payment_id, other = sandbox.captured(), sandbox.captured()
    refund = sandbox.refund(other).json()
    unknown = "The id provided does not exist"
    assert refusal(sandbox.refund("pay_00000000000000")) == unknown
    assert refusal(sandbox.http.get("/v1/refunds/rfnd_00000000000000")) == unknown
    assert refusal(sandbox.http.get(f"/v1/payments/{payment_id}/refunds/{refund['id']}")) == unknown
    assert refusal(sandbox.http.get("/v1/payments/pay_00000000000000/refunds")) == unknown


def test_the_same_key_and_body_give_the_same_refund_as_it_stands_now(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    first = sandbox.refund(payment_id, "refund_0001", amount=20000, receipt="rf_1").json()
    until(lambda: bool(sandbox.client.refund.fetch(first["id"])["status"] == "processed"), "the refund")
    again = sandbox.refund(payment_id, "refund_0001", receipt="rf_1", amount=20000)
    assert again.status_code == 200
    assert (again.json()["id"], again.json()["status"]) == (first["id"], "processed")
    assert state(sandbox, payment_id) == ("captured", 20000, "partial")
    other = sandbox.refund(payment_id, "refund_0002", amount=20000).json()
    assert other["id"] != first["id"]


def test_the_same_key_with_another_body_or_payment_is_refused(sandbox: Sandbox) -> None:
    payment_id, other = sandbox.captured(), sandbox.captured()
    sandbox.refund(payment_id, "refund_0001", amount=20000)
    different = "Different request with the same idempotency key has already been processed."
    assert refusal(sandbox.refund(payment_id, "refund_0001", amount=20001)) == different
    assert refusal(sandbox.refund(other, "refund_0001", amount=20000)) == different
    assert state(sandbox, payment_id) == ("captured", 20000, "partial")
    assert state(sandbox, other) == ("captured", 0, None)


@pytest.mark.parametrize("key", ["short", "x" * 9, "with space in it", "dots.are.not.fine"])
def test_a_key_has_ten_plain_characters_at_least(sandbox: Sandbox, key: str) -> None:
    payment_id = sandbox.captured()
    assert "idempotency key" in refusal(sandbox.refund(payment_id, key))
    assert state(sandbox, payment_id) == ("captured", 0, None)


def test_a_refused_refund_does_not_use_up_its_key(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    refusal(sandbox.refund(payment_id, "refund_0001", amount=99999))
    assert sandbox.refund(payment_id, "refund_0001", amount=20000).status_code == 200


def test_a_key_in_flight_is_a_conflict(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    sandbox.fault("refund.create", "slow", delay_seconds=60)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(sandbox.refund, payment_id, "refund_0001", amount=20000)
        until(lambda: sandbox.requests().get("refund.create") == 1, "the slow refund")
        in_flight = sandbox.refund(payment_id, "refund_0001", amount=20000)
        sandbox.http.delete("/_control/faults")  # lets the slow one go on
        done = slow.result()
    assert "still being processed" in refusal(in_flight, 409)
    assert done.status_code == 200
    assert sandbox.refund(payment_id, "refund_0001", amount=20000).json()["id"] == done.json()["id"]
    assert state(sandbox, payment_id) == ("captured", 20000, "partial")


def test_many_tries_with_one_key_make_one_refund(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(sandbox.refund, payment_id, "refund_0001", amount=10000) for _ in range(24)]
        made = {item.result().json()["id"] for item in tries}
    assert len(made) == 1
    assert state(sandbox, payment_id) == ("captured", 10000, "partial")


def test_a_refund_stays_pending_until_somebody_decides(sandbox: Sandbox) -> None:
    hold_refunds(sandbox)
    held, marker = sandbox.captured(), sandbox.captured()
    hold_refunds(sandbox, "processed", after_seconds=0, payment_id=marker)
    refund = sandbox.refund(held).json()
    quick = sandbox.refund(marker).json()
    until(lambda: bool(sandbox.client.refund.fetch(quick["id"])["status"] == "processed"), "the other refund")
    assert sandbox.client.refund.fetch(refund["id"])["status"] == "pending"
    decided = sandbox.control(f"refunds/{refund['id']}", {"status": "processed"})
    assert decided["status"] == "processed"
    sandbox.control(f"refunds/{refund['id']}", {"status": "failed"}, status=409)
    sandbox.control("refunds/rfnd_00000000000000", {"status": "failed"}, status=404)
    sandbox.control(f"refunds/{refund['id']}", {"status": "pending"}, status=422)


def test_a_failed_refund_leaves_the_money_captured_and_may_be_tried_anew(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    hold_refunds(sandbox)
    refund = sandbox.refund(payment_id).json()
    assert state(sandbox, payment_id) == ("refunded", 50000, "full")
    assert sandbox.control(f"refunds/{refund['id']}", {"status": "failed"})["status"] == "failed"
    assert state(sandbox, payment_id) == ("captured", 0, None)
    assert sandbox.merchant.wait(payment_id, 5)[-1].name == "refund.failed"
    hold_refunds(sandbox, "processed", payment_id=payment_id)
    assert sandbox.refund(payment_id).json()["amount"] == 50000
    assert state(sandbox, payment_id) == ("refunded", 50000, "full")


def test_refunds_can_be_made_to_fail_by_themselves(sandbox: Sandbox) -> None:
    hold_refunds(sandbox, "failed", after_seconds=0.01)
    refund = sandbox.refund(sandbox.captured()).json()
    assert refund["status"] == "pending"
    until(lambda: bool(sandbox.client.refund.fetch(refund["id"])["status"] == "failed"), "the refund's failure")


def test_one_of_two_parts_fails(sandbox: Sandbox) -> None:
    hold_refunds(sandbox)
    payment_id = sandbox.captured()
    first = sandbox.refund(payment_id, amount=20000).json()
    sandbox.refund(payment_id, amount=30000)
    assert state(sandbox, payment_id) == ("refunded", 50000, "full")
    sandbox.control(f"refunds/{first['id']}", {"status": "failed"})
    assert state(sandbox, payment_id) == ("captured", 30000, "partial")


def test_the_settlement_report_balances_and_leaves_out_what_lapsed(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    refund = sandbox.refund(payment_id, amount=20000).json()
    until(lambda: bool(sandbox.client.refund.fetch(refund["id"])["status"] == "processed"), "the refund")
    sandbox.control("lapse", {"payment_id": sandbox.pay(sandbox.order())})
    created_at = sandbox.payment(payment_id)["created_at"]
    assert isinstance(created_at, int)
    day = datetime.fromtimestamp(created_at, UTC).astimezone(INDIA)
    query = {"year": day.year, "month": day.month, "day": day.day}
    report = sandbox.client.settlement.report(query)
    assert [(item["entity_id"], item["type"], item["debit"], item["credit"]) for item in report["items"]] == [
        (payment_id, "payment", 0, 48820),
        (refund["id"], "refund", 20000, 0),
    ]
    paid, given_back = report["items"]
    assert (paid["amount"], paid["fee"], paid["tax"], paid["settled"]) == (50000, 1180, 180, True)
    assert given_back["payment_id"] == payment_id
    assert paid["order_id"] == given_back["order_id"]
    assert paid["settlement_id"] == given_back["settlement_id"]
    assert sandbox.client.settlement.report({**query, "count": 1, "skip": 1})["items"] == [given_back]
    assert sandbox.client.settlement.report({"year": day.year, "month": day.month})["count"] == 2
    assert sandbox.client.settlement.report({"year": day.year - 1, "month": day.month})["count"] == 0
    assert refusal(sandbox.http.get("/v1/settlements/recon/combined?month=1")) == "The year field is required."
    too_many = sandbox.http.get("/v1/settlements/recon/combined?year=2026&month=1&count=1001")
    assert refusal(too_many) == "The count may not be greater than 1000."
