"""Requests by right: when they came and are due in clear, what they and their answers say sealed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.cursor import decode_cursor, encode_cursor
from models.data_classes import DataClass
from models.errors import Code, VisitNowError, not_found
from models.identity import Scope
from models.ports import Page
from models.rights import RightsKind, RightsOutcome, RightsRequest, RightsState

_SEALED: Final = ("text", "answer")

DECLARED: Final = Declared(
    "rights_requests",
    (
        IndexModel(
            [("subject_id", ASCENDING), ("kind", ASCENDING), ("received_at", DESCENDING), ("_id", DESCENDING)],
            name="of_subject",
        ),
        IndexModel([("subject_id", ASCENDING), ("state", ASCENDING)], name="waiting"),
        IndexModel(
            [("tenant_id", ASCENDING), ("state", ASCENDING), ("due_at", ASCENDING), ("_id", ASCENDING)], name="by_state"
        ),
        IndexModel([("updated_at", ASCENDING)], name="unheard", partialFilterExpression={"unheard": True}),
    ),
)


class MongoRightsRequests:
    """Implements `models.rights_ports.RightsRequests` on the collection `rights_requests`."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals the words under each person's identity key."""
        self._requests: Collection = database["rights_requests"]
        self._vault = vault

    @answering
    async def keep(self, scope: Scope, request: RightsRequest) -> RightsRequest:
        """One insert. Raises `not_found` where the scope does not reach it, or the id is somebody else's."""
        document: Document = {"_id": request.id, **request.model_dump(exclude={"id", *_SEALED})}
        require(scope, document)
        # Stands until it is certain that its workflow knows; an answer sets it again.
        document["unheard"] = True
        words: Document = {"text": request.text}
        document["sealed"] = {"text": await self._vault.seal(request.subject_id, DataClass.IDENTITY, words)}
        try:
            await self._requests.insert_one({**document, "updated_at": request.received_at}, comment=reason_of(scope))
        except DuplicateKeyError:
            before = await self._find(scope, request.id)
            if before is None:
                raise not_found() from None
            return before
        return request

    @answering
    async def find(self, scope: Scope, request_id: str) -> RightsRequest | None:
        """One read by id."""
        return await self._find(scope, request_id)

    async def _find(self, scope: Scope, request_id: str) -> RightsRequest | None:
        found = await self._requests.find_one(scoped(scope, {"_id": request_id}), comment=reason_of(scope))
        return None if found is None else (await self._opened([found]))[0]

    @answering
    async def waiting(self, scope: Scope, subject_id: str) -> int:
        """One count in an index."""
        query = scoped(scope, {"subject_id": subject_id, "state": RightsState.RECEIVED})
        return await self._requests.count_documents(query, comment=reason_of(scope))

    @answering
    async def of_subject(
        self, scope: Scope, subject_id: str, kind: RightsKind, limit: int, cursor: str | None
    ) -> Page[RightsRequest]:
        """One indexed read, newest first. Raises `ValueError` for a foreign cursor."""
        query: Document = {"subject_id": subject_id, "kind": kind}
        return await self._page(scope, query, ("received_at", DESCENDING), limit, cursor)

    @answering
    async def in_state(self, scope: Scope, state: RightsState, limit: int, cursor: str | None) -> Page[RightsRequest]:
        """One indexed read, the first due first. Raises `ValueError` for a foreign cursor."""
        return await self._page(scope, {"state": state}, ("due_at", ASCENDING), limit, cursor)

    async def _page(
        self, scope: Scope, query: Document, order: tuple[str, int], limit: int, cursor: str | None
    ) -> Page[RightsRequest]:
        field, direction = order
        if cursor is not None:
            last, last_id = decode_cursor(cursor, datetime, str)
            further = "$gt" if direction == ASCENDING else "$lt"
            query = {**query, "$or": [{field: {further: last}}, {field: last, "_id": {further: last_id}}]}
        found = await self._requests.find(
            scoped(scope, query), sort=[order, ("_id", direction)], limit=limit + 1, comment=reason_of(scope)
        ).to_list(None)
        items = await self._opened(found[:limit])
        if len(found) <= limit:
            return Page(items, None)
        return Page(items, encode_cursor(getattr(items[-1], field), items[-1].id))

    @answering
    async def reach(self, scope: Scope, request_id: str, percent: int) -> bool:
        """One conditional update; the clock of what was answered has stopped."""
        done = await self._requests.update_one(
            scoped(scope, {"_id": request_id, "state": RightsState.RECEIVED}),
            {"$max": {"reached": percent}},
            comment=reason_of(scope),
        )
        return done.matched_count > 0

    @answering
    async def answer(
        self, scope: Scope, request_id: str, outcome: RightsOutcome, text: str, at: datetime
    ) -> RightsRequest:
        """One conditional update. Raises `not_found`, and `state_conflict` where it has another answer."""
        before = await self._find(scope, request_id)
        if before is None:
            raise not_found()
        sealed = await self._vault.seal(before.subject_id, DataClass.IDENTITY, {"answer": text})
        values: Document = {
            "state": RightsState.ANSWERED,
            "outcome": outcome,
            "answered_at": at,
            "updated_at": at,
            "unheard": True,
            "sealed.answer": sealed,
        }
        after = await self._requests.find_one_and_update(
            scoped(scope, {"_id": request_id, "state": RightsState.RECEIVED}),
            {"$set": values, "$inc": {"version": 1}},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        if after:
            return (await self._opened([after]))[0]
        stands = await self._find(scope, request_id)
        if stands is None or (stands.outcome, stands.answer) != (outcome, text):
            raise VisitNowError(Code.STATE_CONFLICT)
        return stands

    async def _opened(self, found: Sequence[Document]) -> list[RightsRequest]:
        """Whatever was sealed under a key that is gone reads as if it had not been said."""
        texts = await self._vault.open([_sealed(one, "text") for one in found])
        answers = await self._vault.open([_sealed(one, "answer") for one in found])
        return [
            RightsRequest.model_validate(
                {
                    **{name: one[name] for name in RightsRequest.model_fields if name in one},
                    "id": one["_id"],
                    "text": text["text"] if isinstance(text, dict) else None,
                    "answer": answer["answer"] if isinstance(answer, dict) else None,
                }
            )
            for one, text, answer in zip(found, texts, answers, strict=True)
        ]


def _sealed(found: Document, name: str) -> bytes | None:
    sealed = found["sealed"]
    return sealed.get(name) if isinstance(sealed, dict) else None
