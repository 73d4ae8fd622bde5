"""Signing in with e-mail and password, and a second factor where somebody has one."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from fastapi import Request

from adapters.passwords import Passwords
from adapters.redis.limits import Limit, RateLimiter
from adapters.tokens import PurposeTokens
from api.audit import AuditLog, origin_of
from api.sessions import Issued, Sessions
from models.addresses import AddressKind, blind_index, normal_email
from models.compliance import AuditAction
from models.credentials import PASSWORD_BACKOFF, Credentials, matching_step, password_counter, recovery_hash
from models.errors import Code, VisitNowError
from models.identity import Account, Principal, Subject, System
from models.identity_ports import Entry, Tries, Users
from models.sessions import EndReason, session_of

PER_ADDRESS: Final = Limit("sign_in_address", hits=600, seconds=600)
"""Whole villages share an address behind a carrier's translation."""
PER_SITE: Final = Limit("sign_in_site", hits=6000, seconds=600)
SIGNING_IN: Final = System("who signs in with this address")
_RIGHT_PASSWORD: Final = "the password was right"  # noqa: S105  words of the audit, which tell a stolen password


class Doors:
    """How many may knock: per address that a request comes from, and per site."""

    def __init__(self, limiter: RateLimiter) -> None:
        """Counts in Redis, or in this process where it is away."""
        self._limiter = limiter

    async def knock(self, request: Request, kind: str) -> None:
        """Raise `rate_limited`."""
        site = request.headers.get("host", "").partition(":")[0].lower()[:255]
        for limit, key in ((PER_ADDRESS, origin_of(request) or ""), (PER_SITE, site)):
            wait = await self._limiter.hit(limit, f"{kind}:{key}")
            if wait is not None:
                raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)


class Tools(NamedTuple):
    """What everything about accounts works with."""

    passwords: Passwords
    tokens: PurposeTokens
    sessions: Sessions
    audit: AuditLog
    doors: Doors


def wait_until(until: datetime) -> VisitNowError:
    """The refusal of whoever has to wait."""
    seconds = math.ceil((until - datetime.now(UTC)).total_seconds())
    return VisitNowError(Code.RATE_LIMITED, retry_after=max(seconds, 1))


class Typed(NamedTuple):
    """What somebody typed to sign in."""

    email: str
    password: str
    totp: str | None


class Recognised(NamedTuple):
    """Whoever has typed the right things, and what those were compared with."""

    account: Account
    email: str
    entry: Entry


