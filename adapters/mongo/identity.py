"""Accounts: what they may do in clear, who they are sealed, and a keyed index by which an address finds its account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from adapters.mongo.writes import put
from models.addresses import AddressKind, blind_index, normal_email, normal_phone
from models.credentials import Credentials, Totp, TotpState
from models.data_classes import DataClass
from models.errors import Code, VisitNowError
from models.identity import Account, Role, Scope
from models.identity_ports import Entry
from models.reminders import Reader

_PERSONAL: Final = {"name", "phone", "email"}
_KNOWN: Final = set(Account.model_fields) - _PERSONAL
_MOST: Final = 500
"""More people than any clinic employs; a list of them ends here."""


def _unique(field: str) -> IndexModel:
    # The filter is one that an equality with any text implies, so that the index serves the look-up too.
    return IndexModel([(field, ASCENDING)], name=field, unique=True, partialFilterExpression={field: {"$gt": ""}})


DECLARED: Final = Declared(
    "users",
    [
        _unique("phone_index"),
        _unique("email_index"),
        IndexModel([("tenant_id", ASCENDING), ("roles", ASCENDING), ("_id", ASCENDING)], name="team"),
    ],
)


class MongoUsers:
    """Implements `models.identity_ports.Users` on `users`; an account is its own subject."""

    def __init__(self, database: Database, vault: Vault, index_key: bytes) -> None:
        """`vault` seals names and addresses under each account's identity key; `index_key` hides what is looked up."""
        self._users: Collection = database["users"]
        self._vault = vault
        self._index_key = index_key

    @answering
    async def put(self, scope: Scope, account: Account) -> None:
        """Write an account by its id. Raises `account_exists` where its address is another one's."""
        document = await self._document(scope, account)
        try:
            await put(self._users, scope, account.id, document)
        except DuplicateKeyError as error:
            raise VisitNowError(Code.ACCOUNT_EXISTS) from error

    @answering
    async def add(self, scope: Scope, account: Account, password_hash: str | None = None) -> bool:
        """Write a new account; False where one of this id was there before.

        Raises `account_exists` where its address is another one's.
        """
        document = await self._document(scope, account)
        now = datetime.now(UTC)
        if password_hash is not None:
            document |= {"password_hash": password_hash, "password_version": 1}
        try:
            await self._users.insert_one(
                {"_id": account.id, **document, "version": 1, "created_at": now, "updated_at": now},
                comment=reason_of(scope),
            )
        except DuplicateKeyError as error:
            if clashes_on_id(error):
                return False
            raise VisitNowError(Code.ACCOUNT_EXISTS) from error
        return True

    async def _document(self, scope: Scope, account: Account) -> Document:
        by_phone = account.phone if account.is_patient else None
        by_email = None if account.is_patient else account.email
        document: Document = {
            "subject_id": account.id,
            **account.model_dump(exclude={"id", "roles", "clinic_ids", *_PERSONAL}),
            "roles": sorted(account.roles),
            "clinic_ids": sorted(account.clinic_ids),
            "phone_index": None if by_phone is None else self._index(AddressKind.PHONE, normal_phone(by_phone)),
            "email_index": None if by_email is None else self._index(AddressKind.EMAIL, normal_email(by_email)),
        }
        require(scope, document)
        document["sealed"] = await self._sealed(account)
        return document

    async def _sealed(self, account: Account) -> Document:
        personal = account.model_dump(include=_PERSONAL)
        return {"identity": await self._vault.seal(account.id, DataClass.IDENTITY, personal)}

    def _index(self, kind: AddressKind, normalised: str) -> str:
        return blind_index(self._index_key, kind, normalised)

    @answering
    async def find(self, scope: Scope, user_id: str) -> Account | None:
        """One account; what was erased of it is None."""
        return await self._one(scope, {"_id": user_id})

    @answering
    async def reader(self, scope: Scope, user_id: str) -> Reader | None:
        """One read that opens nothing of who they are."""
        found = await self._users.find_one(
            scoped(scope, {"_id": user_id}), ["locale", "timezone"], comment=reason_of(scope)
        )
        return None if found is None else Reader(str(found["locale"]), str(found["timezone"]))

    @answering
    async def by_phone(self, scope: Scope, phone: str) -> Account | None:
        """The patient with that number. Raises ValueError where it is none."""
        return await self._one(scope, {"phone_index": self._index(AddressKind.PHONE, normal_phone(phone))})

    @answering
    async def by_email(self, scope: Scope, email: str) -> Account | None:
        """Whoever signs in with that address. Raises ValueError where it is none."""
        return await self._one(scope, {"email_index": self._index(AddressKind.EMAIL, normal_email(email))})

    @answering
    async def team(self, scope: Scope, tenant_id: str, clinic_id: str) -> list[Account]:
        """Everybody who works at a clinic of a tenant, and the tenant's admins, by id."""
        wanted: Document = {
            "tenant_id": tenant_id,
            "roles": {"$in": [Role.ADMIN, Role.DOCTOR, Role.STAFF]},
            "$or": [{"clinic_ids": clinic_id}, {"roles": Role.ADMIN}],
            "removed_at": None,
        }
        found = self._users.find(scoped(scope, wanted), limit=_MOST, comment=reason_of(scope))
        return sorted(await self._opened(await found.to_list(None)), key=lambda one: one.id)

    @answering
    async def names(self, scope: Scope, user_ids: Sequence[str]) -> dict[str, str]:
        """What a page of people are called: one read by id, and one look into the vault for all of them.

        Nobody is told the name of who has left: what is kept of it is kept, and not used.
        """
        wanted: Document = {"_id": {"$in": list(set(user_ids))}, "removed_at": None}
        found = await self._users.find(scoped(scope, wanted), {"sealed.identity": 1}, comment=reason_of(scope)).to_list(
            None
        )
        opened = await self._vault.open([_sealed_identity(one) for one in found])
        return {
            str(one["_id"]): str(personal["name"])
            for one, personal in zip(found, opened, strict=True)
            if personal and personal is not ERASED and personal["name"] is not None
        }

    async def _one(self, scope: Scope, query: Document) -> Account | None:
        found = await self._users.find_one(scoped(scope, query), comment=reason_of(scope))
        return None if found is None else (await self._opened([found]))[0]

    async def _opened(self, found: Sequence[Document]) -> list[Account]:
        opened = await self._vault.open([_sealed_identity(one) for one in found])
        return [
            Account.model_validate(
                {
                    **{name: one[name] for name in _KNOWN if name in one},
                    "id": one["_id"],
                    **(personal if personal and personal is not ERASED else {}),
                }
            )
            for one, personal in zip(found, opened, strict=True)
        ]

    @answering
    async def describe(self, scope: Scope, account: Account) -> bool:
        """Change what somebody says of themselves: name, address, language and zone. False where it is not there.

        Raises `account_exists` where the address is another one's.
        """
        document = await self._document(scope, account)
        kept = ("locale", "timezone", "preferred_channel", "phone_index", "email_index", "sealed")
        try:
            return await self._change(
                scope, {"_id": account.id, "removed_at": None}, {"$set": {name: document[name] for name in kept}}
            )
        except DuplicateKeyError as error:
            raise VisitNowError(Code.ACCOUNT_EXISTS) from error

    @answering
    async def leave(self, scope: Scope, user_id: str, clinic_id: str) -> bool:
        """Take one clinic from somebody's; False where it was none of theirs."""
        query: Document = {"_id": user_id, "clinic_ids": clinic_id, "removed_at": None}
        return await self._change(scope, query, {"$pull": {"clinic_ids": clinic_id}})

    @answering
    async def remove(self, scope: Scope, user_id: str, at: datetime) -> bool:
        """End an account: nobody signs in with it any more, and its address is free. False where it had ended."""
        ended = {"removed_at": at, "clinic_ids": [], "email_index": None, "phone_index": None}
        return await self._change(
            scope,
            {"_id": user_id, "removed_at": None},
            {"$set": ended, "$unset": {"password_hash": "", "totp": ""}, "$inc": {"password_version": 1}},
        )

    # Credentials

    @answering
    async def entry(self, scope: Scope, email: str) -> Entry | None:
        """What the password for that normalised address is compared with: one look-up, whether it is known or not."""
        found = await self._users.find_one(
            scoped(scope, {"email_index": self._index(AddressKind.EMAIL, email)}),
            {"password_hash": 1},
            comment=reason_of(scope),
        )
        return None if found is None else Entry(str(found["_id"]), _text(found.get("password_hash")))

    @answering
    async def credentials(self, scope: Scope, user_id: str) -> Credentials | None:
        """How somebody signs in; None where there is no such account."""
        found = await self._users.find_one(
            scoped(scope, {"_id": user_id}),
            {"password_hash": 1, "password_version": 1, "totp": 1},
            comment=reason_of(scope),
        )
        if found is None:
            return None
        return Credentials(
            password_hash=_text(found.get("password_hash")),
            password_version=int(str(found.get("password_version", 0))),
            totp=await self._totp(found.get("totp")),
        )

    async def _totp(self, stored: object) -> Totp | None:
        if not isinstance(stored, dict):
            return None
        [opened] = await self._vault.open([stored["sealed"]])
        if opened is None or opened is ERASED:
            return None
        return Totp(
            state=stored["state"],
            secret=str(opened["secret"]),
            last_step=stored["last_step"],
            recovery_hashes=frozenset(stored["recovery_hashes"]),
        )

    @answering
    async def set_password(self, scope: Scope, user_id: str, password_hash: str, version: int | None = None) -> bool:
        """Set a password; with `version` only where none was set since. False where it was, or nobody is there."""
        query: Document = {"_id": user_id, "removed_at": None}
        if version is not None:
            query["password_version"] = version or {"$in": [0, None]}
        change: Document = {"$set": {"password_hash": password_hash}, "$inc": {"password_version": 1}}
        return await self._change(scope, query, change)

    @answering
    async def enrol_totp(self, scope: Scope, user_id: str, totp: Totp) -> bool:
        """Keep an authenticator that is still to be confirmed; False while another one counts."""
        sealed = await self._vault.seal(user_id, DataClass.IDENTITY, {"secret": totp.secret})
        stored = {
            "state": totp.state,
            "sealed": sealed,
            "last_step": totp.last_step,
            "recovery_hashes": sorted(totp.recovery_hashes),
        }
        query: Document = {"_id": user_id, "removed_at": None, "totp.state": {"$ne": TotpState.ON}}
        return await self._change(scope, query, {"$set": {"totp": stored}})

    @answering
    async def use_totp(self, scope: Scope, user_id: str, step: int) -> bool:
        """Spend the code of one time step, which confirms an authenticator; False where it is spent."""
        query: Document = {"_id": user_id, "removed_at": None, "totp.last_step": {"$lt": step}}
        return await self._change(scope, query, {"$set": {"totp.last_step": step, "totp.state": TotpState.ON}})

    @answering
    async def use_recovery(self, scope: Scope, user_id: str, recovery_hash: str) -> bool:
        """Spend a recovery code; False where it is none or spent."""
        query: Document = {"_id": user_id, "totp.state": TotpState.ON, "totp.recovery_hashes": recovery_hash}
        return await self._change(scope, query, {"$pull": {"totp.recovery_hashes": recovery_hash}})

    @answering
    async def drop_totp(self, scope: Scope, user_id: str) -> bool:
        """Forget the authenticator; False where there was none."""
        return await self._change(scope, {"_id": user_id, "totp": {"$exists": True}}, {"$unset": {"totp": ""}})

    async def _change(self, scope: Scope, query: Document, change: Document) -> bool:
        """One conditional update of one account; whether it applied."""
        stamped: Document = {
            **change,
            "$set": {**_part(change, "$set"), "updated_at": datetime.now(UTC)},
            "$inc": {**_part(change, "$inc"), "version": 1},
        }
        done = await self._users.update_one(scoped(scope, query), stamped, comment=reason_of(scope))
        return done.matched_count == 1


def _part(change: Document, operator: str) -> Document:
    part = change.get(operator, {})
    return part if isinstance(part, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _sealed_identity(found: Document) -> bytes | None:
    sealed = found["sealed"]
    return sealed["identity"] if isinstance(sealed, dict) else None
