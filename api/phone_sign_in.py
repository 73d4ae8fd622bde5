"""Signing in with a phone: a code by text message, good once and for a few tries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from fastapi import Request

from api.audit import AuditLog
from api.background import Background
from api.sessions import Issued, Sessions
from api.sign_in import SIGNING_IN, Doors, wait_until
from models.addresses import AddressKind, blind_index
from models.compliance import AuditAction
from models.credentials import (
    OTP_LIFETIME,
    OTP_SEND_BACKOFF,
    Challenge,
    Verdict,
    code_counter,
    code_hash,
    new_code,
    verdict,
)
from models.errors import Code, VisitNowError
from models.identity import PLATFORM, Account, Principal, Role, Subject
from models.identity_ports import Challenges, Tries, Users
from models.ids import random_id
from models.messaging import Channel, Message, Template
from models.notice_ports import Messenger


class Sent(NamedTuple):
    """What is told of a code that is on its way."""

    challenge: Challenge
    resend_at: datetime


class PhoneStores(NamedTuple):
    """What is asked and written."""

    users: Users
    challenges: Challenges
    tries: Tries


class PhoneSignIn:
    """Sends codes and judges them; known and unknown numbers are answered and counted alike."""

    def __init__(
        self,
        stores: PhoneStores,
        sessions: Sessions,
        messenger: Messenger,
        background: Background,
        doors: Doors,
        audit: AuditLog,
        *,
        key: bytes,
    ) -> None:
        """`key` hides numbers where they are looked up, and codes."""
        self._users, self._challenges, self._tries = stores
        self._sessions = sessions
        self._messenger = messenger
        self._background = background
        self._doors = doors
        self._audit = audit
        self._key = key

    async def send(self, request: Request, phone: str) -> Sent:
        """Send a code to a normalised number. Raises `rate_limited`."""
        await self._doors.knock(request, "otp")
        now, index = datetime.now(UTC), blind_index(self._key, AddressKind.PHONE, phone)
        turn = await self._tries.take(SIGNING_IN, code_counter(index), OTP_SEND_BACKOFF, now)
        if not turn.allowed:
            raise wait_until(turn.next_at)
        challenge_id, code = random_id("otp"), new_code()
        challenge = Challenge(
            id=challenge_id,
            tenant_id=PLATFORM,
            subject_id=random_id("usr"),
            phone_index=index,
            code_hash=code_hash(self._key, challenge_id, code),
            created_at=now,
            expires_at=now + OTP_LIFETIME,
        )
        await self._challenges.add(Subject(challenge.subject_id), challenge)
        # Whether the number is known shows in nothing that the caller waits for.
        self._background.start(self._deliver(challenge, phone, code))
        return Sent(challenge, turn.next_at)

    async def _deliver(self, challenge: Challenge, phone: str, code: str) -> None:
        account = await self._users.by_phone(SIGNING_IN, phone)
        subject = account.id if account is not None else challenge.subject_id
        await self._challenges.address(SIGNING_IN, challenge.id, subject, phone)
        await self._messenger.send(
            Message(
                id=challenge.id,
                tenant_id=PLATFORM,
                subject_id=subject,
                channel=Channel.SMS,
                to=phone,
                template=Template.OTP,
                params={"code": code, "minutes": str(int(OTP_LIFETIME.total_seconds()) // 60)},
                locale=account.locale if account is not None else "en",
                expires_at=challenge.expires_at,
            )
        )

    async def verify(self, request: Request, challenge_id: str, code: str, name: str | None) -> Issued:
        """Begin a session; the first one of a number makes its account. Raises `otp_invalid`, `otp_exhausted`."""
        await self._doors.knock(request, "otp-verify")
        challenge, phone = await self._spent(request, challenge_id, code)
        account = await self._account(challenge, phone, name)
        return await self._sessions.begin(request, account)

    async def prove(self, request: Request, caller: Principal, challenge_id: str, code: str) -> None:
        """Judge a code of somebody who is signed in: one that was sent to their own phone."""
        await self._doors.knock(request, "otp-verify")
        challenge, _ = await self._spent(request, challenge_id, code)
        if challenge.subject_id != caller.subject:
            raise VisitNowError(Code.OTP_INVALID)

    async def _spent(self, request: Request, challenge_id: str, code: str) -> tuple[Challenge, str]:
        """The challenge that this code solves, used up, and its phone."""
        now = datetime.now(UTC)
        counted = await self._challenges.count_try(SIGNING_IN, challenge_id, now)
        found = counted or await self._challenges.find(SIGNING_IN, challenge_id)
        judged = verdict(counted, found, code_hash(self._key, challenge_id, code), now)
        if judged in (Verdict.EXHAUSTED, Verdict.WRONG) and found is not None:
            await self._audit.unknown(request, AuditAction.SIGN_IN_REFUSED, found.id)
        if judged is Verdict.EXHAUSTED:
            raise VisitNowError(Code.OTP_EXHAUSTED)
        if judged is Verdict.WRONG or counted is None or counted.phone is None:
            raise VisitNowError(Code.OTP_INVALID)
        if not await self._challenges.spend(SIGNING_IN, challenge_id):
            raise VisitNowError(Code.OTP_INVALID)
        await self._tries.forget(SIGNING_IN, code_counter(counted.phone_index))
        return counted, counted.phone

    async def _account(self, challenge: Challenge, phone: str, name: str | None) -> Account:
        known = await self._users.by_phone(SIGNING_IN, phone)
        if known is None:
            new = Account(
                id=challenge.subject_id, tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), name=name, phone=phone
            )
            try:
                if await self._users.add(Subject(new.id), new):
                    return new
            except VisitNowError as error:
                if error.code is not Code.ACCOUNT_EXISTS:
                    raise
            # Somebody with the same phone, or the same code, was faster.
            known = await self._users.by_phone(SIGNING_IN, phone)
        if known is None:
            raise VisitNowError(Code.OTP_INVALID)
        if known.name is None and name is not None:
            known = known.model_copy(update={"name": name})
            await self._users.describe(Subject(known.id), known)
        return known
