"""Deletions: how far each is, what it waits for and what it left behind in clear ids and times; its reason sealed."""

from __future__ import annotations

from collections.abc import Collection as Several
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import OUTBOX, Declared
from adapters.mongo.scopes import each_within, reason_of, require, scoped
from models.base import Model
from models.booking import SYSTEM, Actor, ActorKind
from models.compliance import AuditEntry
from models.data_classes import DataClass, RetentionClass
from models.deletions import (
    GONE,
    LEAVING,
    OPEN,
    Deletion,
    DeletionState,
    LogEntry,
    Retained,
    audit_of_deletion,
    sources_of,
)
from models.erasure import STORES, ErasureReceipt, Store
from models.errors import UnavailableError, not_found
from models.identity import PLATFORM, Scope, Subject, System
from models.together import Together

_RELAY: Final = System("the outbox relay serves all tenants")
_CONFIRMED: Final[Document] = {"state": {"$in": sorted(LEAVING | GONE)}}
_APART: Final = {"id", "reason", "receipts"}
_STAMPS: Final[Mapping[DeletionState, str]] = {
    DeletionState.RESTRICTED: "restricted_at",
    DeletionState.ERASED: "erased_at",
    DeletionState.CANCELLED: "cancelled_at",
}

DECLARED: Final = Declared(
    "deletions",
    (
        # Nobody has two deletions that go on.
        IndexModel([("about", ASCENDING)], name="open", unique=True, partialFilterExpression={"open": True}),
        IndexModel([("about", ASCENDING), ("state", ASCENDING)], name="standing"),
        IndexModel([("subject_id", ASCENDING), ("requested_at", DESCENDING)], name="of_subject"),
        IndexModel([("state", ASCENDING), ("confirmed_at", ASCENDING)], name="by_state"),
        IndexModel([("state", ASCENDING), ("restricted_at", ASCENDING)], name="gone"),
        IndexModel(
            [("next_due", ASCENDING)], name="left_behind", partialFilterExpression={"next_due": {"$type": "date"}}
        ),
        OUTBOX,
    ),
)


class _Found(Model):
    """How much of each part a store had before anything of it was erased."""

    found: dict[Store, dict[RetentionClass, dict[str, int]]]


