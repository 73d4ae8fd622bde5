"""What an applicant holds before there is an account: a link that proves a mailbox, and a token for one application.

Both are the application's id and an expiry under an HMAC-SHA256 of ours, each for its own purpose, so that neither
passes for the other and nothing about them needs to be stored.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from models.errors import Code, VisitNowError

LINK_LIFETIME: Final = timedelta(days=7)
TOKEN_LIFETIME: Final = timedelta(days=30)
PREFIX: Final = "onb"
_MAX_LENGTH: Final = 120


class Purpose(StrEnum):
    """What a token is good for."""

    LINK = "verify-email"
    APPLICANT = "applicant"


def application_token(secret: bytes, purpose: Purpose, application_id: str, expires_at: datetime) -> str:
    """`onb.<expiry, seconds since 1970>.<64 hex digits>`."""
    expiry = int(expires_at.timestamp())
    return f"{PREFIX}.{expiry}.{_mac(secret, purpose, application_id, expiry)}"


def check_application_token(secret: bytes, purpose: Purpose, application_id: str, token: str, now: datetime) -> None:
    """Raise `token_invalid`, or `token_expired` for one that was good once."""
    prefix, _, rest = token.partition(".")
    expiry, _, mac = rest.partition(".")
    if len(token) > _MAX_LENGTH or not token.isascii() or prefix != PREFIX or not expiry.isdecimal():
        raise VisitNowError(Code.TOKEN_INVALID)
    if not hmac.compare_digest(_mac(secret, purpose, application_id, int(expiry)), mac):
        raise VisitNowError(Code.TOKEN_INVALID)
    if datetime.fromtimestamp(int(expiry), UTC) <= now:
        raise VisitNowError(Code.TOKEN_EXPIRED)


def _mac(secret: bytes, purpose: Purpose, application_id: str, expiry: int) -> str:
    message = f"application-token\n{purpose}\n{application_id}\n{expiry}"
    return hmac.digest(secret, message.encode(), hashlib.sha256).hex()
