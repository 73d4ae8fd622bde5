"""What every answer tells a browser to be careful about; a page may only say more exactly what it needs."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from starlette.datastructures import MutableHeaders

CLOSED_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Of an answer that is no page: nothing is loaded, run, sent or framed."""

SECURITY_HEADERS: Final = (
    ("Content-Security-Policy", CLOSED_POLICY),
    ("Strict-Transport-Security", "max-age=63072000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-site"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ("Cache-Control", "no-store"),
)
"""OWASP's list for an API that browsers call; other sites' pages read answers by CORS, never by embedding them."""


def secure(headers: MutableHeaders) -> None:
    """Add what the answer does not say itself."""
    for name, value in SECURITY_HEADERS:
        headers.setdefault(name, value)


def hash_source(content: str) -> str:
    """How a policy names one inline script or style: nothing else of its kind counts."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def page_policy(style: str) -> str:
    """The policy of a page with this style sheet: nothing is loaded or run, and forms lead here and nowhere else."""
    return (
        f"default-src 'none'; style-src {hash_source(style)}; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
