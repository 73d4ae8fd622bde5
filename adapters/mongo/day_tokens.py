"""The tokens of a doctor's day: one document with the visits in the order in which they were numbered.

Numbering is one conditional update of it, so that of many who look at once each visit gets one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, literal
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.day_list import day_key
from models.day_list_ports import DoctorsTokens
from models.errors import not_found
from models.identity import Scope

DECLARED: Final = Declared("day_tokens", ())


class MongoTokens:
    """Implements `models.day_list_ports.Tokens` on the collection `day_tokens`."""

    def __init__(self, database: Database) -> None:
        """The application's database."""
        self._tokens: Collection = database["day_tokens"]

    @answering
    async def of_day(
        self, scope: Scope, clinic_id: str, provider_ids: Sequence[str], day: date
    ) -> dict[str, list[str]]:
        """One read by the ids of the days."""
        keys = [day_key(one, day) for one in provider_ids]
        found = self._tokens.find(
            scoped(scope, {"_id": {"$in": keys}, "clinic_id": clinic_id}), comment=reason_of(scope)
        )
        return {str(one["provider_id"]): _given(one) for one in await found.to_list(None)}

    @answering
    async def give(self, scope: Scope, whose: DoctorsTokens, visits: Sequence[str]) -> list[str]:
        """One update; the first of a day makes its document before. Raises `not_found`."""
        given = await self._append(scope, whose, visits)
        if given is None:
            await self._begin(scope, whose)
            given = await self._append(scope, whose, visits)
        if given is None:
            raise not_found()
        return given

    async def _append(self, scope: Scope, whose: DoctorsTokens, visits: Sequence[str]) -> list[str] | None:
        new = {"$filter": {"input": literal(list(visits)), "cond": {"$not": {"$in": ["$$this", "$given"]}}}}
        after = await self._tokens.find_one_and_update(
            scoped(scope, {"_id": day_key(whose.provider_id, whose.day)}),
            [
                {
                    "$set": {
                        "given": {"$concatArrays": ["$given", new]},
                        "version": {"$add": ["$version", 1]},
                        "updated_at": literal(datetime.now(UTC)),
                    }
                }
            ],
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        return _given(after) if after else None

    async def _begin(self, scope: Scope, whose: DoctorsTokens) -> None:
        document: Document = {**whose._asdict(), "day": whose.day.isoformat(), "given": [], "version": 1}
        require(scope, document)
        now = datetime.now(UTC)
        key = day_key(whose.provider_id, whose.day)
        with suppress(DuplicateKeyError):  # somebody else has made it a moment ago
            await self._tokens.insert_one({"_id": key, **document, "created_at": now, "updated_at": now})


def _given(found: Document) -> list[str]:
    given = found["given"]
    return [str(one) for one in given] if isinstance(given, list) else []
