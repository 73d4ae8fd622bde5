"""Orders on the wire: shape, refusals, look-ups and who may ask."""

import re

import httpx
import pytest
from razorpay.errors import BadRequestError

from tests.sandbox.support import KEY_ID, Json, Sandbox, refusal

ORDER_FIELDS = [
    "id",
    "entity",
    "amount",
    "amount_paid",
    "amount_due",
    "currency",
    "receipt",
    "offer_id",
    "status",
    "attempts",
    "notes",
    "created_at",
]


def test_an_order_has_the_fields_of_the_real_one(sandbox: Sandbox) -> None:
    order = sandbox.client.order.create(
        data={
            "amount": 50000,
            "currency": "INR",
            "receipt": "apt_1",
            "notes": {"appointment": "apt_1"},
            "payment": {"capture": "manual", "capture_options": {"manual_expiry_period": 20, "refund_speed": "normal"}},
        }
    )
    assert list(order) == ORDER_FIELDS
    assert re.fullmatch(r"order_[A-Za-z0-9]{14}", order["id"])
    expected = {
        "entity": "order",
        "amount": 50000,
        "amount_paid": 0,
        "amount_due": 50000,
        "currency": "INR",
        "receipt": "apt_1",
        "offer_id": None,
        "status": "created",
        "attempts": 0,
        "notes": {"appointment": "apt_1"},
    }
    assert {name: order[name] for name in expected} == expected
    assert sandbox.client.order.fetch(order["id"]) == order


def test_notes_that_are_empty_come_back_as_a_list(sandbox: Sandbox) -> None:
    assert sandbox.order(notes={})["notes"] == []
    assert sandbox.order()["notes"] == []


def test_a_receipt_serves_once_and_finds_its_order(sandbox: Sandbox) -> None:
    order = sandbox.order(receipt="apt_2")
    sandbox.order(receipt="apt_3")
    with pytest.raises(BadRequestError, match=r"^Order receipt should be unique\.$"):
        sandbox.client.order.create(data={"amount": 50000, "currency": "INR", "receipt": "apt_2"})
    found = sandbox.client.order.all({"receipt": "apt_2"})
    assert found == {"entity": "collection", "count": 1, "items": [order]}
    assert sandbox.client.order.all({"receipt": "nobody"}) == {"entity": "collection", "count": 0, "items": []}


@pytest.mark.parametrize(
    ("change", "description", "field"),
    [
        ({"amount": None}, "The amount field is required.", "amount"),
        ({"amount": "50000"}, "The amount must be an integer.", "amount"),
        ({"amount": True}, "The amount must be an integer.", "amount"),
        ({"amount": 500.5}, "The amount must be an integer.", "amount"),
        ({"amount": 99}, "Order amount less than minimum amount allowed", "amount"),
        ({"currency": None}, "The currency field is required.", "currency"),
        ({"currency": "USD"}, "Currency is not supported", "currency"),
        ({"receipt": "x" * 41}, "The receipt may not be greater than 40 characters.", "receipt"),
        ({"receipt": 7}, "The receipt must be a string.", "receipt"),
        ({"notes": "x"}, "The notes must be an array of key and value pairs.", "notes"),
        ({"notes": {"a": []}}, "The notes values must be strings or numbers.", "notes"),
        ({"notes": {"a": "x" * 257}}, "The notes may not be greater than 256 characters.", "notes"),
        (
            {"notes": {str(number): "x" for number in range(16)}},
            "Number of fields in notes should be less than or equal to 15.",
            "notes",
        ),
        ({"partial_payment": True}, "Partial payment is not enabled on this account.", "partial_payment"),
        ({"payment": "manual"}, "The payment must be an array of key and value pairs.", "payment"),
        ({"payment": {"capture": "later"}}, "The capture must be automatic or manual.", "payment"),
        (
            {"payment": {"capture": "manual", "capture_options": {"manual_expiry_period": 7201}}},
            "The manual expiry period must be between 12 and 7200 minutes.",
            "manual_expiry_period",
        ),
        (
            {"payment": {"capture": "automatic", "capture_options": {"automatic_expiry_period": 11}}},
            "The automatic expiry period must be between 12 and 7200 minutes.",
            "automatic_expiry_period",
        ),
    ],
)
def test_an_input_error_names_its_field(sandbox: Sandbox, change: Json, description: str, field: str) -> None:
    answer = sandbox.http.post("/v1/orders", json={"amount": 50000, "currency": "INR", **change})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": "BAD_REQUEST_ERROR",
            "description": description,
            "source": "business",
            "step": "payment_initiation",
            "reason": "input_validation_failed",
            "metadata": {},
            "field": field,
        }
    }
    assert sandbox.http.get("/_control/ledger").json()["orders"] == []


