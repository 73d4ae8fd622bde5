"""Telling a retried request from another one under the same Idempotency-Key."""

from __future__ import annotations

import hashlib
import hmac
import json

from models.base import Model


def body_hash(secret: bytes, body: Model) -> str:
    """A fingerprint of what was asked: the same for the same meaning, however the JSON was written.

    Keyed, because bodies hold a patient's few and guessable words, and a plain hash of those would outlive their
    erasure.
    """
    canonical = json.dumps(body.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hmac.digest(secret, canonical.encode(), hashlib.sha256).hex()
