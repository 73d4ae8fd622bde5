"""Somebody who works somewhere, with all that an account has, and every method of the repositories of people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from adapters.mongo.repositories import Repositories
from models.consents import Answer, Purpose
from models.credentials import PASSWORD_BACKOFF, Challenge, Totp, TotpState
from models.dependants import Dependant
from models.identity import Account, Invitation, Role, Scope, Subject, System
from models.sessions import EndReason, Session
from tests.adapters.mongo.builders import new

_WORLD: Final = System("the tests' world")
_CLINIC: Final = "cli_of_people"

Call = Callable[[Scope], Awaitable[object]]


@dataclass(frozen=True)
class People:
    """One account and what belongs to it."""

    account: Account
    session: Session
    challenge: Challenge
    invitation: Invitation
    dependant: Dependant


def now() -> datetime:
    """This instant, as precise as a database keeps it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def an_account(tenant_id: str, **changes: object) -> Account:
    """Somebody on the staff, with an address that nobody else has."""
    fields: dict[str, object] = {
        "id": new("usr"),
        "tenant_id": tenant_id,
        "roles": {Role.STAFF},
        "clinic_ids": {_CLINIC},
        "name": "Asha",
        "email": f"{new('asha')}@example.com",
    }
    return Account.model_validate({**fields, **changes})


def a_session(account: Account, **changes: object) -> Session:
    """A session that goes on."""
    fields: dict[str, object] = {
        "id": new("ses"),
        "tenant_id": account.tenant_id,
        "subject_id": account.id,
        "token_hash": new("hash"),
        "rotated_at": now(),
        "signed_in_at": now(),
        "expires_at": now() + timedelta(days=1),
    }
    return Session.model_validate({**fields, **changes})


def a_challenge(account: Account, **changes: object) -> Challenge:
    """A code that was sent."""
    fields: dict[str, object] = {
        "id": new("otp"),
        "tenant_id": account.tenant_id,
        "subject_id": account.id,
        "phone_index": new("index"),
        "code_hash": new("hash"),
        "created_at": now(),
        "expires_at": now() + timedelta(minutes=10),
    }
    return Challenge.model_validate({**fields, **changes})


def a_totp(**changes: object) -> Totp:
    """An authenticator that is still to be confirmed."""
    fields: dict[str, object] = {"state": TotpState.PENDING, "secret": "JBSWY3DPEHPK3PXP", "recovery_hashes": {"r1"}}
    return Totp.model_validate({**fields, **changes})


def an_answer(subject_id: str, **changes: object) -> Answer:
    """A yes to WhatsApp."""
    fields: dict[str, object] = {
        "subject_id": subject_id,
        "about": subject_id,
        "purpose": Purpose.WHATSAPP,
        "granted": True,
        "notice_version": 1,
        "language": "en",
        "notice_sha256": "0" * 64,
    }
    return Answer.model_validate({**fields, **changes})


async def build(stores: Repositories, tenant_id: str) -> People:
    """Put them there."""
    account = an_account(tenant_id)
    invitation = Invitation(
        id=new("inv"),
        tenant_id=tenant_id,
        email="somebody@example.com",
        role=Role.STAFF,
        expires_at=now() + timedelta(days=1),
    )
    child = Dependant(
        id=new("dep"), subject_id=account.id, name="Kavi", date_of_birth=date(2015, 6, 1), relation="daughter"
    )
    people = People(account, a_session(account), a_challenge(account), invitation, child)
    assert await stores.invites.add(_WORLD, invitation)
    await stores.dependants.put(_WORLD, child)
    await stores.consents.record(_WORLD, an_answer(account.id))
    await stores.users.put(_WORLD, account)
    assert await stores.users.enrol_totp(_WORLD, account.id, a_totp())
    await stores.sessions.add(_WORLD, people.session)
    await stores.challenges.add(_WORLD, people.challenge)
    return people


