"""Notices: what was to be told to whom about which appointment, and how that ended. What was said is not here."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.errors import not_found
from models.identity import Scope
from models.messaging import Template
from models.notices import Ending, Notice, NoticeRecord, NoticeState

DECLARED: Final = Declared(
    "notices",
    (
        IndexModel([("appointment_id", ASCENDING), ("created_at", ASCENDING)], name="of_appointment"),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("tenant_id", ASCENDING), ("created_at", ASCENDING)], name="age"),
    ),
)


_MOST: Final = 200


class MongoNotices:
    """Implements `models.notice_ports.Notices` on `notices`; whom it is told is its subject."""

    def __init__(self, database: Database) -> None:
        """The collection of that database."""
        self._notices: Collection = database["notices"]

    @answering
    async def open(self, scope: Scope, notice: Notice, at: datetime) -> NoticeRecord:
        """One insert. Raises `not_found` where the scope does not reach it."""
        document: Document = {
            "_id": notice.id,
            **notice.model_dump(exclude={"recipient_id"}),
            "subject_id": notice.recipient_id,
            "state": NoticeState.PLANNED,
            "reason": None,
            "version": 1,
            "created_at": at,
            "updated_at": at,
        }
        require(scope, document)
        try:
            await self._notices.insert_one(document)
        except DuplicateKeyError as error:
            if not clashes_on_id(error):
                raise
            found = await self._notices.find_one(scoped(scope, {"_id": notice.id}), comment=reason_of(scope))
            if found is None:
                raise not_found() from error
            return _record(found)
        return _record(document)

    @answering
    async def find(self, scope: Scope, notice_id: str) -> NoticeRecord | None:
        """One read by id."""
        found = await self._notices.find_one(scoped(scope, {"_id": notice_id}), comment=reason_of(scope))
        return None if found is None else _record(found)

    @answering
    async def of_appointment(self, scope: Scope, appointment_id: str, recipient_id: str | None) -> list[NoticeRecord]:
        """One read by an index, the first ones where there are very many."""
        query: Document = {"appointment_id": appointment_id}
        if recipient_id is not None:
            query["subject_id"] = recipient_id
        found = await self._notices.find(
            scoped(scope, query), sort=[("created_at", ASCENDING)], limit=_MOST, comment=reason_of(scope)
        ).to_list(None)
        return [_record(one) for one in found]

    @answering
    async def close(self, scope: Scope, notice_id: str, ending: Ending, at: datetime) -> None:
        """One conditional update; what has ended stays as it is, but for a receipt that came after all.

        A worker that dies after noting `sent` leaves a telling that ends once more, maybe with its receipt by then.
        """
        before = [NoticeState.PLANNED]
        if ending.state is NoticeState.DELIVERED:
            before.append(NoticeState.SENT)
        await self._notices.update_one(
            scoped(scope, {"_id": notice_id, "state": {"$in": before}}),
            {
                "$set": {"state": ending.state, "reason": ending.reason, "updated_at": at},
                "$inc": {"version": 1},
            },
            comment=reason_of(scope),
        )

    @answering
    async def confirmed_at(self, scope: Scope, appointment_id: str) -> datetime | None:
        """One read over the appointment's index; what has failed or was skipped told nobody anything."""
        query: Document = {
            "appointment_id": appointment_id,
            "template": {"$in": [Template.APPOINTMENT_CONFIRMED, Template.APPOINTMENT_RESCHEDULED]},
            "state": {"$in": [NoticeState.PLANNED, NoticeState.SENT, NoticeState.DELIVERED]},
        }
        found = await self._notices.find_one(
            scoped(scope, query), sort=[("created_at", DESCENDING)], comment=reason_of(scope)
        )
        return None if found is None else _record(found).created_at


def _record(found: Document) -> NoticeRecord:
    known = {name: found[name] for name in Notice.model_fields if name in found}
    about = {name: found[name] for name in ("state", "reason", "created_at", "updated_at")}
    return NoticeRecord.model_validate({"notice": {**known, "recipient_id": found["subject_id"]}, **about})
