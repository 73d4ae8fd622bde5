"""Payments on the wire: what a payer, a bank and the merchant may do to them, in which order, and what lapses."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from razorpay.errors import BadRequestError

from tests.sandbox.support import Json, Merchant, Sandbox, configuration, refusal, running, until

PAYMENT_FIELDS = [
    "id",
    "entity",
    "amount",
    "currency",
    "status",
    "order_id",
    "invoice_id",
    "international",
    "method",
    "amount_refunded",
    "refund_status",
    "captured",
    "description",
    "card_id",
    "bank",
    "wallet",
    "vpa",
    "email",
    "contact",
    "notes",
    "fee",
    "tax",
    "error_code",
    "error_description",
    "error_source",
    "error_step",
    "error_reason",
    "acquirer_data",
    "created_at",
]


@pytest.fixture(scope="module")
def hasty(shop: Merchant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A gateway whose minutes last 0.1 s, so that 12 minutes are 1.2 s."""
    log = tmp_path_factory.mktemp("hasty") / "sandbox.log"
    with running(configuration(shop, minute_seconds=0.1), shop, log) as sandbox:
        yield sandbox


def test_a_payment_has_the_fields_of_the_real_one(sandbox: Sandbox) -> None:
    order = sandbox.order(notes={"appointment": "apt_1"})
    payment = sandbox.payment(sandbox.pay(order))
    assert list(payment) == PAYMENT_FIELDS
    assert re.fullmatch(r"pay_[A-Za-z0-9]{14}", str(payment["id"]))
    expected = {
        "entity": "payment",
        "amount": 50000,
        "currency": "INR",
        "status": "authorized",
        "order_id": order["id"],
        "method": "upi",
        "captured": False,
        "amount_refunded": 0,
        "refund_status": None,
        "notes": {"appointment": "apt_1"},
        "fee": None,
        "tax": None,
        "error_code": None,
    }
    assert {name: payment[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("method", "filled", "reference"),
    [
        ("upi", "vpa", "rrn"),
        ("card", "card_id", "auth_code"),
        ("emi", "card_id", "auth_code"),
        ("netbanking", "bank", "bank_transaction_id"),
        ("wallet", "wallet", "transaction_id"),
    ],
)
def test_each_method_leaves_its_own_traces(sandbox: Sandbox, method: str, filled: str, reference: str) -> None:
    payment = sandbox.payment(sandbox.pay(sandbox.order(), method=method))
    traces = {name for name in ("vpa", "card_id", "bank", "wallet") if payment[name] is not None}
    assert traces == {filled}
    acquirer_data = payment["acquirer_data"]
    assert isinstance(acquirer_data, dict)
    assert list(acquirer_data) == [reference]
    assert acquirer_data[reference]


def test_an_authorized_payment_is_captured_and_its_order_paid(sandbox: Sandbox) -> None:
    order = sandbox.order()
    payment_id = sandbox.pay(order)
    tried = sandbox.client.order.fetch(order["id"])
    assert (tried["status"], tried["attempts"], tried["amount_due"]) == ("attempted", 1, 50000)
    payment = sandbox.client.payment.capture(payment_id, 50000, {"currency": "INR"})
    assert (payment["status"], payment["captured"]) == ("captured", True)
    assert (payment["fee"], payment["tax"]) == (1180, 180)
    paid = sandbox.client.order.fetch(order["id"])
    assert (paid["status"], paid["amount_paid"], paid["amount_due"]) == ("paid", 50000, 0)
    listed = sandbox.client.order.payments(order["id"])
    assert listed == {"entity": "collection", "count": 1, "items": [payment]}


def test_what_checkout_hands_back_is_signed_with_the_key_secret(sandbox: Sandbox) -> None:
    order = sandbox.order()
    paid = sandbox.control("payments", {"order_id": order["id"], "outcome": "authorized"})
    assert paid.keys() == {"payment_id", "order_id", "signature"}
    assert sandbox.client.utility.verify_payment_signature(
        {
            "razorpay_order_id": order["id"],
            "razorpay_payment_id": paid["payment_id"],
            "razorpay_signature": paid["signature"],
        }
    )


def capture(sandbox: Sandbox, payment_id: str, body: Json) -> httpx.Response:
    return sandbox.http.post(f"/v1/payments/{payment_id}/capture", json=body)


@pytest.mark.parametrize(
    ("body", "description"),
    [
        ({"amount": 49999, "currency": "INR"}, "Capture amount must be equal to the amount authorized."),
        ({"amount": 50001, "currency": "INR"}, "Capture amount must be equal to the amount authorized."),
        ({"amount": "50000", "currency": "INR"}, "The amount must be an integer."),
        ({"currency": "INR"}, "The amount field is required."),
        ({"amount": 50000}, "The currency field is required."),
        ({"amount": 50000, "currency": "USD"}, "Currency is not supported"),
        ({"amount": 50000, "currency": "INR", "x": 1}, "x is/are not required and should not be sent"),
    ],
)
def test_a_wrong_capture_is_refused_and_changes_nothing(sandbox: Sandbox, body: Json, description: str) -> None:
    payment_id = sandbox.pay(sandbox.order())
    assert refusal(capture(sandbox, payment_id, body)) == description
    assert sandbox.payment(payment_id)["status"] == "authorized"


def test_a_payment_is_captured_once(sandbox: Sandbox) -> None:
    payment_id = sandbox.captured()
    with pytest.raises(BadRequestError, match=r"^This payment has already been captured$"):
        sandbox.client.payment.capture(payment_id, 50000, {"currency": "INR"})


def test_only_an_authorized_payment_is_captured(sandbox: Sandbox) -> None:
    only = "Only payments which have been authorized and not yet captured can be captured"
    body: Json = {"amount": 50000, "currency": "INR"}
    assert refusal(capture(sandbox, sandbox.pay(sandbox.order(), "failed"), body)) == only
    lapsed = sandbox.pay(sandbox.order())
    sandbox.control("lapse", {"payment_id": lapsed})
    assert refusal(capture(sandbox, lapsed, body)) == only
    assert refusal(capture(sandbox, "pay_00000000000000", body)) == "The id provided does not exist"


def test_a_bank_may_capture_by_itself(sandbox: Sandbox) -> None:
    order = sandbox.order(payment={"capture": "manual"})
    payment = sandbox.payment(sandbox.pay(order, "captured"))
    assert (payment["status"], payment["captured"]) == ("captured", True)
    assert sandbox.client.order.fetch(order["id"])["status"] == "paid"


def test_an_order_for_automatic_capture_captures_what_is_authorized(sandbox: Sandbox) -> None:
    order = sandbox.order(payment={"capture": "automatic"})
    assert sandbox.payment(sandbox.pay(order, "authorized"))["status"] == "captured"


def test_a_failed_payment_says_why_and_another_may_follow(sandbox: Sandbox) -> None:
    order = sandbox.order()
    failed = sandbox.payment(sandbox.pay(order, "failed"))
    assert failed["status"] == "failed"
    assert failed["error_code"] == "BAD_REQUEST_ERROR"
    assert (failed["error_source"], failed["error_step"]) == ("bank", "payment_authorization")
    assert failed["error_reason"] == "payment_failed"
    second = sandbox.pay(order)
    assert [item["id"] for item in sandbox.client.order.payments(order["id"])["items"]] == [second, failed["id"]]
    assert sandbox.client.order.fetch(order["id"])["attempts"] == 2


def test_failed_is_not_final(sandbox: Sandbox) -> None:
    order = sandbox.order()
    payment_id = sandbox.pay(order, "failed")
    assert sandbox.pay(order, "authorized", payment_id=payment_id) == payment_id
    payment = sandbox.payment(payment_id)
    assert (payment["status"], payment["error_code"], payment["error_reason"]) == ("authorized", None, None)
    assert sandbox.client.order.fetch(order["id"])["attempts"] == 1


@pytest.mark.parametrize("first", ["authorized", "captured"])
def test_a_late_payment_on_an_order_that_has_one_is_given_back_at_once(sandbox: Sandbox, first: str) -> None:
    order = sandbox.order()
    late = sandbox.pay(order, "failed")
    kept = sandbox.pay(order, first)
    sandbox.pay(order, "captured", payment_id=late)
    payment = sandbox.payment(late)
    assert (payment["status"], payment["captured"], payment["amount_refunded"]) == ("refunded", False, 50000)
    assert sandbox.payment(kept)["status"] == first
    assert sandbox.merchant.wait(late, 4)
    names = ["payment.failed", "payment.authorized", "refund.created", "refund.processed"]
    assert sandbox.merchant.names(late) == names


def test_an_order_with_money_on_it_takes_no_other_payment(sandbox: Sandbox) -> None:
    authorized, paid = sandbox.order(), sandbox.order()
    sandbox.pay(authorized)
    sandbox.pay(paid, "captured")
    for order, text in ((authorized, "already authorized"), (paid, "already paid")):
        answer = sandbox.control("payments", {"order_id": order["id"], "outcome": "authorized"}, status=409)
        assert answer["code"] == "conflict"
        assert text in str(answer["detail"])
        assert sandbox.client.order.payments(order["id"])["count"] == 1


def test_somebody_may_pay_later(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.pay(order, after_seconds=3600)
    assert sandbox.client.order.payments(order["id"])["count"] == 0
    assert sandbox.client.order.fetch(order["id"])["status"] == "created"
    payment_id = sandbox.pay(order, after_seconds=0.05)
    until(lambda: bool(sandbox.client.order.payments(order["id"])["count"] == 1), "the later payment")
    assert sandbox.payment(payment_id)["status"] == "authorized"


def test_who_comes_later_to_a_paid_order_pays_nothing(sandbox: Sandbox) -> None:
    order = sandbox.order()
    late = sandbox.pay(order, after_seconds=1)
    first = sandbox.pay(order, "captured")
    last = sandbox.pay(sandbox.order(), after_seconds=1)
    until(lambda: sandbox.http.get(f"/v1/payments/{last}").status_code == 200, "a payment made after the refused one")
    assert [item["id"] for item in sandbox.client.order.payments(order["id"])["items"]] == [first]
    assert refusal(sandbox.http.get(f"/v1/payments/{late}")) == "The id provided does not exist"


def test_a_lapsed_payment_is_given_back_and_was_never_captured(sandbox: Sandbox) -> None:
    order = sandbox.order()
    payment_id = sandbox.pay(order)
    lapsed = sandbox.control("lapse", {"payment_id": payment_id})
    payment = sandbox.payment(payment_id)
    assert lapsed["payment"] == payment
    expected = {"status": "refunded", "captured": False, "amount_refunded": 50000, "refund_status": "full", "fee": None}
    assert {name: payment[name] for name in expected} == expected
    refunds = sandbox.client.payment.fetch_multiple_refund(payment_id)
    assert refunds["items"] == [lapsed["refund"]]
    assert refunds["items"][0]["status"] == "processed"
    order_now = sandbox.client.order.fetch(order["id"])
    assert (order_now["status"], order_now["amount_paid"]) == ("attempted", 0)
    assert refusal(sandbox.refund(payment_id)) == "The payment has been fully refunded already."
    sandbox.control("lapse", {"payment_id": payment_id}, status=409)
    sandbox.control("lapse", {"payment_id": sandbox.captured()}, status=409)
    sandbox.control("lapse", {"payment_id": "pay_00000000000000"}, status=404)


def test_a_lapsed_order_can_be_paid_anew(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.control("lapse", {"payment_id": sandbox.pay(order)})
    second = sandbox.pay(order)
    assert sandbox.payment(second)["status"] == "authorized"


def test_nobody_captures_and_the_orders_own_period_ends(hasty: Sandbox) -> None:
    options = {"manual_expiry_period": 12}
    order = hasty.order(payment={"capture": "manual", "capture_options": options})
    usual = hasty.pay(hasty.order())
    kept = hasty.pay(hasty.order(payment={"capture": "manual", "capture_options": options}))
    hasty.client.payment.capture(kept, 50000, {"currency": "INR"})
    payment_id = hasty.pay(order)
    assert hasty.payment(payment_id)["status"] == "authorized"
    until(lambda: hasty.payment(payment_id)["status"] == "refunded", "the payment's lapse")
    assert hasty.payment(payment_id)["captured"] is False
    assert hasty.payment(kept)["status"] == "captured"
    assert hasty.payment(usual)["status"] == "authorized"


def test_what_comes_after_the_automatic_period_waits_for_the_merchant(hasty: Sandbox) -> None:
    options = {"automatic_expiry_period": 12}
    order = hasty.order(payment={"capture": "automatic", "capture_options": options})
    payment_id = hasty.pay(order, "failed")
    made_at = hasty.payment(payment_id)["created_at"]
    assert isinstance(made_at, int)
    until(lambda: time.time() >= made_at + 2, "two seconds of the clock")
    hasty.pay(order, "authorized", payment_id=payment_id)
    assert hasty.payment(payment_id)["status"] == "authorized"


def test_payments_are_listed_newest_first(sandbox: Sandbox) -> None:
    made = [sandbox.captured() for _ in range(3)]
    listed = sandbox.client.payment.all({"count": 2})
    assert [item["id"] for item in listed["items"]] == [made[2], made[1]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"outcome": "paid"}, "outcome"),
        ({"outcome": None}, "outcome"),
        ({"method": "cash"}, "method"),
        ({"webhook": "twice"}, "webhook"),
        ({"after_seconds": -1}, "after_seconds"),
        ({"after_seconds": "1"}, "after_seconds"),
        ({"tip": 1}, "tip"),
        ({"payment_id": "pay_x", "after_seconds": 1}, ""),
        ({"payment_id": "pay_x", "outcome": "failed"}, ""),
    ],
)
def test_a_control_request_that_is_wrong_changes_nothing(sandbox: Sandbox, change: Json, field: str) -> None:
    order = sandbox.order()
    body: Json = {"order_id": order["id"], "outcome": "authorized", **change}
    answer = sandbox.control("payments", body, status=422)
    assert answer["code"] == "invalid"
    errors = answer["errors"]
    assert isinstance(errors, list)
    assert [error["field"] for error in errors] == [field]
    assert sandbox.client.order.payments(order["id"])["count"] == 0


