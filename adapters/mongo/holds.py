"""Legal holds: who forbids to erase what of whom, why and until when; ids, instants and the matter's own number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.errors import not_found
from models.holds import MOST_HOLDS, LegalHold
from models.identity import PLATFORM, Scope

_BY_END: Final = [(one, ASCENDING) for one in ("lifted_at", "until", "_id")]

DECLARED: Final = Declared(
    "legal_holds",
    [
        IndexModel([("subject_id", ASCENDING), *_BY_END], name="on_subject"),
        IndexModel([("account_id", ASCENDING), *_BY_END], name="on_account"),
        IndexModel(_BY_END, name="by_end"),
    ],
)


class MongoLegalHolds:
    """Implements `models.holds.LegalHolds` on the collection `legal_holds`."""

    def __init__(self, database: Database) -> None:
        """The application's own view of the database."""
        self._holds: Collection = database["legal_holds"]

    @answering
    async def place(self, scope: Scope, hold: LegalHold) -> LegalHold:
        """One insert. Raises `not_found` where the scope does not reach it."""
        document: Document = {"_id": hold.id, "tenant_id": PLATFORM, **hold.model_dump(exclude={"id"}), "version": 1}
        require(scope, document)
        stamps = {"created_at": hold.placed_at, "updated_at": hold.placed_at}
        try:
            await self._holds.insert_one({**document, **stamps}, comment=reason_of(scope))
        except DuplicateKeyError:
            before = await self._find(scope, hold.id)
            if before is None:
                raise not_found() from None
            return before
        return hold

    @answering
    async def find(self, scope: Scope, hold_id: str) -> LegalHold | None:
        """One read by id."""
        return await self._find(scope, hold_id)

    async def _find(self, scope: Scope, hold_id: str) -> LegalHold | None:
        found = await self._holds.find_one(scoped(scope, {"_id": hold_id}), comment=reason_of(scope))
        return None if found is None else _hold(found)

    @answering
    async def lift(self, scope: Scope, hold_id: str, by: str, at: datetime) -> LegalHold:
        """One conditional update; one that was lifted before stays as it is. Raises `not_found`."""
        after = await self._holds.find_one_and_update(
            scoped(scope, {"_id": hold_id, "lifted_at": None}),
            {"$set": {"lifted_at": at, "lifted_by": by, "updated_at": at}, "$inc": {"version": 1}},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        if after:
            return _hold(after)
        before = await self._find(scope, hold_id)
        if before is None:
            raise not_found()
        return before

    @answering
    async def standing(self, scope: Scope, subject_id: str, now: datetime) -> list[LegalHold]:
        """One read of two indexes, by their end."""
        return await self._standing(scope, [_about(subject_id)], now, MOST_HOLDS)

    @answering
    async def page(
        self, scope: Scope, subject_id: str | None, now: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> list[LegalHold]:
        """One read of an index or two, by their end and their id."""
        which = [] if subject_id is None else [_about(subject_id)]
        if after is not None:
            until, hold_id = after
            which.append({"$or": [{"until": {"$gt": until}}, {"until": until, "_id": {"$gt": hold_id}}]})
        return await self._standing(scope, which, now, limit)

    async def _standing(self, scope: Scope, which: Sequence[Document], now: datetime, limit: int) -> list[LegalHold]:
        query: Document = {"lifted_at": None, "until": {"$gt": now}}
        if which:
            query["$and"] = [*which]
        found = self._holds.find(
            scoped(scope, query),
            sort=[("until", ASCENDING), ("_id", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [_hold(one) for one in await found.to_list(None)]


def _about(subject_id: str) -> Document:
    return {"$or": [{"subject_id": subject_id}, {"account_id": subject_id}]}


def _hold(found: Document) -> LegalHold:
    known = {name: found[name] for name in LegalHold.model_fields if name in found}
    return LegalHold.model_validate({**known, "id": found["_id"]})
