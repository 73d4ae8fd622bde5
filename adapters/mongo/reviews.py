"""Reviews: stars in clear, words sealed under their author's identity key. One per visit, changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Opened, Vault
from adapters.mongo.publishing import WasPublished
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.cursor import decode_cursor, encode_cursor
from models.data_classes import DataClass
from models.errors import Code, VisitNowError, not_found
from models.identity import Scope
from models.ports import Page
from models.reviews import Opinion, Rating, Review, ReviewState

_CLEAR: Final = ("rating", "nps")

DECLARED: Final = Declared(
    "reviews",
    (
        IndexModel(
            [("provider_id", ASCENDING), ("live", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)],
            name="of_provider",
        ),
        IndexModel([("provider_id", ASCENDING), ("live", ASCENDING), ("rating", ASCENDING)], name="ratings"),
        IndexModel([("state", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="by_state"),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("tenant_id", ASCENDING)], name="tenant"),
        IndexModel([("updated_at", ASCENDING)], name="unheard", partialFilterExpression={"unheard": True}),
    ),
)

_REPLACED: Final = ("state", "live", "unheard", "sealed", "updated_at")


class MongoReviews:
    """Implements `models.ports.Reviews` on the collection `reviews`; `live` says what everybody may read."""

    def __init__(self, database: Database, vault: Vault, on_published: WasPublished) -> None:
        """`on_published` is called with a provider's and its practitioner's id after its rating may have changed."""
        self._reviews: Collection = database["reviews"]
        self._vault = vault
        self._on_published = on_published

    @answering
    async def put(self, scope: Scope, review: Review) -> Review:
        """Keep it, or its opinion in place of the one that is there; the review as it then stands."""
        document: Document = {**_document(review), "sealed": await self._sealed(review)}
        require(scope, document)
        try:
            await self._reviews.insert_one(document, comment=reason_of(scope))
        except DuplicateKeyError:
            before = await self._find(scope, review.id)
            if before is None:
                raise not_found() from None
            if before.opinion == review.opinion:
                return before
            return await self._replace(scope, review, document)
        await self._on_published(review.provider_id, review.practitioner_id)
        return review

    async def _replace(self, scope: Scope, review: Review, document: Document) -> Review:
        fields: Document = {name: document[name] for name in (*_CLEAR, *_REPLACED)}
        return await self._changed(scope, {"_id": review.id}, fields)

    async def _sealed(self, review: Review) -> Document | None:
        if review.opinion.comment is None:
            return None
        words: Document = {"comment": review.opinion.comment}
        return {"identity": await self._vault.seal(review.subject_id, DataClass.IDENTITY, words)}

    @answering
    async def decide(self, scope: Scope, review_id: str, state: ReviewState, version: int, at: datetime) -> Review:
        """Publish or withhold that version. Raises `not_found`, and `stale` where it was changed meanwhile."""
        before = await self._find(scope, review_id)
        if before is None:
            raise not_found()
        if before.state is state and before.version in {version, version + 1}:
            return before
        fields: Document = {"state": state, "live": state is ReviewState.PUBLISHED, "updated_at": at}
        return await self._changed(scope, {"_id": review_id, "version": version}, fields)

    async def _changed(self, scope: Scope, query: Document, fields: Document) -> Review:
        after = await self._reviews.find_one_and_update(
            scoped(scope, query),
            {"$set": fields, "$inc": {"version": 1}},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        if after is None:
            raise VisitNowError(Code.STALE)
        [review] = await self._opened([after])
        await self._on_published(review.provider_id, review.practitioner_id)
        return review

    @answering
    async def find(self, scope: Scope, review_id: str) -> Review | None:
        """One read by id."""
        return await self._find(scope, review_id)

    async def _find(self, scope: Scope, review_id: str) -> Review | None:
        found = await self._reviews.find_one(scoped(scope, {"_id": review_id}), comment=reason_of(scope))
        return None if found is None else (await self._opened([found]))[0]

    @answering
    async def of_provider(self, scope: Scope, provider_id: str, limit: int, cursor: str | None) -> Page[Review]:
        """What is published of a provider, newest first. Raises `ValueError` for a foreign cursor."""
        query = scoped(scope, {"provider_id": provider_id, "live": True}, published=True)
        return await self._page(scope, query, limit, cursor)

    @answering
    async def in_state(self, scope: Scope, state: ReviewState, limit: int, cursor: str | None) -> Page[Review]:
        """What stands there, newest first. Raises `ValueError` for a foreign cursor."""
        return await self._page(scope, scoped(scope, {"state": state}), limit, cursor)

    async def _page(self, scope: Scope, query: Document, limit: int, cursor: str | None) -> Page[Review]:
        conditions = dict(query)
        if cursor is not None:
            last, last_id = decode_cursor(cursor, datetime, str)
            conditions["$or"] = [{"created_at": {"$lt": last}}, {"created_at": last, "_id": {"$lt": last_id}}]
        found = await self._reviews.find(
            conditions,
            sort=[("created_at", DESCENDING), ("_id", DESCENDING)],
            limit=limit + 1,
            comment=reason_of(scope),
        ).to_list(None)
        items = await self._opened(found[:limit])
        more = len(found) > limit
        return Page(items, encode_cursor(items[-1].created_at, items[-1].id) if more else None)

    @answering
    async def rating(self, scope: Scope, provider_id: str) -> Rating:
        """How many have rated a provider and with how many stars in all: one read of an index."""
        stages: list[Document] = [
            {"$match": scoped(scope, {"provider_id": provider_id, "live": True}, published=True)},
            {"$group": {"_id": None, "count": {"$sum": 1}, "total": {"$sum": "$rating"}}},
        ]
        found = await self._reviews.aggregate(stages, comment=reason_of(scope)).to_list(None)
        counts = {name: found[0][name] for name in Rating.model_fields} if found else {"count": 0, "total": 0}
        return Rating.model_validate(counts)

    async def _opened(self, found: Sequence[Document]) -> list[Review]:
        opened = await self._vault.open([_words_of(one) for one in found])
        return [_review(one, words) for one, words in zip(found, opened, strict=True)]


def _document(review: Review) -> Document:
    return {
        "_id": review.id,
        **review.model_dump(exclude={"id", "opinion", "erased"}),
        **review.opinion.model_dump(include=set(_CLEAR)),
        "live": review.state is ReviewState.PUBLISHED,
        # Somebody is to get in touch: stands until it is certain that the follow-up knows.
        "unheard": review.is_low,
    }


def _words_of(found: Document) -> bytes | None:
    sealed = found["sealed"]
    return sealed["identity"] if isinstance(sealed, dict) else None


def _review(found: Document, words: Opened) -> Review:
    known = {name: found[name] for name in Review.model_fields if name in found}
    comment = words["comment"] if isinstance(words, dict) else None
    opinion = Opinion.model_validate({**{name: found[name] for name in _CLEAR}, "comment": comment})
    return Review.model_validate({**known, "id": found["_id"], "opinion": opinion, "erased": words is ERASED})