def test_a_field_the_gateway_does_not_know_is_refused(sandbox: Sandbox) -> None:
    answer = sandbox.http.post("/v1/orders", json={"amount": 50000, "currency": "INR", "recipt": "x", "foo": 1})
    assert refusal(answer) == "recipt, foo is/are not required and should not be sent"


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(sandbox: Sandbox, body: bytes) -> None:
    assert refusal(sandbox.http.post("/v1/orders", content=body)).startswith("The request body")


def test_an_unknown_order_does_not_exist(sandbox: Sandbox) -> None:
    for path in ("/v1/orders/order_00000000000000", "/v1/orders/order_00000000000000/payments"):
        assert refusal(sandbox.http.get(path)) == "The id provided does not exist"


def test_an_unknown_address_is_said_so_in_the_gateways_shape(sandbox: Sandbox) -> None:
    for answer in (
        sandbox.http.get("/v1/nothing"),
        sandbox.http.delete("/v1/orders"),
        sandbox.http.put("/v1/orders/x"),
    ):
        assert refusal(answer) == "The requested URL was not found on the server."


@pytest.mark.parametrize("auth", [None, (KEY_ID, "wrong"), ("wrong", "wrong"), (KEY_ID, "")])
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/payments/pay_x", "/v1/nothing"])
def test_wrong_keys_are_refused_everywhere(sandbox: Sandbox, auth: tuple[str, str] | None, path: str) -> None:
    answer = httpx.get(f"{sandbox.process.url}{path}", auth=auth)
    assert refusal(answer, 401) == "Authentication failed"
    assert sandbox.requests() == {}


def test_lists_are_newest_first_and_cut_into_pages(sandbox: Sandbox) -> None:
    made = [sandbox.order(receipt=f"r{number}")["id"] for number in range(12)]
    listed = sandbox.client.order.all()
    assert [order["id"] for order in listed["items"]] == made[:1:-1]
    assert listed["count"] == 10
    rest = sandbox.client.order.all({"count": 5, "skip": 10})
    assert [order["id"] for order in rest["items"]] == [made[1], made[0]]
    created_at = listed["items"][0]["created_at"]
    assert sandbox.client.order.all({"from": created_at + 60})["count"] == 0
    assert sandbox.client.order.all({"to": created_at - 60})["count"] == 0
    assert sandbox.client.order.all({"from": created_at - 60, "to": created_at + 60, "count": 100})["count"] == 12


@pytest.mark.parametrize(
    ("query", "description"),
    [
        ("count=101", "The count may not be greater than 100."),
        ("count=0", "The count must be at least 1."),
        ("skip=x", "The skip must be an integer."),
        ("from=-1", "The from must be an integer."),
        ("to=" + "9" * 5000, "The to must be an integer."),
    ],
)
def test_a_bad_list_query_is_refused(sandbox: Sandbox, query: str, description: str) -> None:
    assert refusal(sandbox.http.get(f"/v1/orders?{query}")) == description


def test_orders_tell_who_was_authorized_and_expand_their_payments(sandbox: Sandbox) -> None:
    open_order, tried, paid = sandbox.order(), sandbox.order(), sandbox.order()
    sandbox.pay(tried, "failed")
    payment_id = sandbox.pay(paid, "authorized")
    with_money = sandbox.client.order.all({"authorized": 1, "expand[]": "payments"})
    assert [order["id"] for order in with_money["items"]] == [paid["id"]]
    assert [payment["id"] for payment in with_money["items"][0]["payments"]["items"]] == [payment_id]
    without = sandbox.client.order.all({"authorized": 0})
    assert [order["id"] for order in without["items"]] == [tried["id"], open_order["id"]]
    assert "payments" not in without["items"][0]
