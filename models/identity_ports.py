"""What the inside asks about who somebody is: accounts, sessions, codes, tries, invitations and dependants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from models.credentials import Backoff, Challenge, Credentials, Totp
from models.dependants import Dependant
from models.identity import Account, Invitation, Scope
from models.sessions import EndReason, Session


class Entry(NamedTuple):
    """What a password is compared with."""

    user_id: str
    password_hash: str | None


class Turn(NamedTuple):
    """Whether a try was allowed, and when the next one is."""

    allowed: bool
    next_at: datetime


class Invite(NamedTuple):
    """An invitation and when it was accepted."""

    invitation: Invitation
    spent_at: datetime | None

    def is_open(self, now: datetime) -> bool:
        """Whether it may still be accepted."""
        return self.spent_at is None and now < self.invitation.expires_at


class Users(Protocol):
    """Accounts and what opens them."""

    async def add(self, scope: Scope, account: Account, password_hash: str | None = None) -> bool:
        """Write a new account; False where one of this id was there before.

        Raises `account_exists` where its address is another one's.
        """
        ...

    async def find(self, scope: Scope, user_id: str) -> Account | None:
        """One account; what was erased of it is None."""
        ...

    async def by_phone(self, scope: Scope, phone: str) -> Account | None:
        """The patient with that number. Raises ValueError where it is none."""
        ...

    async def by_email(self, scope: Scope, email: str) -> Account | None:
        """Whoever signs in with that address. Raises ValueError where it is none."""
        ...

    async def team(self, scope: Scope, tenant_id: str, clinic_id: str) -> list[Account]:
        """Everybody who works at a clinic of a tenant, and the tenant's admins, by id."""
        ...

    async def names(self, scope: Scope, user_ids: Sequence[str]) -> dict[str, str]:
        """What a page of people are called: one read by id, and one look into the vault for all of them."""
        ...

    async def describe(self, scope: Scope, account: Account) -> bool:
        """Change what somebody says of themselves: name, address, language and zone. False where it is not there.

        Raises `account_exists` where the address is another one's.
        """
        ...

    async def leave(self, scope: Scope, user_id: str, clinic_id: str) -> bool:
        """Take one clinic from somebody's; False where it was none of theirs."""
        ...

    async def remove(self, scope: Scope, user_id: str, at: datetime) -> bool:
        """End an account: nobody signs in with it any more, and its address is free. False where it had ended."""
        ...

    async def entry(self, scope: Scope, email: str) -> Entry | None:
        """What the password for that normalised address is compared with: one look-up, whether it is known or not."""
        ...

    async def credentials(self, scope: Scope, user_id: str) -> Credentials | None:
        """How somebody signs in; None where there is no such account."""
        ...

    async def set_password(self, scope: Scope, user_id: str, password_hash: str, version: int | None = None) -> bool:
        """Set a password; with `version` only where none was set since. False where it was, or nobody is there."""
        ...

    async def enrol_totp(self, scope: Scope, user_id: str, totp: Totp) -> bool:
        """Keep an authenticator that is still to be confirmed; False while another one counts."""
        ...

    async def use_totp(self, scope: Scope, user_id: str, step: int) -> bool:
        """Spend the code of one time step, which confirms an authenticator; False where it is spent."""
        ...

    async def use_recovery(self, scope: Scope, user_id: str, recovery_hash: str) -> bool:
        """Spend a recovery code; False where it is none or spent."""
        ...

    async def drop_totp(self, scope: Scope, user_id: str) -> bool:
        """Forget the authenticator; False where there was none."""
        ...


class SessionStore(Protocol):
    """Sessions, as the database knows them."""

    async def add(self, scope: Scope, session: Session) -> None:
        """Begin one."""
        ...

    async def find(self, scope: Scope, session_id: str) -> Session | None:
        """One session, whether it has ended or not."""
        ...

    async def live(self, scope: Scope, subject_id: str, now: datetime) -> list[Session]:
        """Somebody's sessions that go on, the latest first."""
        ...

    async def rotate(self, scope: Scope, before: Session, token_hash: str, at: datetime, expires_at: datetime) -> bool:
        """Let the successor take the token's place; False where somebody else's has, or the session has ended."""
        ...

    async def end(self, scope: Scope, session_id: str, reason: EndReason, at: datetime) -> bool:
        """End one; False where there is none that goes on."""
        ...

    async def end_all(
        self, scope: Scope, subject_id: str, reason: EndReason, at: datetime, *, spare: str | None = None
    ) -> list[str]:
        """End all of somebody's but one; the ids of those that went on."""
        ...


class Challenges(Protocol):
    """One-time codes that were sent."""

    async def add(self, scope: Scope, challenge: Challenge) -> None:
        """Keep a new one, its number left out: that is looked up and sealed after the answer."""
        ...

    async def address(self, scope: Scope, challenge_id: str, subject_id: str, phone: str) -> None:
        """Note whose it is and where the code goes, sealed."""
        ...

    async def count_try(self, scope: Scope, challenge_id: str, now: datetime) -> Challenge | None:
        """Count one try before it is judged; None where no more is allowed, or there is no such open challenge."""
        ...

    async def find(self, scope: Scope, challenge_id: str) -> Challenge | None:
        """One challenge, its number left sealed."""
        ...

    async def spend(self, scope: Scope, challenge_id: str) -> bool:
        """Use it up; False where somebody else has."""
        ...


class Tries(Protocol):
    """How often somebody has tried in vain."""

    async def take(self, scope: Scope, name: str, backoff: Backoff, now: datetime) -> Turn:
        """Count one try in one update, unless one before it has to be waited for."""
        ...

    async def closed_until(self, scope: Scope, name: str, now: datetime) -> datetime | None:
        """Until when tries have to wait; None where one may be made."""
        ...

    async def forget(self, scope: Scope, name: str) -> None:
        """A try was right: those before it count no more."""
        ...


class Invitations(Protocol):
    """Invitations that were sent, until they are accepted or over."""

    async def add(self, scope: Scope, invitation: Invitation) -> bool:
        """Keep one; False where one of this id was there before."""
        ...

    async def find(self, scope: Scope, invitation_id: str) -> Invite | None:
        """One invitation; None where it is gone, or its address was erased."""
        ...

    async def spend(self, scope: Scope, invitation_id: str, at: datetime) -> bool:
        """Use it up; False where it was."""
        ...


class Dependants(Protocol):
    """Those whom somebody books for."""

    async def mark_visits(self, scope: Scope, dependant: Dependant) -> int:
        """Have the account's visits that keep their details, but nobody's id, keep their id; how many those were."""
        ...

    async def put(self, scope: Scope, dependant: Dependant) -> None:
        """Write one by its id."""
        ...

    async def of_subject(self, scope: Scope, subject_id: str) -> list[Dependant]:
        """All of somebody's, by id; those whose key is gone are left out."""
        ...

    async def find(self, scope: Scope, dependant_id: str) -> Dependant | None:
        """One of them."""
        ...

    async def remove(self, scope: Scope, dependant_id: str) -> bool:
        """Forget one; False where there is none."""
        ...
