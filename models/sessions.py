"""Sessions: one per sign-in, kept alive by refresh tokens of which each is good once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from models.base import Id, Model, UtcDatetime
from models.ids import random_id

DEVELOPMENT_SESSION: Final = "development"
"""What tokens made by hand name as their session; it is none, and only a development profile accepts it."""

ACCESS_LIFETIME: Final = timedelta(minutes=10)
STEP_UP_LIFETIME: Final = timedelta(minutes=5)
IDLE_LIFETIME: Final = timedelta(days=30)
"""A session that nobody refreshes for so long is over."""
LONGEST_LIFETIME: Final = timedelta(days=180)
"""After so long somebody has to sign in again, however often they come."""
REFRESH_TOGETHER: Final = timedelta(milliseconds=250)
"""For so long nobody hears that a token was replaced: whoever presents it too until then is another tab."""
MAX_AGENT: Final = 120

_SECRET_BYTES: Final = 32


class EndReason(StrEnum):
    """Why a session is over before its time."""

    LOGGED_OUT = "logged_out"
    REVOKED = "revoked"
    REUSED = "reused"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  a reason, not a secret
    REMOVED = "removed"
    LEAVING = "leaving"


class Session(Model):
    """One sign-in, as the database keeps it; of its tokens only hashes."""

    id: Id
    tenant_id: Id
    subject_id: Id
    token_hash: str
    previous_hash: str | None = None
    rotated_at: UtcDatetime
    signed_in_at: UtcDatetime
    expires_at: UtcDatetime
    agent: str | None = None
    """What the browser called itself, cut short."""
    ended_at: UtcDatetime | None = None
    ended_because: EndReason | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether its access tokens still count."""
        return self.ended_at is None and now < self.expires_at


class Rotation(StrEnum):
    """What a presented refresh token leads to."""

    ROTATE = "rotate"
    REPEAT = "repeat"
    """The predecessor, before anybody was told of its successor: two tabs at once get the same one."""
    REUSED = "reused"
    """A token that was replaced before: somebody else has it too, so the whole family ends."""
    OVER = "over"
    """The session has ended or expired."""


def rotation(session: Session, presented_hash: str, asked_at: datetime) -> Rotation:
    """What is due to whoever presents the token with this hash, in a request that arrived at `asked_at`."""
    if session.ended_because is EndReason.REUSED:
        return Rotation.REUSED
    if not session.is_live(asked_at):
        return Rotation.OVER
    if hmac.compare_digest(presented_hash, session.token_hash):
        return Rotation.ROTATE
    repeated = session.previous_hash is not None and hmac.compare_digest(presented_hash, session.previous_hash)
    together = asked_at < session.rotated_at + REFRESH_TOGETHER
    return Rotation.REPEAT if repeated and together else Rotation.REUSED


def expiry(signed_in_at: datetime, now: datetime) -> datetime:
    """Until when a session lasts that was used now."""
    return min(now + IDLE_LIFETIME, signed_in_at + LONGEST_LIFETIME)


def first_token(session_id: str) -> str:
    """The first refresh token of a session: its id, and a secret of 256 bits."""
    return f"{session_id}.{secrets.token_urlsafe(_SECRET_BYTES)}"


def successor(key: bytes, token: str) -> str:
    """The token that replaces this one: the same one for whoever asks, so that two tabs end with one family."""
    session_id = session_of(token)
    secret = hmac.digest(key, f"refresh\n{token}".encode(), hashlib.sha256)
    return f"{session_id}.{secret.hex()}"


def session_of(token: str) -> str:
    """The session that a refresh token says it belongs to."""
    return token.partition(".")[0]


def token_hash(token: str) -> str:
    """What is kept of a token: it has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_session_id() -> str:
    """A fresh session's id."""
    return random_id("ses")
