"""Reading webhooks: ids pass, everything else stays outside."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.webhooks import webhook_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENT = 1_772_000_000

PAYMENT = {
    "id": "pay_29QQoUBi66xm2f",
    "order_id": "order_9A33XWu170gUtm",
    "email": "canary@example.com",
    "contact": "+919900001111",
    "vpa": "canary@upi",
    "notes": {"appointment_id": "apt_canary"},
    "amount": 50000,
}


def _body(event: str = "payment.captured", **payload: object) -> bytes:
    envelope = {"entity": "event", "account_id": "acc_1", "event": event, "created_at": SENT}
    wrapped = {name: {"entity": entity} for name, entity in payload.items()}
    return json.dumps({**envelope, "contains": list(payload), "payload": wrapped}).encode()


def test_a_payment_event_keeps_its_ids_only() -> None:
    event = webhook_event(_body(payment=PAYMENT), "evt_1", NOW)
    assert (event.id, event.type) == ("evt_1", "payment.captured")
    assert (event.payment_id, event.order_id) == ("pay_29QQoUBi66xm2f", "order_9A33XWu170gUtm")
    assert event.created_at == datetime.fromtimestamp(SENT, UTC)
    assert "canary" not in event.model_dump_json()
    assert "9900001111" not in event.model_dump_json()


def test_a_refund_event_carries_the_refund_its_receipt_and_the_payment() -> None:
    refund = {"id": "rfnd_1", "payment_id": "pay_29QQoUBi66xm2f", "receipt": "rfd_abc", "notes": []}
    event = webhook_event(_body("refund.processed", refund=refund, payment=PAYMENT), "evt_1", NOW)
    assert (event.refund_id, event.receipt) == ("rfnd_1", "rfd_abc")
    assert event.payment_id == "pay_29QQoUBi66xm2f"


def test_an_order_event_names_the_order_even_without_a_payment() -> None:
    order = {"id": "order_9A33XWu170gUtm", "receipt": "apt_abc"}
    event = webhook_event(_body("order.paid", order=order), "evt_1", NOW)
    assert (event.order_id, event.receipt, event.payment_id) == ("order_9A33XWu170gUtm", "apt_abc", None)


def test_an_unknown_event_is_an_event() -> None:
    event = webhook_event(_body("settlement.processed"), "evt_1", NOW)
    assert event.type == "settlement.processed"
    assert event.order_id is event.payment_id is event.refund_id is None


@pytest.mark.parametrize("event_id", [None, "", "a b", "x" * 65, "é", '{"$gt": ""}'])
def test_without_a_usable_event_id_the_body_names_itself(event_id: str | None) -> None:
    first = webhook_event(_body(payment=PAYMENT), event_id, NOW)
    again = webhook_event(_body(payment=PAYMENT), event_id, NOW)
    other = webhook_event(_body("payment.failed", payment=PAYMENT), event_id, NOW)
    assert first.id == again.id != other.id
    assert first.id.startswith("body-")


@pytest.mark.parametrize("created_at", [None, -1, 0, 10**15, "soon", 1.5, {"$date": 1}])
def test_an_implausible_time_is_replaced_by_the_arrival(created_at: object) -> None:
    document = json.loads(_body()) | {"created_at": created_at}
    assert webhook_event(json.dumps(document).encode(), "evt_1", NOW).created_at == NOW


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"not json",
        b'"payment.captured"',
        b"\xff\xfe",
        b'{"event": null}',
        b'{"event": {"$gt": ""}}',
        b'{"event": "Payment Captured"}',
        b"[" * 60_000,
        b'{"event": "a.b"' + b" " * 10,
    ],
)
def test_what_is_not_the_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  what is wrong with it is nobody's business
        webhook_event(body, "evt_1", NOW)


@pytest.mark.parametrize("bad", [None, 7, True, "", "a b", "x" * 41, ["pay_1"], {"$ne": None}, "pay_1\n"])
def test_ids_of_another_form_are_left_out(bad: object) -> None:
    event = webhook_event(_body(payment={**PAYMENT, "id": bad, "order_id": bad}), "evt_1", NOW)
    assert event.payment_id is None
    assert event.order_id is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=12,
)


@given(payload=JSON, created_at=JSON)
def test_any_payload_of_an_event_is_read_without_an_error(payload: object, created_at: object) -> None:
    body = json.dumps({"event": "payment.captured", "payload": payload, "created_at": created_at}).encode()
    assert webhook_event(body, "evt_1", NOW).type == "payment.captured"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    try:
        event = webhook_event(body, None, NOW)
    except ValueError:
        return
    assert event.id.startswith("body-")
