"""Being forgotten, as the person sees it: asked for, proved, taken back, certified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fastapi import Request

from adapters.tokens import Statement, Statements
from api.phone_sign_in import PhoneSignIn
from api.sessions import Sessions
from api.sign_in import known_to
from models.booking import Actor, ActorKind
from models.deletions import (
    LEAVING,
    Deletion,
    DeletionRef,
    DeletionState,
    grace_until,
    opens,
    request_token,
)
from models.deletions_ports import Deletions
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, Principal, Role, Subject, System
from models.identity_ports import Dependants, Users
from models.ids import derived_id, random_id
from workflows.gateway import DeletionGateway

OPENING: Final = System("whoever holds a deletion's own token may open it")
HOLDER: Final = "request-token"
"""What stands in place of a session where somebody came with a deletion's own token."""


class Wish(NamedTuple):
    """Why somebody asks, and for whom; None: for themselves."""

    reason: str | None
    dependant_id: str | None


class Asked(NamedTuple):
    """A deletion that waits for its owner's proof."""

    deletion: Deletion
    token: str


class Certified(NamedTuple):
    """What a certificate says, and our signature under it."""

    facts: dict[str, object]
    signature: str


class Forgetting:
    """Takes wishes to be forgotten, and shows what becomes of them."""

    def __init__(
        self,
        deletions: Deletions,
        people: tuple[Users, Dependants],
        sign_in: PhoneSignIn,
        sessions: Sessions,
        statements: Statements,
        gateway: DeletionGateway,
        *,
        key: bytes,
    ) -> None:
        """`key` derives the ids of repeated requests, and the tokens that open deletions."""
        self._deletions = deletions
        self._users, self._dependants = people
        self._sign_in = sign_in
        self._sessions = sessions
        self._statements = statements
        self._gateway = gateway
        self._key = key

    async def ask(self, request: Request, caller: Principal, wish: Wish, key: str | None) -> Asked:
        """Keep the wish and send a code to the account's own phone; one that waits already gets another code.

        Raises `not_found` for a dependant of somebody else, `idempotency_key_reused`, `state_conflict` where it was
        confirmed before, `rate_limited`.
        """
        body_hash = hashlib.sha256(json.dumps(wish).encode()).hexdigest()
        deletion_id = random_id("del") if key is None else derived_id("del", self._key, caller.subject, key)
        scope = Subject(caller.subject)
        before = None if key is None else await self._deletions.find(scope, deletion_id)
        if before is not None:
            if before.body_hash != body_hash:
                raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
            return self._asked(before)
        if caller.leaving:
            raise VisitNowError(Code.STATE_CONFLICT, "It is confirmed already")
        if wish.dependant_id is not None and await self._dependants.find(scope, wish.dependant_id) is None:
            raise not_found()
        challenge_id = await self._send_code(request, caller)
        now = _now()
        wanted = Deletion(
            id=deletion_id,
            subject_id=caller.subject,
            dependant_id=wish.dependant_id,
            challenge_id=challenge_id,
            body_hash=body_hash,
            reason=wish.reason,
            requested_at=now,
        )
        kept = await self._deletions.add(scope, wanted)
        return self._asked(kept if kept.id == wanted.id else await self._again(kept, challenge_id))

    async def _send_code(self, request: Request, caller: Principal) -> str:
        account = known_to(caller, await self._users.find(Subject(caller.subject), caller.subject))
        if account.phone is None:
            raise VisitNowError(Code.STATE_CONFLICT, "The account has no phone to send a code to")
        return (await self._sign_in.send(request, account.phone)).challenge.id

    async def _again(self, open_one: Deletion, challenge_id: str) -> Deletion:
        scope = Subject(open_one.subject_id)
        if not await self._deletions.ask_again(scope, open_one.id, challenge_id):
            raise VisitNowError(Code.STATE_CONFLICT, "It is confirmed already")
        return open_one.model_copy(update={"challenge_id": challenge_id})

    def _asked(self, deletion: Deletion) -> Asked:
        return Asked(deletion, request_token(self._key, deletion.id))

    async def confirm(self, request: Request, caller: Principal, deletion_id: str, code: str) -> Deletion:
        """Judge the code, and let the time for second thoughts begin; repeated, it changes nothing.

        Raises `not_found`, `otp_invalid`, `otp_exhausted`, `state_conflict` and `unavailable`.
        """
        scope = Subject(caller.subject)
        deletion = await self._found(caller, deletion_id)
        if deletion.state is DeletionState.REQUESTED:
            await self._sign_in.prove(request, caller, deletion.challenge_id, code)
            now = _now()
            await self._deletions.confirm(scope, deletion_id, now, grace_until(await self._gateway.policy(), now))
            deletion = await self._found(caller, deletion_id)
        if deletion.state not in LEAVING:
            raise VisitNowError(Code.STATE_CONFLICT)
        self._sessions.leavers_changed()
        await self._gateway.begin(DeletionRef.of(deletion))
        return await self._found(caller, deletion_id)

    async def cancel(self, caller: Principal, deletion_id: str) -> None:
        """Take it back; repeated, it changes nothing. Raises `not_found`, `state_conflict` and `unavailable`."""
        found = await self._found(caller, deletion_id)
        patient = Actor(kind=ActorKind.PATIENT, id=caller.subject)
        scope, to = Subject(caller.subject), DeletionState.CANCELLED
        after = await self._deletions.advance(scope, deletion_id, to, _now(), patient)
        if after.state is not to:
            raise VisitNowError(Code.STATE_CONFLICT, "It is too late to take it back")
        self._sessions.leavers_changed()
        if found.confirmed_at is not None:
            await self._gateway.cancelled(deletion_id)

    async def own(self, caller: Principal) -> Sequence[Deletion]:
        """The caller's, newest first."""
        return await self._deletions.of_subject(Subject(caller.subject), caller.subject)

    async def one(self, caller: Principal, deletion_id: str) -> Deletion:
        """One of the caller's. Raises `not_found`."""
        return await self._found(caller, deletion_id)

    async def certificate(self, caller: Principal, deletion_id: str) -> Certified:
        """What went and what stays until when, signed. Raises `not_found`, and `state_conflict` before the end."""
        deletion = await self._found(caller, deletion_id)
        if deletion.certificate is None:
            raise VisitNowError(Code.STATE_CONFLICT, "Nothing is erased yet")
        return Certified(dict(self._statements.read(Statement.DELETION, deletion.certificate)), deletion.certificate)

    async def holder(self, deletion_id: str, token: str) -> Principal:
        """Whom a deletion's own token speaks for, about this deletion only. Raises `not_found`."""
        if not opens(self._key, deletion_id, token):
            raise not_found()
        found = await self._deletions.find(OPENING, deletion_id)
        if found is None:
            raise not_found()
        return Principal(
            subject=found.subject_id,
            tenant_id=PLATFORM,
            roles=frozenset({Role.PATIENT}),
            session_id=HOLDER,
            leaving=True,
        )

    async def _found(self, caller: Principal, deletion_id: str) -> Deletion:
        found = await self._deletions.find(Subject(caller.subject), deletion_id)
        if found is None:
            raise not_found()
        return found


def _now() -> datetime:
    """As precise as the database keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