class SignIn:
    """Judges passwords and authenticators; the unknown take as long and are counted like the known."""

    def __init__(
        self,
        users: Users,
        tries: Tries,
        passwords: Passwords,
        sessions: Sessions,
        audit: AuditLog,
        doors: Doors,
        *,
        key: bytes,
    ) -> None:
        """`key` names what is counted and hides what is kept of codes."""
        self._users = users
        self._tries = tries
        self._passwords = passwords
        self._sessions = sessions
        self._audit = audit
        self._doors = doors
        self._key = key

    async def log_in(self, request: Request, typed: Typed) -> Issued:
        """Begin a session. Raises `credentials_invalid`, `totp_required`, `rate_limited`."""
        return await self.begin(request, await self.recognise(request, typed))

    async def begin(self, request: Request, recognised: Recognised, *, lasting: timedelta | None = None) -> Issued:
        """Begin a session, for no longer than `lasting`. Raises `credentials_invalid`.

        Whoever replaced the password since it was compared has ended what there was; this session came too late for it.
        """
        account = recognised.account
        issued = await self._sessions.begin(request, account, lasting=lasting)
        entry = await self._users.entry(SIGNING_IN, recognised.email)
        if entry != recognised.entry:
            session_id = session_of(issued.refresh_token)
            with suppress(VisitNowError):  # not found: it came in time to be ended with the others
                await self._sessions.end(request, account.principal(session_id), session_id, EndReason.PASSWORD_CHANGED)
            raise VisitNowError(Code.CREDENTIALS_INVALID)
        return issued

    async def recognise(self, request: Request, typed: Typed) -> Recognised:
        """Whose e-mail, password and code these are. Raises `credentials_invalid`, `totp_required`, `rate_limited`."""
        await self._doors.knock(request, "password")
        name = self.counter(typed.email)
        # Judging and counting happen within one turn: guesses that come at once cannot run ahead of the count.
        async with self._passwords.turn():
            await self._refuse_waiting(name)
            entry = await self._users.entry(SIGNING_IN, typed.email)
            right = await self._passwords.verify(entry.password_hash if entry else None, typed.password)
            if entry is None or not right:
                await self._refuse(request, name, entry.user_id if entry else None)
                raise VisitNowError(Code.CREDENTIALS_INVALID)
            await self._second_factor(request, name, entry.user_id, typed.totp)
            await self._tries.forget(SIGNING_IN, name)
        account = await self._users.find(Subject(entry.user_id), entry.user_id)
        if account is None:
            raise VisitNowError(Code.CREDENTIALS_INVALID)
        return Recognised(account, typed.email, entry)

    async def prove(self, request: Request, caller: Principal, password: str) -> None:
        """Judge a password of somebody who is signed in. Raises `credentials_invalid`, `rate_limited`."""
        await self._doors.knock(request, "password")
        name = f"step-up:{caller.subject}"
        async with self._passwords.turn():
            await self._refuse_waiting(name)
            credentials = await self._users.credentials(Subject(caller.subject), caller.subject)
            if not await self._passwords.verify(credentials.password_hash if credentials else None, password):
                await self._refuse(request, name, caller.subject)
                raise VisitNowError(Code.CREDENTIALS_INVALID)
            await self._tries.forget(SIGNING_IN, name)

    async def prove_code(self, request: Request, caller: Principal, code: str, action: AuditAction) -> None:
        """Use up a code of the caller's own authenticator, which is noted as `action` before.

        Raises `credentials_invalid`, `rate_limited`.
        """
        await self._doors.knock(request, "totp")
        name = f"totp:{caller.subject}"
        async with self._passwords.turn():
            await self._refuse_waiting(name)
            credentials = await self._users.credentials(Subject(caller.subject), caller.subject)
            right = credentials is not None and self._is_right(caller.subject, credentials, code)
            if right:
                # First, since the code is good once and itself confirms an authenticator.
                await self._audit.note(request, caller, action, caller.subject)
            if credentials is None or not right or not await self.spend_code(caller.subject, credentials, code):
                await self._refuse(request, name, caller.subject)
                raise VisitNowError(Code.CREDENTIALS_INVALID)
            await self._tries.forget(SIGNING_IN, name)

    async def forgive(self, email: str) -> None:
        """Forget the wrong passwords of an address whose owner has proved themselves otherwise."""
        await self._tries.forget(SIGNING_IN, self.counter(normal_email(email)))

    def counter(self, email: str) -> str:
        """The name under which tries at an address are counted."""
        return password_counter(blind_index(self._key, AddressKind.EMAIL, email))

    async def _refuse_waiting(self, name: str) -> None:
        until = await self._tries.closed_until(SIGNING_IN, name, datetime.now(UTC))
        if until is not None:
            raise wait_until(until)

    async def _refuse(self, request: Request, name: str, user_id: str | None, more: str | None = None) -> None:
        await self._tries.take(SIGNING_IN, name, PASSWORD_BACKOFF, datetime.now(UTC))
        # Addresses that are nobody's are noted too, by the name of their counter: what takes longer tells who is known.
        await self._audit.unknown(request, AuditAction.SIGN_IN_REFUSED, user_id or name, more=more)

    async def _second_factor(self, request: Request, name: str, user_id: str, code: str | None) -> None:
        credentials = await self._users.credentials(Subject(user_id), user_id)
        if credentials is None or not credentials.needs_totp:
            return
        if code is None:
            await self._audit.unknown(request, AuditAction.SIGN_IN_REFUSED, user_id, more=_RIGHT_PASSWORD)
            raise VisitNowError(Code.TOTP_REQUIRED)
        if not await self.spend_code(user_id, credentials, code):
            await self._refuse(request, name, user_id, _RIGHT_PASSWORD)
            raise VisitNowError(Code.CREDENTIALS_INVALID)

    def _is_right(self, user_id: str, credentials: Credentials, code: str) -> bool:
        """Whether a code could be spent now."""
        totp = credentials.totp
        if totp is None:
            return False
        step = matching_step(totp.secret, code, datetime.now(UTC))
        if step is not None:
            return step > totp.last_step
        return credentials.needs_totp and recovery_hash(self._key, user_id, code) in totp.recovery_hashes

    async def spend_code(self, user_id: str, credentials: Credentials, code: str) -> bool:
        """Use up a code of an authenticator, or a recovery code; False where it is neither, or spent."""
        if credentials.totp is None:
            return False
        scope = Subject(user_id)
        step = matching_step(credentials.totp.secret, code, datetime.now(UTC))
        if step is not None:
            return await self._users.use_totp(scope, user_id, step)
        return await self._users.use_recovery(scope, user_id, recovery_hash(self._key, user_id, code))


def known_to(caller: Principal, account: Account | None) -> Account:
    """The caller's own account. Raises `token_invalid` where it is gone."""
    if account is None or account.removed_at is not None or account.id != caller.subject:
        raise VisitNowError(Code.TOKEN_INVALID)
    return account
