"""Everything open in the database, and the workflow that each is to have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from adapters.mongo.backups import SECONDS
from adapters.mongo.client import Database, Document, answering, open_client
from models.ids import (
    booking_workflow_id,
    deletion_workflow_id,
    leave_workflow_id,
    message_workflow_id,
    onboarding_workflow_id,
    refund_workflow_id,
    rights_workflow_id,
)
from models.promises import Promise, PromiseKind


class _Open(NamedTuple):
    """How the open things of a kind are found and what their workflow is called."""

    kind: PromiseKind
    collection: str
    query: Document
    workflow_id: Callable[[str], str]
    hint: str | None = None
    """An index of such things only, which nobody would choose for that query."""


_OPEN: Final = (
    _Open(PromiseKind.REFUND, "refunds", {"is_open": True}, refund_workflow_id, "open"),
    _Open(PromiseKind.LEAVE, "leaves", {"state": {"$in": ["taking", "ending"]}}, leave_workflow_id),
    # A notice's tries are its workflow's business, and that ends with the message's time.
    _Open(PromiseKind.MESSAGE, "notifications", {"state": "queued", "notice_id": None}, message_workflow_id),
    _Open(
        PromiseKind.APPLICATION,
        "applications",
        {"state": {"$in": ["submitted", "under_review", "changes_requested", "approved", "provisioning"]}},
        onboarding_workflow_id,
    ),
    _Open(PromiseKind.RIGHTS_REQUEST, "rights_requests", {"state": "received"}, rights_workflow_id),
    _Open(PromiseKind.DELETION, "deletions", {"open": True, "confirmed_at": {"$ne": None}}, deletion_workflow_id),
)
_PLANNED: Final = ("held", "confirmed", "checked_in", "in_consultation", "no_show")


class MongoPromises:
    """Walks through what is open; ids and states only.

    Some of it no index serves: whole collections are read, once in a disaster, and that may take its time.
    """

    def __init__(self, url: str, database: str) -> None:
        """Any account that may read it; connects with its first use."""
        self._client = open_client(url, "visitnow-promises", within=SECONDS)
        self._database: Database = self._client[database]

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    async def all(self, at: datetime) -> list[Promise]:
        """Appointments first. Raises `UnavailableError`."""
        planned: Document = {"state": {"$in": list(_PLANNED)}, "closes_at": {"$gt": at}}
        appointments = _Open(PromiseKind.APPOINTMENT, "appointments", planned, booking_workflow_id)
        return [promise for one in (appointments, *_OPEN) for promise in await self._open(one)]

    @answering
    async def _open(self, one: _Open) -> list[Promise]:
        found = self._database[one.collection].find(one.query, {"state": 1}, hint=one.hint)
        return [
            Promise(one.kind, name, str(document["state"]), one.workflow_id(name))
            async for document in found
            for name in (str(document["_id"]),)
        ]

    @answering
    async def has_appointment(self, appointment_id: str) -> bool:
        """Whether the database knows of it at all. Raises `UnavailableError`."""
        return await self._database["appointments"].find_one({"_id": appointment_id}, {"_id": 1}) is not None
