"""Who works at a clinic: invited by link, listed, removed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fastapi import Request

from adapters.tokens import Purpose
from api.problems import invalid
from api.sessions import Issued
from api.sign_in import Tools
from models.compliance import AuditAction
from models.credentials import INVITE_LIFETIME
from models.errors import Code, VisitNowError, not_found
from models.identity import Account, Invitation, Principal, Role, System, Tenant
from models.identity_ports import Invitations, Users
from models.ids import derived_id, random_id
from models.ports import Directory, Invites
from models.sessions import EndReason

ACCEPTING: Final = System("whoever accepts an invitation has no account yet")


class Asked(NamedTuple):
    """Whom an admin invites."""

    email: str
    role: Role
    provider_id: str | None


class StaffStores(NamedTuple):
    """What is asked and written."""

    users: Users
    invites: Invitations
    directory: Directory


class Staff:
    """Invites people to a clinic, lets them in, lists and removes them."""

    def __init__(self, stores: StaffStores, mail: Invites, tools: Tools, *, key: bytes) -> None:
        """`mail` sends the links; `key` derives the ids of repeated requests and of accepted invitations."""
        self._users, self._invites, self._directory = stores
        self._mail = mail
        self._passwords, self._tokens, self._sessions, self._audit, self._doors = tools
        self._key = key

    async def invite(
        self, request: Request, caller: Principal, clinic_id: str, asked: Asked, idempotency_key: str | None
    ) -> Invitation:
        """Offer a place. Raises `not_found`, `invalid`, `idempotency_key_reused`."""
        scope = await self._clinic(caller, clinic_id)
        await self._check_profile(scope, clinic_id, asked.provider_id)
        who = (caller.tenant_id, caller.subject, clinic_id)
        wanted = Invitation(
            id=random_id("inv") if idempotency_key is None else derived_id("inv", self._key, *who, idempotency_key),
            tenant_id=caller.tenant_id,
            email=asked.email,
            role=asked.role,
            clinic_ids=frozenset() if asked.role is Role.ADMIN else frozenset({clinic_id}),
            provider_id=asked.provider_id,
            expires_at=datetime.now(UTC).replace(microsecond=0) + INVITE_LIFETIME,
        )
        before = await self._invites.find(scope, wanted.id)
        if before is not None:
            if before.invitation.model_copy(update={"expires_at": wanted.expires_at}) != wanted:
                raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
            wanted = before.invitation
        await self._audit.note(request, caller, AuditAction.STAFF_INVITED, wanted.id)
        await self._mail.issue(scope, wanted)
        return wanted

    async def _check_profile(self, scope: Tenant, clinic_id: str, provider_id: str | None) -> None:
        if provider_id is None:
            return
        found = (await self._directory.profiles(scope, [provider_id])).get(provider_id)
        if found is None or found.clinic_id != clinic_id:
            raise invalid("provider_id", "unknown", "There is no such profile at this clinic")

    async def accept(self, request: Request, token: str, name: str, password: str) -> Issued:
        """Make the account and sign it in. Raises `invite_spent`, `account_exists`."""
        await self._doors.knock(request, "invite")
        now = datetime.now(UTC)
        grant = self._tokens.read(Purpose.INVITE, token, now)
        invite = None if grant is None else await self._invites.find(ACCEPTING, grant.sub)
        if invite is None or not invite.is_open(now):
            raise VisitNowError(Code.INVITE_SPENT)
        offered = invite.invitation
        account = Account(
            # One id for whoever accepts this invitation: of many at once, one is written.
            id=derived_id("usr", self._key, "invite", offered.id),
            tenant_id=offered.tenant_id,
            roles=frozenset({offered.role}),
            provider_id=offered.provider_id,
            clinic_ids=offered.clinic_ids,
            name=name,
            email=offered.email,
        )
        hashed = await self._passwords.hash(password)
        known = await self._users.by_email(ACCEPTING, offered.email)
        if known is not None and known.id != account.id:
            raise VisitNowError(Code.ACCOUNT_EXISTS)
        await self._audit.note_once(request, account.principal("invite"), AuditAction.STAFF_JOINED, offered.id)
        added = await self._users.add(ACCEPTING, account, hashed)
        await self._invites.spend(ACCEPTING, offered.id, now)
        if not added:
            raise VisitNowError(Code.INVITE_SPENT)
        return await self._sessions.begin(request, account)

    async def team(self, caller: Principal, clinic_id: str) -> Sequence[Account]:
        """Everybody who works there, and the tenant's admins. Raises `not_found`."""
        scope = await self._clinic(caller, clinic_id)
        return await self._users.team(scope, caller.tenant_id, clinic_id)

    async def remove(self, request: Request, caller: Principal, clinic_id: str, user_id: str) -> None:
        """Take somebody off a clinic; whoever is left with none is out. Raises `not_found`, `state_conflict`."""
        scope = await self._clinic(caller, clinic_id)
        if user_id == caller.subject:
            raise VisitNowError(Code.STATE_CONFLICT, "Nobody removes themselves: ask another admin")
        account = await self._users.find(scope, user_id)
        if account is None or account.removed_at is not None or not account.works_at(clinic_id):
            raise not_found()
        await self._audit.note(request, caller, AuditAction.STAFF_REMOVED, user_id)
        # Before, since whoever is gone cannot be removed again; after, for a sign-in in between.
        await self._sessions.end_all(user_id, EndReason.REMOVED)
        if account.clinic_ids - {clinic_id}:
            await self._users.leave(scope, user_id, clinic_id)
        else:
            await self._users.remove(scope, user_id, datetime.now(UTC))
        await self._sessions.end_all(user_id, EndReason.REMOVED)

    async def _clinic(self, caller: Principal, clinic_id: str) -> Tenant:
        """The caller's tenant, where the clinic is one of those that they work for. Raises `not_found`."""
        scope = Tenant(caller.tenant_id)
        reaches = Role.ADMIN in caller.roles or clinic_id in caller.clinic_ids
        if not reaches or clinic_id not in await self._directory.clinics(scope, [clinic_id]):
            raise not_found()
        return scope
