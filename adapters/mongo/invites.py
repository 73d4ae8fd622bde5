"""Invitations: kept until they are accepted or over, each address sealed under the invitation's own key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.data_classes import DataClass
from models.identity import Invitation, Scope
from models.identity_ports import Invite

# Those that are over are removed with their keys, which an expiring index cannot do.
DECLARED: Final = Declared("invites", [IndexModel([("expires_at", ASCENDING)], name="over")])


class MongoInvites:
    """Implements `models.identity_ports.Invitations` on `invites`; each is its own subject until it is accepted."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals the address."""
        self._invites: Collection = database["invites"]
        self._vault = vault

    @answering
    async def add(self, scope: Scope, invitation: Invitation) -> bool:
        """Keep one; False where one of this id was there before."""
        document: Document = {
            "subject_id": invitation.id,
            **invitation.model_dump(exclude={"id", "email", "clinic_ids"}),
            "clinic_ids": sorted(invitation.clinic_ids),
            "spent_at": None,
            "created_at": datetime.now(UTC),
            "version": 1,
        }
        require(scope, document)
        sealed = await self._vault.seal(invitation.id, DataClass.IDENTITY, {"email": invitation.email})
        try:
            await self._invites.insert_one(
                {"_id": invitation.id, **document, "sealed": {"identity": sealed}}, comment=reason_of(scope)
            )
        except DuplicateKeyError:
            return False
        return True

    @answering
    async def find(self, scope: Scope, invitation_id: str) -> Invite | None:
        """One invitation; None where it is gone, or its address was erased."""
        found = await self._invites.find_one(scoped(scope, {"_id": invitation_id}), comment=reason_of(scope))
        if found is None:
            return None
        sealed = found["sealed"]
        [opened] = await self._vault.open([sealed["identity"] if isinstance(sealed, dict) else None])
        if opened is None or opened is ERASED:
            return None
        known = {name: found[name] for name in Invitation.model_fields if name in found}
        invitation = Invitation.model_validate({**known, "id": invitation_id, "email": opened["email"]})
        spent_at = found["spent_at"]
        return Invite(invitation, spent_at if isinstance(spent_at, datetime) else None)

    @answering
    async def spend(self, scope: Scope, invitation_id: str, at: datetime) -> bool:
        """Use it up; False where it was."""
        done = await self._invites.update_one(
            scoped(scope, {"_id": invitation_id, "spent_at": None}),
            {"$set": {"spent_at": at}, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )
        return done.matched_count == 1
