"""Puts together what knows who somebody is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

from adapters.invites import MailedInvites
from adapters.mongo.repositories import Repositories
from adapters.notices import FileNotices
from adapters.passwords import Passwords
from adapters.redis.client import RedisClient
from adapters.redis.limits import RateLimiter
from adapters.redis.sessions import SessionCache
from adapters.settings import Settings
from adapters.tokens import PurposeTokens, Statements, TokenMinter
from api.audit import AuditLog
from api.background import Background
from api.consents import Consenting
from api.own_account import Letters, OwnAccounts
from api.phone_sign_in import PhoneSignIn, PhoneStores
from api.profiles import Profiles
from api.sessions import Sessions
from api.sign_in import Doors, SignIn, Tools
from api.staff import Staff, StaffStores
from models.identity import System
from models.notice_ports import Messenger

LEAVING: Final = System("whose account is to go is asked for everybody at once")
LATELY: Final = timedelta(days=1)
"""Longer than any token lives that was made by hand; every other one ends with its session."""


class Doing(NamedTuple):
    """What it is put together from."""

    settings: Settings
    stores: Repositories
    redis: RedisClient
    passwords: Passwords
    messenger: Messenger
    background: Background


class People(NamedTuple):
    """Everything about people that a route may use."""

    audit: AuditLog
    sessions: Sessions
    sign_in: SignIn
    phone_sign_in: PhoneSignIn
    own_accounts: OwnAccounts
    profiles: Profiles
    consenting: Consenting
    staff: Staff

    @classmethod
    def of(cls, doing: Doing) -> Self:
        """Over connected stores."""
        settings, stores, redis, passwords, messenger, background = doing
        audit = AuditLog(stores.audit)
        tokens = PurposeTokens(settings.token_keys)
        doors = Doors(RateLimiter(redis, settings.database))
        sessions = Sessions(
            stores.sessions,
            stores.users,
            SessionCache(redis, settings.database),
            TokenMinter(settings.token_keys),
            audit,
            leaving=lambda: stores.deletions.leaving(LEAVING, datetime.now(UTC) - LATELY),
            key=settings.id_secret,
            development=settings.is_development,
        )
        sign_in = SignIn(stores.users, stores.tries, passwords, sessions, audit, doors, key=settings.index_key)
        tools = Tools(passwords, tokens, sessions, audit, doors)
        return cls(
            audit=audit,
            sessions=sessions,
            sign_in=sign_in,
            phone_sign_in=PhoneSignIn(
                PhoneStores(stores.users, stores.challenges, stores.tries),
                sessions,
                messenger,
                background,
                doors,
                audit,
                key=settings.index_key,
            ),
            own_accounts=OwnAccounts(
                stores.users,
                sign_in,
                tools,
                Letters(messenger, background, settings.public_url),
                key=settings.index_key,
            ),
            profiles=Profiles(stores.users, stores.dependants, stores.deletions.standing, key=settings.id_secret),
            consenting=Consenting(
                stores.consents, stores.dependants, FileNotices(), Statements(settings.token_keys), audit
            ),
            staff=Staff(
                StaffStores(stores.users, stores.invites, stores.directory),
                MailedInvites(stores.invites, messenger, tokens, settings.public_url),
                tools,
                key=settings.id_secret,
            ),
        )
