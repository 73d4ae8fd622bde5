"""Signatures of those who call us, compared in constant time.

Razorpay: HMAC-SHA256 as lower-case hex. Twilio: HMAC-SHA1 as base64, over the address that was called and every
parameter of the form, sorted by name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

_HEX_LENGTH = 64


def sign(secret: bytes, message: bytes) -> str:
    """The signature of a message."""
    return hmac.digest(secret, message, hashlib.sha256).hex()


def payment_is_signed(secret: bytes, order_id: str, payment_id: str, signature: str) -> bool:
    """Whether Checkout's answer is genuine; `order_id` must be the one that we stored, never the client's word."""
    return _equal(sign(secret, f"{order_id}|{payment_id}".encode()), signature)


def webhook_is_signed(secrets: Sequence[bytes], body: bytes, signature: str) -> bool:
    """Whether a webhook's raw bytes are signed with any of the secrets; a retry may still bear a retired one's."""
    # Every secret is tried, so that the time taken tells nothing about which one fits.
    matches = [_equal(sign(secret, body), signature) for secret in secrets]
    return any(matches)


def callback_is_signed(token: bytes, url: str, params: Mapping[str, str], signature: str) -> bool:
    """Whether a messaging callback is genuine; `url` is the public address, with its query, that was called."""
    message = url + "".join(name + params[name] for name in sorted(params))
    expected = base64.b64encode(hmac.digest(token, message.encode(), hashlib.sha1))
    return hmac.compare_digest(expected, signature.encode("utf-8", "replace"))


def _equal(expected: str, signature: str) -> bool:
    # compare_digest refuses text that is not ASCII, and longer text is no signature anyway.
    if len(signature) != _HEX_LENGTH or not signature.isascii():
        return False
    return hmac.compare_digest(expected, signature)
