"""Sessions over the wire: begun by a sign-in, prolonged by refresh tokens, ended by their owner or by misuse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from fastapi import Request

from adapters.redis.sessions import SessionCache
from adapters.tokens import TokenMinter
from api.audit import AuditLog
from api.edge import arrived_at
from models.cache import FreshCache
from models.compliance import AuditAction
from models.deletions import GONE, DeletionState
from models.errors import Code, VisitNowError, not_found
from models.identity import Account, Principal, Subject, System
from models.identity_ports import SessionStore, Users
from models.sessions import (
    ACCESS_LIFETIME,
    DEVELOPMENT_SESSION,
    MAX_AGENT,
    REFRESH_TOGETHER,
    EndReason,
    Rotation,
    Session,
    expiry,
    first_token,
    new_session_id,
    rotation,
    session_of,
    successor,
    token_hash,
)

FRESH_SECONDS: Final = 2.0
_KNOWN_SESSIONS: Final = 20_000
_LEAVERS: Final = "leavers"
_LOOKING: Final = System("whether a session still goes on")
_REFRESHING: Final = System("a refresh token names its session")


class Issued(NamedTuple):
    """What a sign-in or a refresh gives."""

    account: Account
    access_token: str
    refresh_token: str


class Sessions:
    """Begins, prolongs, lists and ends sessions, and tells at each request whether one still goes on."""

    def __init__(
        self,
        sessions: SessionStore,
        users: Users,
        cache: SessionCache,
        minter: TokenMinter,
        audit: AuditLog,
        *,
        leaving: Callable[[], Awaitable[Mapping[str, DeletionState]]],
        key: bytes,
        development: bool,
    ) -> None:
        """`key` makes refresh tokens' successors; in a `development` profile tokens made by hand count too.

        `leaving` tells whose accounts are to go, or have gone lately.
        """
        self._sessions = sessions
        self._users = users
        self._cache = cache
        self._minter = minter
        self._audit = audit
        self._key = key
        self._development = development
        self._leaving = leaving
        self._leavers: FreshCache[str, Mapping[str, DeletionState]] = FreshCache(FRESH_SECONDS)
        self._seen: FreshCache[str, bool] = FreshCache(FRESH_SECONDS, _KNOWN_SESSIONS)

    async def check(self, principal: Principal) -> Principal:
        """Whom the token still speaks for: who is to be forgotten may see to that only.

        Raises `token_invalid` where the token's session is over, or the account is gone; an end counts within seconds
        everywhere.
        """
        session_id = principal.session_id
        by_hand = session_id == DEVELOPMENT_SESSION and self._development
        if not by_hand and not await self._seen.get(session_id, lambda: self._is_live(session_id)):
            raise VisitNowError(Code.TOKEN_INVALID)
        return await self._narrowed(principal) if principal.is_patient else principal

    async def _narrowed(self, principal: Principal) -> Principal:
        # A handful of people leave at any time: one look for all of them serves everybody who asks meanwhile.
        state = (await self._leavers.get(_LEAVERS, self._leaving)).get(principal.subject)
        if state is None:
            return principal
        if state in GONE:
            raise VisitNowError(Code.TOKEN_INVALID)
        return principal.model_copy(update={"leaving": True})

    def leavers_changed(self) -> None:
        """Somebody is to be forgotten, or not any more."""
        self._leavers.forget(_LEAVERS)

    async def _is_live(self, session_id: str) -> bool:
        known = await self._cache.is_live(session_id)
        if known is not None:
            return known
        session = await self._sessions.find(_LOOKING, session_id)
        live = session is not None and session.is_live(datetime.now(UTC))
        if live:
            await self._cache.seen_live(session_id)
        return live

    async def begin(self, request: Request, account: Account, *, lasting: timedelta | None = None) -> Issued:
        """Sign somebody in, who has proved who they are; for no longer than `lasting`, where it is given."""
        now = datetime.now(UTC)
        session_id = new_session_id()
        token = first_token(session_id)
        session = Session(
            id=session_id,
            tenant_id=account.tenant_id,
            subject_id=account.id,
            token_hash=token_hash(token),
            rotated_at=now,
            signed_in_at=now,
            expires_at=expiry(now, now) if lasting is None else now + lasting,
            agent=_agent(request),
        )
        await self._audit.note(request, account.principal(session_id), AuditAction.SIGNED_IN, session_id)
        await self._sessions.add(Subject(account.id), session)
        return self._issued(account, session_id, token)

    async def began(self, principal: Principal) -> datetime | None:
        """When they signed in; None for a token made by hand, which is none's. Raises `token_invalid`."""
        if principal.session_id == DEVELOPMENT_SESSION and self._development:
            return None
        session = await self._sessions.find(Subject(principal.subject), principal.session_id)
        if session is None:
            raise VisitNowError(Code.TOKEN_INVALID)
        return session.signed_in_at

    async def refresh(self, request: Request, token: str) -> Issued:
        """Prolong a session. Raises `token_invalid`, and `refresh_reused`, which ends it."""
        asked_at = arrived_at(request)
        session = await self._found(token)
        step = rotation(session, token_hash(token), asked_at)
        following, rotated_at = successor(self._key, token), datetime.now(UTC)
        if step is Rotation.ROTATE:
            until = expiry(session.signed_in_at, rotated_at)
            if not await self._sessions.rotate(_REFRESHING, session, token_hash(following), rotated_at, until):
                # Another tab was faster, or the session has just ended: what there is now decides.
                session = await self._found(token)
                step = rotation(session, token_hash(token), asked_at)
        if step is Rotation.REUSED:
            await self._end_family(request, session)
            raise VisitNowError(Code.REFRESH_REUSED)
        if step is Rotation.OVER:
            raise VisitNowError(Code.TOKEN_INVALID)
        account = await self._users.find(Subject(session.subject_id), session.subject_id)
        if account is None or account.removed_at is not None:
            raise VisitNowError(Code.TOKEN_INVALID)
        # Nobody knows the successor before the time in which the other tab may still ask is over.
        told_at = (session.rotated_at if step is Rotation.REPEAT else rotated_at) + REFRESH_TOGETHER
        await asyncio.sleep((told_at - datetime.now(UTC)).total_seconds())
        return self._issued(account, session.id, following)

    async def _found(self, token: str) -> Session:
        session = await self._sessions.find(_REFRESHING, session_of(token))
        if session is None:
            raise VisitNowError(Code.TOKEN_INVALID)
        return session

    async def _end_family(self, request: Request, session: Session) -> None:
        if session.ended_at is not None:
            return
        await self._audit.unknown(request, AuditAction.SESSION_ENDED, session.id, session.tenant_id)
        if await self._sessions.end(_REFRESHING, session.id, EndReason.REUSED, datetime.now(UTC)):
            await self._forget([session.id])

    async def live(self, principal: Principal) -> Sequence[Session]:
        """Somebody's own sessions that go on."""
        return await self._sessions.live(Subject(principal.subject), principal.subject, datetime.now(UTC))

    async def end(self, request: Request, principal: Principal, session_id: str, reason: EndReason) -> None:
        """End one of one's own. Raises `not_found`."""
        scope = Subject(principal.subject)
        session = await self._sessions.find(scope, session_id)
        if session is None or session.ended_at is not None:
            raise not_found()
        await self._audit.note(request, principal, AuditAction.SESSION_ENDED, session_id)
        if not await self._sessions.end(scope, session_id, reason, datetime.now(UTC)):
            raise not_found()
        await self._forget([session_id])

    async def log_out(self, request: Request, principal: Principal) -> None:
        """End the session that asks; one made by hand is none."""
        if principal.session_id != DEVELOPMENT_SESSION:
            await self.end(request, principal, principal.session_id, EndReason.LOGGED_OUT)

    async def end_all(self, subject_id: str, reason: EndReason, *, spare: str | None = None) -> None:
        """End all of somebody's but one."""
        now = datetime.now(UTC)
        await self._forget(await self._sessions.end_all(Subject(subject_id), subject_id, reason, now, spare=spare))

    async def _forget(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self._seen.forget(session_id)
        await self._cache.ended(session_ids)

    def _issued(self, account: Account, session_id: str, token: str) -> Issued:
        access = self._minter.mint(account.principal(session_id), ACCESS_LIFETIME, datetime.now(UTC))
        return Issued(account, access, token)


def _agent(request: Request) -> str | None:
    """What the browser calls itself, in plain letters."""
    sent = "".join(letter for letter in request.headers.get("user-agent", "") if letter.isprintable())
    return sent[:MAX_AGENT] or None
