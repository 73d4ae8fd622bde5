"""The payment gateway's signatures."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from models.signatures import callback_is_signed, payment_is_signed, sign, webhook_is_signed

SECRET = b"made-up"


def test_the_signature_is_hex_of_hmac_sha256() -> None:
    assert sign(SECRET, b"body") == hmac.new(SECRET, b"body", hashlib.sha256).hexdigest()


def test_checkout_signs_order_and_payment() -> None:
    signature = sign(SECRET, b"order_1|pay_1")
    assert payment_is_signed(SECRET, "order_1", "pay_1", signature)
    assert not payment_is_signed(SECRET, "order_2", "pay_1", signature)
    assert not payment_is_signed(SECRET, "order_1", "pay_2", signature)
    assert not payment_is_signed(b"another", "order_1", "pay_1", signature)


def test_any_configured_secret_is_accepted_and_a_retired_one_is_not() -> None:
    body = b'{"event": "payment.captured"}'
    for secret in (b"newest", b"older"):
        assert webhook_is_signed([b"newest", b"older"], body, sign(secret, body))
    assert not webhook_is_signed([b"newest"], body, sign(b"older", body))
    assert not webhook_is_signed([], body, sign(b"", body))


def test_one_changed_byte_is_enough() -> None:
    assert not webhook_is_signed([SECRET], b'{"amount": 1}', sign(SECRET, b'{"amount": 2}'))
    assert not webhook_is_signed([SECRET], b'{"amount":  1}', sign(SECRET, b'{"amount": 1}'))


@pytest.mark.parametrize("signature", ["", "0" * 63, "0" * 65, "é" * 64, "\ud800" * 64, "\u0660" * 64])
def test_what_is_no_signature_is_refused_without_an_error(signature: str) -> None:
    assert not webhook_is_signed([SECRET], b"body", signature)
    assert not payment_is_signed(SECRET, "order_1", "pay_1", signature)


@given(st.text(max_size=80))
def test_nobody_guesses_one(signature: str) -> None:
    assert not webhook_is_signed([SECRET], b"body", signature) or signature == sign(SECRET, b"body")


def test_a_callback_is_signed_over_its_address_and_every_field_in_order() -> None:
    # Held against the provider's own client.
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    form = {"Digits": "1234", "To": "+18005551212", "From": "+14158675309", "CallSid": "CA1234567890ABCDE"}
    signature = RequestValidator("12345").compute_signature(url, form)
    assert callback_is_signed(b"12345", url, form, signature)
    assert not callback_is_signed(b"54321", url, form, signature)
    assert not callback_is_signed(b"12345", url + "x", form, signature)
    assert not callback_is_signed(b"12345", url, {**form, "Digits": "1235"}, signature)
    assert not callback_is_signed(b"12345", url, {**form, "New": ""}, signature)
    assert not callback_is_signed(b"12345", url, form, "ü")
    assert not callback_is_signed(b"12345", url, form, "")
