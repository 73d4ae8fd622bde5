"""How people prove who they are: codes by text message, passwords, authenticators; how often they may try."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import pyotp
from pydantic import Field

from models.base import Id, Model, UtcDatetime

OTP_DIGITS: Final = 6
OTP_TRIES: Final = 5
OTP_LIFETIME: Final = timedelta(minutes=10)
OTP_KEPT: Final = timedelta(days=1)
"""How long a challenge is kept after its end, so that a late code is told apart from a made-up one."""

MIN_PASSWORD: Final = 8
MAX_PASSWORD: Final = 256
"""Long enough for any phrase; a limit, since hashing costs by length too."""

RESET_LIFETIME: Final = timedelta(hours=1)
INVITE_LIFETIME: Final = timedelta(days=7)
RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 10


class Backoff(Model):
    """How long somebody waits after their n-th failure in a row; the last step is for all further ones."""

    seconds: tuple[int, ...] = Field(min_length=1)
    forget_after: timedelta
    """Failures this long ago count no more."""

    def after(self, failures: int) -> int:
        """Seconds to wait after so many failures."""
        return self.seconds[min(failures, len(self.seconds)) - 1] if failures else 0


PASSWORD_BACKOFF: Final = Backoff(seconds=(0, 0, 0, 0, 30, 60, 120, 240, 480, 900), forget_after=timedelta(hours=24))
"""Five wrong passwords are anybody's; whoever goes on gets about a hundred guesses a day."""

OTP_SEND_BACKOFF: Final = Backoff(seconds=(30, 30, 60, 120, 300, 900, 1800, 3600), forget_after=timedelta(hours=24))
"""Codes to one number that nobody has used; a used one makes those before it forgotten."""


def password_problem(password: str, *, leaked: bool) -> str | None:
    """Why a new password is not taken; None where it is. No rule asks for kinds of letters (NIST SP 800-63B)."""
    if len(password) < MIN_PASSWORD:
        return f"must have at least {MIN_PASSWORD} characters"
    if leaked:
        return "is one of the passwords that were lost most often"
    return None


class ChallengeState(StrEnum):
    """What became of a one-time code."""

    OPEN = "open"
    SPENT = "spent"


class Challenge(Model):
    """A one-time code that was sent to a phone; of the code only a keyed hash."""

    id: Id
    tenant_id: Id
    subject_id: Id
    """The account that is made where the number has none yet."""
    phone_index: str
    code_hash: str
    state: ChallengeState = ChallengeState.OPEN
    tries: int = 0
    created_at: UtcDatetime
    expires_at: UtcDatetime
    phone: str | None = None


class Verdict(StrEnum):
    """What a try at a code leads to."""

    RIGHT = "right"
    WRONG = "wrong"
    EXHAUSTED = "exhausted"


def verdict(counted: Challenge | None, found: Challenge | None, code_hash: str, now: datetime) -> Verdict:
    """Judge a try: `counted` is the challenge if this try could still be counted, `found` whatever there is."""
    if counted is not None:
        return Verdict.RIGHT if hmac.compare_digest(counted.code_hash, code_hash) else Verdict.WRONG
    exhausted = (
        found is not None and found.state is ChallengeState.OPEN and found.tries >= OTP_TRIES and now < found.expires_at
    )
    return Verdict.EXHAUSTED if exhausted else Verdict.WRONG


def new_code() -> str:
    """A one-time code: six random digits."""
    return "".join(secrets.choice("0123456789") for _ in range(OTP_DIGITS))


def code_hash(key: bytes, challenge_id: str, code: str) -> str:
    """What is kept of a code. A million codes are tried in a second, so the hash is keyed."""
    return hmac.digest(key, f"otp\n{challenge_id}\n{code}".encode(), hashlib.sha256).hex()


class TotpState(StrEnum):
    """Whether somebody's authenticator counts."""

    PENDING = "pending"
    ON = "on"


class Totp(Model):
    """An authenticator and the codes for when it is lost."""

    state: TotpState
    secret: str
    last_step: int = 0
    """The last time step whose code was used: no code is good twice."""
    recovery_hashes: frozenset[str] = frozenset()


class Credentials(Model):
    """How an account of a clinic or of the platform signs in."""

    password_hash: str | None = None
    password_version: int = 0
    """Rises with each change; a link that was made for an earlier one is spent."""
    totp: Totp | None = None

    @property
    def needs_totp(self) -> bool:
        """Whether the password alone is not enough."""
        return self.totp is not None and self.totp.state is TotpState.ON


TOTP_SECONDS: Final = 30
"""RFC 6238's time step; one before and one after count too, since clocks differ."""


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is, the current one or a neighbour; None where it is none of them."""
    totp = pyotp.TOTP(secret)
    current = int(now.timestamp()) // TOTP_SECONDS
    for step in (current, current - 1, current + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.strip().encode()):
            return step
    return None


def new_recovery_codes() -> tuple[str, ...]:
    """Fresh recovery codes of 80 random bits each, in groups of four letters."""
    codes = (base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES))
    return tuple("-".join(code[place : place + 4] for place in range(0, len(code), 4)) for code in codes)


def code_counter(phone_index: str) -> str:
    """The name under which codes sent to a number are counted, by its blind index."""
    return f"otp:{phone_index}"


def password_counter(email_index: str) -> str:
    """The name under which tries at an address are counted, by its blind index."""
    return f"password:{email_index}"


def recovery_hash(key: bytes, user_id: str, code: str) -> str:
    """What is kept of a recovery code, however it is typed."""
    plain = code.strip().lower().replace("-", "").replace(" ", "")
    return hmac.digest(key, f"recovery\n{user_id}\n{plain}".encode(), hashlib.sha256).hex()
