"""JSON as it travels: compact, through one encoder that is made once."""

from __future__ import annotations

import json

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def encode(value: object) -> bytes:
    """Write a value as compact JSON."""
    return _ENCODER.encode(value).encode()
