"""What clinics are to do: a document per task, of ids and kinds only, so that there is nothing in it to seal."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.cursor import decode_cursor, encode_cursor
from models.errors import not_found
from models.identity import Scope
from models.ports import Page
from models.staff_tasks import StaffTask, TaskState

_OLDEST: Final = [("created_at", ASCENDING), ("_id", ASCENDING)]

DECLARED: Final = Declared(
    "staff_tasks",
    (
        IndexModel([("clinic_id", ASCENDING), ("state", ASCENDING), *_OLDEST], name="of_clinic"),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("tenant_id", ASCENDING), ("created_at", ASCENDING)], name="age"),
    ),
)


class MongoStaffTasks:
    """Implements `models.staff_tasks.StaffTasks` on the collection `staff_tasks`."""

    def __init__(self, database: Database) -> None:
        """The application's database."""
        self._tasks: Collection = database["staff_tasks"]

    @answering
    async def raise_once(self, scope: Scope, task: StaffTask) -> None:
        """One insert; of one that is there nothing changes."""
        document: Document = {"_id": task.id, **task.model_dump(exclude={"id"}), "version": 1}
        require(scope, document)
        with suppress(DuplicateKeyError):
            await self._tasks.insert_one(document, comment=reason_of(scope))

    @answering
    async def page(
        self, scope: Scope, clinic_id: str, state: TaskState, limit: int, cursor: str | None
    ) -> Page[StaffTask]:
        """One read of an index. Raises `ValueError` for a foreign cursor."""
        query: Document = {"clinic_id": clinic_id, "state": state}
        if cursor is not None:
            last, last_id = decode_cursor(cursor, datetime, str)
            query["$or"] = [{"created_at": {"$gt": last}}, {"created_at": last, "_id": {"$gt": last_id}}]
        found = await self._tasks.find(
            scoped(scope, query), sort=_OLDEST, limit=limit + 1, comment=reason_of(scope)
        ).to_list(None)
        items = [_task(one) for one in found[:limit]]
        more = len(found) > limit
        return Page(items, encode_cursor(items[-1].created_at, items[-1].id) if more else None)

    @answering
    async def finish(self, scope: Scope, clinic_id: str, task_id: str, by: str, at: datetime) -> StaffTask:
        """One conditional update; whoever comes second finds it done. Raises `not_found`."""
        mine: Document = {"_id": task_id, "clinic_id": clinic_id}
        after = await self._tasks.find_one_and_update(
            scoped(scope, {**mine, "state": TaskState.OPEN}),
            {"$set": {"state": TaskState.DONE, "done_by": by, "done_at": at, "updated_at": at}, "$inc": {"version": 1}},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        found = after or await self._tasks.find_one(scoped(scope, mine), comment=reason_of(scope))
        if found is None:
            raise not_found()
        return _task(found)


def _task(found: Document) -> StaffTask:
    known = {name: found[name] for name in StaffTask.model_fields if name in found}
    return StaffTask.model_validate({**known, "id": found["_id"]})
