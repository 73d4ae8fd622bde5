"""What lies about in the collections of others: begun and left, or over and still there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from pymongo import ASCENDING

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import Vault
from adapters.mongo.scopes import reason_of, scoped
from models.credentials import OTP_KEPT
from models.data_classes import DataClass
from models.deletions import DeletionRef, DeletionState
from models.identity import Scope
from models.messaging import OPENING, MessageState
from models.publishing import LeaveRef, LeaveState
from models.rights import RightsRef
from models.upkeep import DRAFTS_KEPT, INVITES_KEPT, UnheardRequest, UnheardReview, Unsent

_OLDEST: Final = [("created_at", ASCENDING)]
_LONGEST_UNTOUCHED: Final = [("updated_at", ASCENDING)]


class _Strangers(NamedTuple):
    """Documents that lapse, each of which may have brought a subject of its own."""

    collection: Collection
    field: str
    before: datetime


class MongoUpkeep:
    """Implements `models.upkeep.Upkeep`; the collections' own repositories declare the indexes."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` has the keys of those who never came."""
        self._leaves: Collection = database["leaves"]
        self._notifications: Collection = database["notifications"]
        self._challenges: Collection = database["otp_challenges"]
        self._applications: Collection = database["applications"]
        self._invites: Collection = database["invites"]
        self._users: Collection = database["users"]
        self._reviews: Collection = database["reviews"]
        self._requests: Collection = database["rights_requests"]
        self._deletions: Collection = database["deletions"]
        self._vault = vault

    @answering
    async def unfinished_leaves(self, scope: Scope, before: datetime, limit: int) -> list[LeaveRef]:
        """One read by an index of such leaves only."""
        query: Document = {
            "state": {"$in": [LeaveState.TAKING, LeaveState.ENDING]},
            "updated_at": {"$lt": before},
        }
        found = await self._leaves.find(
            scoped(scope, query),
            {"tenant_id": 1},
            sort=_LONGEST_UNTOUCHED,
            limit=limit,
            comment=reason_of(scope),
        ).to_list(None)
        return [LeaveRef.model_validate({"tenant_id": one["tenant_id"], "leave_id": one["_id"]}) for one in found]

    @answering
    async def unsent(self, scope: Scope, before: datetime, limit: int) -> list[Unsent]:
        """One read by an index of such messages only; those of a notice are its workflow's business."""
        query: Document = {
            "state": MessageState.QUEUED,
            "attempts": 0,
            "notice_id": None,
            "created_at": {"$lt": before},
        }
        found = await self._notifications.find(
            scoped(scope, query),
            dict.fromkeys(Unsent.model_fields.keys() - {"message_id"}, 1),
            sort=_OLDEST,
            limit=limit,
            comment=reason_of(scope),
        ).to_list(None)
        return [Unsent.model_validate({"message_id": one.pop("_id"), **one}) for one in found]

    @answering
    async def unheard_reviews(self, scope: Scope, before: datetime, limit: int) -> list[UnheardReview]:
        """One read by an index of such reviews only."""
        found = await self._unheard(scope, self._reviews, ("tenant_id", "appointment_id", "subject_id"), before, limit)
        return [UnheardReview.model_validate({"review_id": one.pop("_id"), **one}) for one in found]

    @answering
    async def unheard_requests(self, scope: Scope, before: datetime, limit: int) -> list[UnheardRequest]:
        """One read by an index of such requests only."""
        known = tuple(name for name in RightsRef.model_fields if name != "request_id")
        found = await self._unheard(scope, self._requests, (*known, "state"), before, limit)
        return [
            UnheardRequest.model_validate(
                {
                    "about": {"request_id": one["_id"], **{name: one[name] for name in known}},
                    "state": one["state"],
                    "version": one["version"],
                }
            )
            for one in found
        ]

    async def _unheard(
        self, scope: Scope, collection: Collection, fields: Sequence[str], before: datetime, limit: int
    ) -> list[Document]:
        return await collection.find(
            scoped(scope, {"unheard": True, "updated_at": {"$lt": before}}),
            [*fields, "version"],
            sort=_LONGEST_UNTOUCHED,
            limit=limit,
            comment=reason_of(scope),
        ).to_list(None)

    @answering
    async def heard(self, scope: Scope, what: UnheardReview | UnheardRequest) -> None:
        """One conditional update, of a mark that nobody else reads."""
        collection, key = (
            (self._reviews, what.review_id)
            if isinstance(what, UnheardReview)
            else (self._requests, what.about.request_id)
        )
        await collection.update_one(
            scoped(scope, {"_id": key, "version": what.version}), {"$unset": {"unheard": ""}}, comment=reason_of(scope)
        )

    @answering
    async def unbegun_deletions(self, scope: Scope, before: datetime, limit: int) -> list[DeletionRef]:
        """One indexed read; whoever begins one takes it out of this state at once."""
        query: Document = {"state": DeletionState.IDENTITY_CONFIRMED, "confirmed_at": {"$lt": before}}
        found = await self._deletions.find(
            scoped(scope, query),
            dict.fromkeys(DeletionRef.model_fields.keys() - {"deletion_id"}, 1),
            sort=[("confirmed_at", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        ).to_list(None)
        return [DeletionRef.model_validate({"deletion_id": one.pop("_id"), **one}) for one in found]

    @answering
    async def forget_words(self, scope: Scope, before: datetime) -> int:
        """One update by an index of messages that have words."""
        query: Document = {
            "template": {"$in": sorted(OPENING)},
            "expires_at": {"$lt": before},
            "sealed.identity": {"$exists": True},
        }
        done = await self._notifications.update_many(
            scoped(scope, query), {"$set": {"sealed": None}, "$inc": {"version": 1}}, comment=reason_of(scope)
        )
        return done.modified_count

    @answering
    async def forget_strangers(self, scope: Scope, at: datetime, limit: int) -> int:
        """Keys first: whoever is interrupted finds the document again, and with it whose key is still to go."""
        kinds = (
            _Strangers(self._challenges, "expires_at", at - OTP_KEPT),
            _Strangers(self._applications, "lapses_at", at - DRAFTS_KEPT),
            _Strangers(self._invites, "expires_at", at - INVITES_KEPT),
        )
        return sum([await self._forget(scope, kind, limit) for kind in kinds])

    async def _forget(self, scope: Scope, kind: _Strangers, limit: int) -> int:
        over: Document = {kind.field: {"$lt": kind.before}}
        found = await kind.collection.find(
            scoped(scope, over),
            {"subject_id": 1},
            sort=[(kind.field, ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        ).to_list(None)
        if not found:
            return 0
        subjects = {str(one["subject_id"]) for one in found}
        known = await self._users.find(
            scoped(scope, {"_id": {"$in": sorted(subjects)}}), {"_id": 1}, comment=reason_of(scope)
        ).to_list(None)
        await self._vault.destroy(sorted(subjects - {str(one["_id"]) for one in known}), DataClass.IDENTITY)
        done = await kind.collection.delete_many(
            scoped(scope, {"_id": {"$in": [one["_id"] for one in found]}, **over}), comment=reason_of(scope)
        )
        return done.deleted_count
