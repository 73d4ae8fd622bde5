"""Messages to people: to whom and with which words is sealed, how far each has come is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id, literal
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.data_classes import DataClass
from models.errors import not_found
from models.identity import Scope
from models.messaging import MESSAGE_TRANSITIONS, Begun, Delivered, Message, MessageState, Standing, Word

DECLARED: Final = Declared(
    "notifications",
    (
        IndexModel([("notice_id", ASCENDING)], name="notice", partialFilterExpression={"notice_id": {"$gt": ""}}),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("tenant_id", ASCENDING), ("created_at", ASCENDING)], name="age"),
        IndexModel([("provider_id", ASCENDING)], name="provider", partialFilterExpression={"provider_id": {"$gt": ""}}),
        IndexModel(
            [("created_at", ASCENDING)],
            name="unsent",
            partialFilterExpression={"state": MessageState.QUEUED, "attempts": 0},
        ),
        IndexModel(
            [("template", ASCENDING), ("expires_at", ASCENDING)],
            name="worded",
            partialFilterExpression={"sealed.identity": {"$exists": True}},
        ),
    ),
)

_PERSONAL: Final = {"to", "params", "words"}
_LOG: Final = {"$ifNull": ["$log", []]}
_LOG_KEPT: Final = 100
_CLEAR: Final = tuple(name for name in Message.model_fields if name not in {"id", *_PERSONAL})


class MongoNotifications:
    """Implements `models.notice_ports.Notifications`; `attempted_at` stands while tries are unsettled."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals addresses and words under each subject's identity key."""
        self._notifications: Collection = database["notifications"]
        self._vault = vault

    @answering
    async def keep(self, scope: Scope, message: Message, at: datetime) -> None:
        """One insert. Raises `not_found` where the scope does not reach the message, or the id is another tenant's."""
        document: Document = {
            "_id": message.id,
            **message.model_dump(exclude={"id", *_PERSONAL}),
            "state": MessageState.QUEUED,
            "attempts": 0,
            "uncertain": 0,
            "version": 1,
            "created_at": at,
            "updated_at": at,
        }
        require(scope, document)
        personal = message.model_dump(include=_PERSONAL)
        document["sealed"] = {"identity": await self._vault.seal(message.subject_id, DataClass.IDENTITY, personal)}
        try:
            await self._notifications.insert_one(document)
        except DuplicateKeyError as error:
            if not clashes_on_id(error) or await self.state(scope, message.id) is None:
                raise not_found() from error

    @answering
    async def begin(self, scope: Scope, message_id: str, at: datetime) -> Begun | None:
        """One conditional update; a try that follows an unsettled one counts as uncertain."""
        unsettled = {"$gt": ["$attempted_at", None]}
        before: Document | None = await self._notifications.find_one_and_update(
            scoped(scope, {"_id": message_id, "state": MessageState.QUEUED, "expires_at": {"$gt": at}}),
            [
                {
                    "$set": {
                        # The earliest counts: a look for what it left must not begin after it.
                        "attempted_at": {"$ifNull": ["$attempted_at", literal(at)]},
                        "attempts": {"$add": ["$attempts", 1]},
                        "uncertain": {"$add": ["$uncertain", {"$cond": [unsettled, 1, 0]}]},
                        "version": {"$add": ["$version", 1]},
                        "log": {"$slice": [{"$concatArrays": [_LOG, [_line(at, "tried")]]}, -_LOG_KEPT]},
                        "updated_at": literal(at),
                    }
                }
            ],
            comment=reason_of(scope),
        )
        if before is None:
            return None
        message = await self._opened(before)
        return Begun.model_validate(
            {
                "message": message,
                "unsettled_since": before.get("attempted_at"),
                "kept_at": before["created_at"],
                "tried": before["attempts"],
            }
        )

    async def _opened(self, found: Document) -> Message | None:
        """The message, or None where its words were erased."""
        sealed = found["sealed"]
        [personal] = await self._vault.open([sealed["identity"] if isinstance(sealed, dict) else None])
        if personal is None or personal is ERASED:
            return None
        clear = {name: found[name] for name in _CLEAR if name in found}
        return Message.model_validate({"id": found["_id"], **clear, **personal})

    @answering
    async def not_taken(self, scope: Scope, message_id: str, at: datetime) -> None:
        """One update."""
        await self._notifications.update_one(
            scoped(scope, {"_id": message_id}),
            {
                "$unset": {"attempted_at": ""},
                "$set": {"updated_at": at},
                "$inc": {"version": 1},
                "$push": _logged(at, "not_taken"),
            },
            comment=reason_of(scope),
        )

    @answering
    async def settle(self, scope: Scope, message_id: str, word: Word, at: datetime) -> MessageState | None:
        """One conditional update; a word that comes too late changes nothing."""
        before = sorted(state for state, after in MESSAGE_TRANSITIONS.items() if word.state in after)
        values: Document = {"state": word.state, "error_code": word.error_code, "updated_at": at}
        if word.provider_id is not None:
            values["provider_id"] = word.provider_id
        after: Document | None = await self._notifications.find_one_and_update(
            scoped(scope, {"_id": message_id, "state": {"$in": before}}),
            {
                "$set": values,
                "$unset": {"attempted_at": ""},
                "$inc": {"version": 1},
                "$push": _logged(at, word.state, word.error_code),
            },
            {"state": 1},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        return await self.state(scope, message_id) if after is None else _state(after)

    @answering
    async def state(self, scope: Scope, message_id: str) -> MessageState | None:
        """One read by id."""
        found = await self._notifications.find_one(
            scoped(scope, {"_id": message_id}), {"state": 1}, comment=reason_of(scope)
        )
        return None if found is None else _state(found)

    @answering
    async def standing(self, scope: Scope, message_id: str) -> Standing | None:
        """One read by id."""
        found = await self._notifications.find_one(scoped(scope, {"_id": message_id}), comment=reason_of(scope))
        if found is None:
            return None
        return Standing.model_validate(
            {
                "state": found["state"],
                "message": await self._opened(found),
                "provider_id": found.get("provider_id"),
                "unsettled_since": found.get("attempted_at"),
            }
        )

    @answering
    async def tries(self, scope: Scope, notice_ids: Sequence[str]) -> list[Delivered]:
        """One read by an index, oldest first; what they said stays sealed."""
        found = await self._notifications.find(
            scoped(scope, {"notice_id": {"$in": list(notice_ids)}}),
            {"sealed": 0},
            comment=reason_of(scope),
        ).to_list(None)
        known = set(Delivered.model_fields) - {"id"}
        tries = [
            Delivered.model_validate({"id": one["_id"], **{name: one[name] for name in known if name in one}})
            for one in found
        ]
        return sorted(tries, key=lambda one: one.created_at)

    @answering
    async def of_provider(self, scope: Scope, provider_id: str) -> str | None:
        """One read by an index."""
        found = await self._notifications.find_one(
            scoped(scope, {"provider_id": provider_id}), {"_id": 1}, comment=reason_of(scope)
        )
        return None if found is None else str(found["_id"])


def _line(at: datetime, what: str, error_code: str | None = None) -> Document:
    return {"at": at, "what": what, "error_code": error_code}


def _logged(at: datetime, what: str, error_code: str | None = None) -> Document:
    return {"log": {"$each": [_line(at, what, error_code)], "$slice": -_LOG_KEPT}}


def _state(document: Document) -> MessageState:
    return MessageState(str(document["state"]))
