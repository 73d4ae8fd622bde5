"""Accounts: what they may do in clear, who they are sealed."""

from __future__ import annotations

from typing import Final

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, DataClass, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from adapters.mongo.writes import put
from models.identity import Account, Scope

DECLARED: Final = Declared("users")

_PERSONAL: Final = {"name", "phone", "email"}


class MongoUsers:
    """Accounts in the collection `users`; an account is its own subject."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals names and addresses under each account's identity key."""
        self._users: Collection = database["users"]
        self._vault = vault

    @answering
    async def put(self, scope: Scope, account: Account) -> None:
        """Write an account by its id."""
        document: Document = {
            "subject_id": account.id,
            **account.model_dump(exclude={"id", "roles", "clinic_ids", *_PERSONAL}),
            "roles": sorted(account.roles),
            "clinic_ids": sorted(account.clinic_ids),
        }
        require(scope, document)
        personal = account.model_dump(include=_PERSONAL)
        document["sealed"] = {"identity": await self._vault.seal(account.id, DataClass.IDENTITY, personal)}
        await put(self._users, scope, account.id, document)

    @answering
    async def find(self, scope: Scope, user_id: str) -> Account | None:
        """One account; what was erased of it is None."""
        found = await self._users.find_one(scoped(scope, {"_id": user_id}), comment=reason_of(scope))
        if found is None:
            return None
        sealed = found["sealed"]
        [personal] = await self._vault.open([sealed["identity"] if isinstance(sealed, dict) else None])
        known = {name: found[name] for name in Account.model_fields if name in found}
        return Account.model_validate(
            {**known, "id": user_id, **(personal if personal and personal is not ERASED else {})}
        )
