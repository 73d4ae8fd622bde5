"""Links in messages: each opens one thing about one appointment for one person, without signing in.

A token is what it opens and an expiry under an HMAC-SHA256 of ours, so nothing about it needs to be stored, and one for
one purpose never passes for another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from pydantic import ValidationError

from models.base import Id, Model, UtcDatetime
from models.errors import Code, VisitNowError

PREFIX: Final = "lnk"
_MAX_LENGTH: Final = 400
_FIELDS: Final = 5
_SEPARATOR: Final = "|"


class LinkPurpose(StrEnum):
    """What a link opens."""

    ATTEND = "attend"
    """To say that one comes, to move the visit or to cancel it."""
    CHOOSE = "choose"
    """To choose another time where the doctor is away."""
    REVIEW = "review"
    """To rate a visit."""
    SUMMARY = "summary"
    """To read what came of a visit."""
    UNSUBSCRIBE = "unsubscribe"
    """To get no more messages of a kind."""


class Link(Model):
    """What a token stands for."""

    purpose: LinkPurpose
    tenant_id: Id
    appointment_id: Id
    subject_id: Id
    expires_at: UtcDatetime


def link_token(secret: bytes, link: Link) -> str:
    """`lnk.<base64url of what it opens>.<43 characters of the HMAC>`."""
    expiry = str(int(link.expires_at.timestamp()))
    parts = (link.purpose, link.tenant_id, link.appointment_id, link.subject_id, expiry)
    body = _base64url(_SEPARATOR.join(parts).encode())
    return f"{PREFIX}.{body}.{_mac(secret, body)}"


def read_link(secret: bytes, purpose: LinkPurpose, token: str, now: datetime) -> Link:
    """What it opens. Raises `token_invalid`, or `token_expired` for one that was good once."""
    prefix, _, rest = token.partition(".")
    body, _, mac = rest.partition(".")
    if len(token) > _MAX_LENGTH or not token.isascii() or prefix != PREFIX:
        raise VisitNowError(Code.TOKEN_INVALID)
    if not hmac.compare_digest(_mac(secret, body), mac):
        raise VisitNowError(Code.TOKEN_INVALID)
    link = _parsed(body)
    if link.purpose is not purpose:
        raise VisitNowError(Code.TOKEN_INVALID)
    if link.expires_at <= now:
        raise VisitNowError(Code.TOKEN_EXPIRED)
    return link


def _parsed(body: str) -> Link:
    parts = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode().split(_SEPARATOR)
    if len(parts) != _FIELDS:
        raise VisitNowError(Code.TOKEN_INVALID)
    purpose, tenant, appointment, subject, expiry = parts
    try:
        return Link(
            purpose=LinkPurpose(purpose),
            tenant_id=tenant,
            appointment_id=appointment,
            subject_id=subject,
            expires_at=datetime.fromtimestamp(int(expiry), UTC),
        )
    except (ValidationError, ValueError) as error:
        raise VisitNowError(Code.TOKEN_INVALID) from error


def _mac(secret: bytes, body: str) -> str:
    return _base64url(hmac.digest(secret, f"message-link\n{body}".encode(), hashlib.sha256))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
