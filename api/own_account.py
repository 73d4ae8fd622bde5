"""One's own account: a forgotten password, an authenticator, the proof that one is still oneself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

import pyotp
from fastapi import Request

from adapters.tokens import Grant, Purpose
from api.background import Background
from api.sign_in import SIGNING_IN, SignIn, Tools, known_to
from models.compliance import AuditAction
from models.credentials import RESET_LIFETIME, Totp, TotpState, new_recovery_codes, recovery_hash
from models.errors import Code, VisitNowError
from models.identity import Account, Principal, Subject
from models.identity_ports import Users
from models.ids import random_id
from models.messaging import Channel, Message, Template
from models.notice_ports import Messenger
from models.sessions import STEP_UP_LIFETIME, EndReason

ISSUER_NAME: Final = "VisitNow"


class Enrolment(NamedTuple):
    """What an authenticator needs; shown once."""

    secret: str
    url: str
    recovery_codes: tuple[str, ...]


class Letters(NamedTuple):
    """How links are sent, while the answer is on its way already."""

    messenger: Messenger
    background: Background
    public_url: str


class OwnAccounts:
    """What somebody does about their own account."""

    def __init__(self, users: Users, sign_in: SignIn, tools: Tools, letters: Letters, *, key: bytes) -> None:
        """`key` hides what is kept of recovery codes."""
        self._users = users
        self._sign_in = sign_in
        self._passwords, self._tokens, self._sessions, self._audit, self._doors = tools
        self._letters = letters
        self._key = key

    # A forgotten password

    async def forgot(self, request: Request, email: str) -> None:
        """Send a link, if the address is anybody's: the answer tells nothing of that. Raises `rate_limited`."""
        await self._doors.knock(request, "forgot")
        self._letters.background.start(self._send_reset(email))

    async def _send_reset(self, email: str) -> None:
        account = await self._users.by_email(SIGNING_IN, email)
        if account is None or account.email is None:
            return
        credentials = await self._users.credentials(SIGNING_IN, account.id)
        now = datetime.now(UTC)
        version = str(credentials.password_version if credentials else 0)
        token = self._tokens.mint(Purpose.PASSWORD_RESET, account.id, version, now + RESET_LIFETIME, now)
        await self._letters.messenger.send(
            Message(
                id=random_id("msg"),
                tenant_id=account.tenant_id,
                subject_id=account.id,
                channel=Channel.EMAIL,
                to=account.email,
                template=Template.PASSWORD_RESET,
                params={"link": f"{self._letters.public_url}/password/reset?token={token}"},
                locale=account.locale,
                expires_at=now + RESET_LIFETIME,
            )
        )

    async def reset(self, request: Request, token: str, password: str) -> None:
        """Set the password that the link is for, and end every session. Raises `link_spent`."""
        await self._doors.knock(request, "reset")
        grant = self._tokens.read(Purpose.PASSWORD_RESET, token, datetime.now(UTC))
        account = None if grant is None else await self._replaceable(grant)
        if grant is None or account is None:
            raise VisitNowError(Code.LINK_SPENT)
        hashed = await self._passwords.hash(password)
        await self._audit.note(request, account.principal("reset"), AuditAction.PASSWORD_CHANGED, account.id)
        # Before, since nobody comes back with a link that is spent; after, for whoever signed in with the old password.
        await self._sessions.end_all(account.id, EndReason.PASSWORD_CHANGED)
        if not await self._users.set_password(Subject(account.id), account.id, hashed, int(grant.ver)):
            raise VisitNowError(Code.LINK_SPENT)
        await self._sessions.end_all(account.id, EndReason.PASSWORD_CHANGED)
        if account.email is not None:
            await self._sign_in.forgive(account.email)

    async def _replaceable(self, grant: Grant) -> Account | None:
        """Whose password a link replaces: it names the one that it replaces, so it is good until there is another."""
        scope = Subject(grant.sub)
        account = await self._users.find(scope, grant.sub)
        credentials = await self._users.credentials(scope, grant.sub)
        if account is None or account.removed_at is not None or credentials is None:
            return None
        return account if credentials.password_version == int(grant.ver) else None

    # Proof

    async def step_up(self, request: Request, caller: Principal) -> str:
        """A token that says: this caller has just proved again who they are."""
        now = datetime.now(UTC)
        await self._audit.note(request, caller, AuditAction.STEPPED_UP, caller.session_id)
        return self._tokens.mint(Purpose.STEP_UP, caller.subject, caller.session_id, now + STEP_UP_LIFETIME, now)

    def check_step_up(self, caller: Principal, token: str | None) -> None:
        """Raise `step_up_required` where the token is not this caller's, of this session, and fresh."""
        grant = None if token is None else self._tokens.read(Purpose.STEP_UP, token, datetime.now(UTC))
        if grant is None or grant.sub != caller.subject or grant.ver != caller.session_id:
            raise VisitNowError(Code.STEP_UP_REQUIRED)

    # An authenticator

    async def enrol(self, caller: Principal) -> Enrolment:
        """Begin with an authenticator; it counts once a code of it was given. Raises `state_conflict`."""
        scope = Subject(caller.subject)
        account = known_to(caller, await self._users.find(scope, caller.subject))
        secret, codes = pyotp.random_base32(), new_recovery_codes()
        hashes = frozenset(recovery_hash(self._key, caller.subject, one) for one in codes)
        totp = Totp(state=TotpState.PENDING, secret=secret, recovery_hashes=hashes)
        if not await self._users.enrol_totp(scope, caller.subject, totp):
            raise VisitNowError(Code.STATE_CONFLICT, "An authenticator is in use: take it off first")
        url = pyotp.TOTP(secret).provisioning_uri(name=account.email or account.id, issuer_name=ISSUER_NAME)
        return Enrolment(secret, url, codes)

    async def confirm(self, request: Request, caller: Principal, code: str) -> None:
        """Let it count. Raises `credentials_invalid`, `rate_limited`."""
        await self._sign_in.prove_code(request, caller, code, AuditAction.TOTP_CHANGED)

    async def take_off(self, request: Request, caller: Principal, code: str) -> None:
        """Do without it again. Raises `credentials_invalid`, `rate_limited`."""
        await self._sign_in.prove_code(request, caller, code, AuditAction.TOTP_CHANGED)
        await self._users.drop_totp(Subject(caller.subject), caller.subject)