def on_records(stores: Repositories, people: People) -> dict[str, Call]:
    """Methods on what belongs to one account."""
    users, account, user = stores.users, people.account, people.account.id
    newcomer = an_account(account.tenant_id)
    return {
        "users.put": lambda scope: users.put(scope, account.model_copy(update={"name": "Other"})),
        "users.add": lambda scope: users.add(scope, newcomer, "hash"),
        "users.reader": lambda scope: users.reader(scope, user),
        "users.find": lambda scope: users.find(scope, user),
        "users.names": lambda scope: users.names(scope, [user]),
        "users.by_phone": lambda scope: users.by_phone(scope, "+919812345678"),
        "users.by_email": lambda scope: users.by_email(scope, account.email or ""),
        "users.entry": lambda scope: users.entry(scope, account.email or ""),
        "users.team": lambda scope: users.team(scope, account.tenant_id, _CLINIC),
        "users.describe": lambda scope: users.describe(scope, account),
        "users.credentials": lambda scope: users.credentials(scope, user),
        "users.set_password": lambda scope: users.set_password(scope, user, "hash", 0),
        "users.enrol_totp": lambda scope: users.enrol_totp(scope, user, a_totp()),
        "users.use_totp": lambda scope: users.use_totp(scope, user, 7),
        "users.use_recovery": lambda scope: users.use_recovery(scope, user, "r1"),
        "users.drop_totp": lambda scope: users.drop_totp(scope, user),
        "users.leave": lambda scope: users.leave(scope, user, _CLINIC),
        **_on_sessions(stores, people),
        **_on_challenges(stores, people),
        **_on_others(stores, people),
        "users.remove": lambda scope: users.remove(scope, user, now()),
    }


def _on_sessions(stores: Repositories, people: People) -> dict[str, Call]:
    sessions, session, user = stores.sessions, people.session, people.account.id
    another = a_session(people.account)
    return {
        "sessions.add": lambda scope: sessions.add(scope, another),
        "sessions.find": lambda scope: sessions.find(scope, session.id),
        "sessions.live": lambda scope: sessions.live(scope, user, now()),
        "sessions.rotate": lambda scope: sessions.rotate(scope, session, "next", now(), session.expires_at),
        "sessions.end": lambda scope: sessions.end(scope, session.id, EndReason.REVOKED, now()),
        "sessions.end_all": lambda scope: sessions.end_all(scope, user, EndReason.REMOVED, now()),
    }


def _on_challenges(stores: Repositories, people: People) -> dict[str, Call]:
    challenges, challenge = stores.challenges, people.challenge
    another = a_challenge(people.account)
    return {
        "challenges.add": lambda scope: challenges.add(scope, another),
        "challenges.address": lambda scope: challenges.address(scope, challenge.id, people.account.id, "+919812345678"),
        "challenges.count_try": lambda scope: challenges.count_try(scope, challenge.id, now()),
        "challenges.find": lambda scope: challenges.find(scope, challenge.id),
        "challenges.spend": lambda scope: challenges.spend(scope, challenge.id),
    }


def _on_others(stores: Repositories, people: People) -> dict[str, Call]:
    invites, dependants, invitation, child = stores.invites, stores.dependants, people.invitation, people.dependant
    another = invitation.model_copy(update={"id": new("inv")})
    consents, user = stores.consents, people.account.id
    return {
        "consents.allows": lambda scope: consents.allows(scope, user, Purpose.WHATSAPP),
        "consents.last": lambda scope: consents.last(scope, user, Purpose.WHATSAPP),
        "consents.count": lambda scope: stores.consents.count(scope, new("dep")),
        "consents.forget": lambda scope: stores.consents.forget(scope, new("dep")),
        "consents.record": lambda scope: consents.record(scope, an_answer(user, granted=False)),
        "invites.add": lambda scope: invites.add(scope, another),
        "invites.find": lambda scope: invites.find(scope, invitation.id),
        "invites.spend": lambda scope: invites.spend(scope, invitation.id, now()),
        "dependants.put": lambda scope: dependants.put(scope, child),
        "dependants.of_subject": lambda scope: dependants.of_subject(scope, child.subject_id),
        "dependants.find": lambda scope: dependants.find(scope, child.id),
        "dependants.mark_visits": lambda scope: dependants.mark_visits(scope, child),
        "dependants.remove": lambda scope: dependants.remove(scope, child.id),
    }


def of_everybody(stores: Repositories) -> dict[str, Call]:
    """Methods on what is counted, whosoever it is."""
    name, subject = new("tries"), Subject(new("usr"))
    return {
        "tries.take": lambda _: stores.tries.take(subject, name, PASSWORD_BACKOFF, now()),
        "tries.closed_until": lambda _: stores.tries.closed_until(subject, name, now()),
        "tries.forget": lambda _: stores.tries.forget(subject, name),
    }
