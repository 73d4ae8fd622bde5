"""The payment gateway's signatures (Razorpay: HMAC-SHA256 as lower-case hex), compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

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


def _equal(expected: str, signature: str) -> bool:
    # compare_digest refuses text that is not ASCII, and longer text is no signature anyway.
    if len(signature) != _HEX_LENGTH or not signature.isascii():
        return False
    return hmac.compare_digest(expected, signature)