class MongoDeletions:
    """Implements `models.deletions_ports.Deletions` on the collection `deletions`, and its entries for the audit."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals each reason under the person's identity key."""
        self._deletions: Collection = database["deletions"]
        self._vault = vault
        self._standing = Together(self._stand, at_once=4)

    @answering
    async def add(self, scope: Scope, deletion: Deletion) -> Deletion:
        """One insert; two indexes tell where there is one already. Raises `not_found` beyond the scope."""
        document: Document = {
            "_id": deletion.id,
            "tenant_id": PLATFORM,
            **deletion.model_dump(exclude=_APART),
            "about": deletion.about,
            "receipts": {},
            "open": deletion.state in OPEN,
        }
        require(scope, document)
        if deletion.reason is not None:
            words: Document = {"reason": deletion.reason}
            document["sealed"] = {"identity": await self._vault.seal(deletion.subject_id, DataClass.IDENTITY, words)}
        patient = Actor(kind=ActorKind.PATIENT, id=deletion.subject_id)
        entry = audit_of_deletion(deletion, deletion.state, patient, deletion.requested_at)
        stamps = {"created_at": deletion.requested_at, "updated_at": deletion.requested_at}
        try:
            await self._deletions.insert_one(
                {**document, **stamps, "outbox": [entry.model_dump()]}, comment=reason_of(scope)
            )
        except DuplicateKeyError:
            return await self._instead(scope, deletion)
        return deletion

    async def _instead(self, scope: Scope, deletion: Deletion) -> Deletion:
        known = await self._one(scope, {"_id": deletion.id})
        found = known or await self._one(scope, {"about": deletion.about, "open": True})
        if found is None:
            msg = "the deletion that was in the way has just ended"
            raise UnavailableError(msg)
        return found

    @answering
    async def find(self, scope: Scope, deletion_id: str) -> Deletion | None:
        """One read by id."""
        return await self._one(scope, {"_id": deletion_id})

    @answering
    async def of_subject(self, scope: Scope, subject_id: str) -> list[Deletion]:
        """One indexed read, newest first."""
        found = self._deletions.find(
            scoped(scope, {"subject_id": subject_id}),
            sort=[("requested_at", DESCENDING)],
            limit=100,
            comment=reason_of(scope),
        )
        return await self._opened(await found.to_list(None))

    @answering
    async def ask_again(self, scope: Scope, deletion_id: str, challenge_id: str) -> bool:
        """One conditional update."""
        query: Document = {"_id": deletion_id, "state": DeletionState.REQUESTED}
        return await self._set(scope, query, {"challenge_id": challenge_id})

    @answering
    async def confirm(self, scope: Scope, deletion_id: str, at: datetime, grace_until: datetime) -> bool:
        """One conditional update, with its entry for the audit."""
        found = await self._one(scope, {"_id": deletion_id})
        if found is None:
            return False
        to = DeletionState.IDENTITY_CONFIRMED
        entry = audit_of_deletion(found, to, Actor(kind=ActorKind.PATIENT, id=found.subject_id), at)
        done = await self._deletions.update_one(
            scoped(scope, {"_id": deletion_id, "state": DeletionState.REQUESTED}),
            {
                "$set": {"state": to, "confirmed_at": at, "grace_until": grace_until, "updated_at": at},
                "$push": {"outbox": entry.model_dump()},
                "$inc": {"version": 1},
            },
            comment=reason_of(scope),
        )
        return done.matched_count == 1

    @answering
    async def advance(
        self, scope: Scope, deletion_id: str, to: DeletionState, at: datetime, actor: Actor = SYSTEM
    ) -> Deletion:
        """One conditional update, with its entry for the audit. Raises `not_found`."""
        before = await self._one(scope, {"_id": deletion_id})
        if before is None:
            raise not_found()
        entry = audit_of_deletion(before, to, actor, at)
        values: Document = {"state": to, "open": to in OPEN, "updated_at": at}
        if to in _STAMPS:
            values[_STAMPS[to]] = at
        after = await self._deletions.find_one_and_update(
            scoped(scope, {"_id": deletion_id, "state": {"$in": sorted(sources_of(to))}}),
            {"$set": values, "$push": {"outbox": entry.model_dump()}, "$inc": {"version": 1}},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        return (await self._opened([after]))[0] if after else await self._there(scope, deletion_id)

    @answering
    async def note_waiting(self, scope: Scope, deletion_id: str, waits_for: Several[str]) -> None:
        """One update."""
        await self._set(scope, {"_id": deletion_id}, {"waits_for": sorted(waits_for)})

    @answering
    async def plan(self, scope: Scope, deletion_id: str, retained: Sequence[Retained]) -> None:
        """One update of what is not erased yet."""
        found = await self._one(scope, {"_id": deletion_id, "state": DeletionState.ERASING})
        if found is None:
            return
        left = _left_behind(retained, found.dependant_id)
        await self._set(scope, {"_id": deletion_id, "state": DeletionState.ERASING}, left)

    @answering
    async def found(
        self, scope: Scope, deletion_id: str, of: tuple[Store, RetentionClass], counts: Mapping[str, int]
    ) -> Mapping[str, int]:
        """One update by id, which only ever raises a number."""
        if not counts:
            return counts
        store, retained_under = of
        most: Document = {f"found.{store}.{retained_under}.{part}": count for part, count in counts.items()}
        after = await self._deletions.find_one_and_update(
            scoped(scope, {"_id": deletion_id}),
            {"$max": most},
            {"found": 1, "_id": 0},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        if after is None:
            raise not_found()
        return _Found.model_validate(after).found[store][retained_under]

    @answering
    async def receive(self, scope: Scope, deletion_id: str, receipts: Sequence[ErasureReceipt]) -> None:
        """One conditional update per store and class: whoever comes twice adds nothing."""
        stores = sorted({(one.store, one.data_class) for one in receipts})
        for store, retained_under in stores:
            place = f"receipts.{store}.{retained_under}"
            given = [one.model_dump() for one in receipts if (one.store, one.data_class) == (store, retained_under)]
            await self._set(scope, {"_id": deletion_id, place: {"$exists": False}}, {place: given})

    @answering
    async def settle(self, scope: Scope, deletion: Deletion, retained: Sequence[Retained]) -> bool:
        """One update of exactly the version that was read."""
        return await self._set(
            scope, {"_id": deletion.id, "version": deletion.version}, _left_behind(retained, deletion.dependant_id)
        )

    @answering
    async def certify(self, scope: Scope, deletion: Deletion, certificate: str) -> bool:
        """One update of exactly the version that was read."""
        values: Document = {
            "certificate": certificate,
            "certificate_number": deletion.certificate_number,
            "backups_lapse_at": deletion.backups_lapse_at,
        }
        return await self._set(scope, {"_id": deletion.id, "version": deletion.version}, values)

    @answering
    async def retained_due(self, scope: Scope, before: datetime, limit: int) -> list[str]:
        """One read of an index of what was left behind."""
        found = self._deletions.find(
            scoped(scope, {"next_due": {"$type": "date", "$lte": before}, "state": DeletionState.ERASED}),
            {"_id": 1},
            sort=[("next_due", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [str(one["_id"]) for one in await found.to_list(None)]

    @answering
    async def look_again(self, scope: Scope, subject_id: str, hold_id: str, at: datetime) -> None:
        """One update of the account's own deletions; what stays of a child goes record by record."""
        held: Document = {"$elemMatch": {"hold_id": hold_id, "erased_at": None}}
        await self._deletions.update_many(
            scoped(scope, {"subject_id": subject_id, "dependant_id": None, "retained": held}),
            {"$set": {"next_due": at}, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )

    @answering
    async def leaving(self, scope: Scope, since: datetime) -> Mapping[str, DeletionState]:
        """One read of two indexes."""
        query: Document = {
            "$or": [
                {"state": {"$in": sorted(LEAVING)}},
                {"state": {"$in": sorted(GONE)}, "restricted_at": {"$gte": since}},
            ]
        }
        found = self._deletions.find(scoped(scope, query), {"about": 1, "state": 1}, comment=reason_of(scope))
        return {str(one["about"]): DeletionState(str(one["state"])) for one in await found.to_list(None)}

    @answering
    async def standing(self, scope: Scope, about: str) -> DeletionState | None:
        """One indexed read; those who ask about themselves and their own at the same time share it."""
        if isinstance(scope, Subject):
            return await self._standing.ask(None, (scope.subject_id, about))
        found = await self._deletions.find_one(
            scoped(scope, {"about": about, **_CONFIRMED}), {"state": 1}, comment=reason_of(scope)
        )
        return None if found is None else DeletionState(str(found["state"]))

    async def _stand(self, _: None, asked: Sequence[tuple[str, str]]) -> list[DeletionState | None]:
        """How it stands with each of some subjects' people."""
        found = self._deletions.find(
            {**each_within("about", asked), **_CONFIRMED}, {"subject_id": 1, "about": 1, "state": 1}
        )
        states = {
            (str(one["subject_id"]), str(one["about"])): DeletionState(str(one["state"]))
            for one in await found.to_list(None)
        }
        return [states.get(one) for one in asked]

    @answering
    async def restore(self, scope: Scope, entry: LogEntry) -> None:
        """One upsert of what the entry tells, after one of an earlier wish that was taken back since."""
        known: Document = {
            "tenant_id": PLATFORM,
            "subject_id": entry.subject_id,
            "dependant_id": entry.dependant_id,
            "about": entry.about,
            "requested_at": entry.requested_at,
        }
        require(scope, known)
        # Nobody has two that go on: this one began after the other had been taken back.
        await self._deletions.update_many(
            scoped(scope, {"about": entry.about, "open": True, "_id": {"$ne": entry.deletion_id}}),
            {"$set": {"state": DeletionState.CANCELLED, "open": False, "cancelled_at": entry.requested_at}},
            comment=reason_of(scope),
        )
        left = _left_behind(entry.retained, entry.dependant_id)
        await self._deletions.update_one(
            scoped(scope, {"_id": entry.deletion_id}),
            {
                "$set": {**known, **_so_far(entry), **left},
                "$setOnInsert": {
                    "challenge_id": "restored",
                    "body_hash": "restored",
                    "receipts": {},
                    "created_at": entry.requested_at,
                },
                "$inc": {"version": 1},
            },
            upsert=True,
            comment=reason_of(scope),
        )

    @answering
    async def entries(self, limit: int) -> list[AuditEntry]:
        """One read by an index of documents in which something waits."""
        found = self._deletions.find(
            {"outbox.0": {"$exists": True}},
            {"outbox": 1},
            sort=[("outbox.at", ASCENDING)],
            limit=limit,
            comment=reason_of(_RELAY),
        )
        waiting = [AuditEntry.model_validate(entry) for one in await found.to_list(None) for entry in _outbox(one)]
        return sorted(waiting, key=lambda entry: entry.at)[:limit]

    @answering
    async def carried(self, entries: Sequence[AuditEntry]) -> None:
        """One update of the documents in which they wait; an entry that is gone already stays so."""
        await self._deletions.update_many(
            {"outbox.0": {"$exists": True}, "outbox.at": {"$in": [one.at for one in entries]}},
            {"$pull": {"outbox": {"id": {"$in": [one.id for one in entries]}}}},
            comment=reason_of(_RELAY),
        )

    async def _set(self, scope: Scope, query: Document, values: Document) -> bool:
        done = await self._deletions.update_one(
            scoped(scope, query), {"$set": values, "$inc": {"version": 1}}, comment=reason_of(scope)
        )
        return done.matched_count == 1

    async def _one(self, scope: Scope, query: Document) -> Deletion | None:
        found = await self._deletions.find_one(scoped(scope, query), comment=reason_of(scope))
        return None if found is None else (await self._opened([found]))[0]

    async def _there(self, scope: Scope, deletion_id: str) -> Deletion:
        found = await self._one(scope, {"_id": deletion_id})
        if found is None:
            raise not_found()
        return found

    async def _opened(self, found: Sequence[Document]) -> list[Deletion]:
        opened = await self._vault.open([_sealed(one) for one in found])
        return [
            Deletion.model_validate(
                {
                    **{name: one[name] for name in Deletion.model_fields if name in one and name not in _APART},
                    "id": one["_id"],
                    "reason": words["reason"] if words and words is not ERASED else None,
                    "receipts": _receipts(one),
                }
            )
            for one, words in zip(found, opened, strict=True)
        ]


def _so_far(entry: LogEntry) -> Document:
    """How far a deletion is that a log tells of."""
    return {
        "state": entry.state,
        "open": entry.state in OPEN,
        "confirmed_at": entry.confirmed_at,
        "grace_until": entry.restricted_at,
        "restricted_at": entry.restricted_at,
        "erased_at": entry.at if entry.state is DeletionState.ERASED else None,
        "updated_at": entry.at,
    }


def _left_behind(retained: Sequence[Retained], dependant_id: str | None) -> Document:
    # What stays of somebody without an account goes record by record, with whose account it is.
    waiting = [one.until for one in retained if one.erased_at is None and dependant_id is None]
    return {"retained": [one.model_dump() for one in retained], "next_due": min(waiting, default=None)}


def _receipts(found: Document) -> list[object]:
    kept = found.get("receipts")
    if not isinstance(kept, dict):
        return []
    order = [(store, one) for store in STORES for one in RetentionClass]
    return [receipt for store, one in order for receipt in kept.get(store, {}).get(one, [])]


def _sealed(found: Document) -> bytes | None:
    sealed = found.get("sealed")
    return sealed.get("identity") if isinstance(sealed, dict) else None


def _outbox(found: Document) -> list[object]:
    waiting = found.get("outbox")
    return waiting if isinstance(waiting, list) else []