def test_the_control_api_knows_what_exists_and_takes_json_only(sandbox: Sandbox) -> None:
    order, other = sandbox.order(), sandbox.order()
    failed = sandbox.pay(order, "failed")
    captured = sandbox.captured()
    sandbox.control("payments", {"order_id": "order_none", "outcome": "authorized"}, status=404)
    sandbox.control("payments", {"order_id": "order_none", "outcome": "authorized", "after_seconds": 1}, status=404)
    late: Json = {"order_id": other["id"], "outcome": "authorized", "payment_id": failed}
    sandbox.control("payments", late, status=404)
    paid_order = sandbox.payment(captured)["order_id"]
    sandbox.control("payments", {"order_id": paid_order, "outcome": "authorized", "payment_id": captured}, status=409)
    answer = sandbox.http.post("/_control/payments", data={"order_id": str(order["id"]), "outcome": "authorized"})
    assert answer.status_code == 415


def test_the_ledger_shows_every_entity_and_reset_forgets_them(sandbox: Sandbox) -> None:
    order = sandbox.order()
    payment_id = sandbox.pay(order, "captured")
    refund = sandbox.refund(payment_id, amount=10000).json()
    ledger = sandbox.http.get("/_control/ledger").json()
    assert ledger.keys() == {"orders", "payments", "refunds"}
    assert [item["id"] for item in ledger["orders"]] == [order["id"]]
    assert [item["id"] for item in ledger["payments"]] == [payment_id]
    assert [item["id"] for item in ledger["refunds"]] == [refund["id"]]
    later = sandbox.pay(sandbox.order(), after_seconds=0.05)
    sandbox.fault("order.fetch", "error")
    sandbox.control("reset", {})
    assert sandbox.http.get("/_control/ledger").json() == {"orders": [], "payments": [], "refunds": []}
    assert sandbox.http.get("/_control/faults").json() == {"items": []}
    assert sandbox.requests() == {}
    marker = sandbox.pay(sandbox.order(), after_seconds=0.1)
    until(lambda: sandbox.http.get(f"/v1/payments/{marker}").status_code == 200, "a payment after the forgotten one")
    assert refusal(sandbox.http.get(f"/v1/payments/{later}")) == "The id provided does not exist"


def test_requests_are_counted_by_operation(sandbox: Sandbox) -> None:
    order = sandbox.order()
    payment_id = sandbox.pay(order)
    sandbox.client.order.fetch(order["id"])
    sandbox.client.order.payments(order["id"])
    sandbox.client.payment.fetch(payment_id)
    sandbox.client.payment.capture(payment_id, 50000, {"currency": "INR"})
    refund = sandbox.refund(payment_id).json()
    sandbox.client.refund.fetch(refund["id"])
    sandbox.client.settlement.report({"year": 2026, "month": 1})
    assert sandbox.requests() == {
        "order.create": 1,
        "order.fetch": 1,
        "order.payments": 1,
        "payment.fetch": 1,
        "payment.capture": 1,
        "refund.create": 1,
        "refund.fetch": 1,
        "settlement.recon": 1,
    }
