"""The part of each appointment that is about its reminders: what was told, what was not and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from adapters.mongo.appointment_documents import Happening, changed
from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.scopes import reason_of, scoped
from models.booking import Actor, AppointmentState, EventType
from models.errors import not_found
from models.identity import Scope
from models.reminders import PLANNED, Outcome, Planned

_READ: Final = ("subject_id", "state", "start", "timezone", "policy", "created_at", "history", "reminders")


class MongoReminders:
    """Implements `models.reminder_ports.Reminders` on `appointments`; each outcome stands under its occurrence."""

    def __init__(self, database: Database) -> None:
        """Nothing in it is personal but ids and times."""
        self._appointments: Collection = database["appointments"]

    @answering
    async def planned(self, scope: Scope, appointment_id: str) -> Planned | None:
        """One read by id of a few fields."""
        found = await self._appointments.find_one(
            scoped(scope, {"_id": appointment_id}), _READ, comment=reason_of(scope)
        )
        return None if found is None else _to_planned(found)

    @answering
    async def record(self, scope: Scope, appointment_id: str, outcomes: Sequence[Outcome]) -> None:
        """One conditional update for each; nothing that others read changes, and so neither does the version."""
        for outcome in outcomes:
            noted: Document = {"id": outcome.reminder.occurrence, **outcome.model_dump()}
            done = await self._appointments.update_one(
                scoped(scope, {"_id": appointment_id, "reminders.id": {"$ne": noted["id"]}}),
                {"$push": {"reminders": noted}},
                comment=reason_of(scope),
            )
            if not done.matched_count and not await self._is_there(scope, {"_id": appointment_id}):
                raise not_found()

    @answering
    async def note_attendance(
        self, scope: Scope, appointment_id: str, start: datetime, at: datetime, actor: Actor
    ) -> bool:
        """One conditional update, with its event."""
        told = Happening(
            f"{appointment_id}:attending:{start:%Y%m%dT%H%M%SZ}", EventType.ATTENDANCE_CONFIRMED, at, actor
        )
        standing: Document = {"_id": appointment_id, "state": AppointmentState.CONFIRMED, "start": start}
        done = await self._appointments.update_one(
            scoped(scope, {**standing, "history.id": {"$ne": told.id}}),
            changed({}, at, told),
            comment=reason_of(scope),
        )
        return bool(done.matched_count) or await self._is_there(scope, {**standing, "history.id": told.id})

    async def _is_there(self, scope: Scope, query: Document) -> bool:
        found = await self._appointments.find_one(scoped(scope, query), {"_id": 1}, comment=reason_of(scope))
        return found is not None


def _to_planned(document: Document) -> Planned:
    history, outcomes = _entries(document["history"]), _entries(document.get("reminders"))
    planned = [entry["at"] for entry in history if entry["event"] in PLANNED]
    return Planned.model_validate(
        {
            "id": document["_id"],
            **{name: document[name] for name in ("subject_id", "state", "start", "timezone", "policy")},
            "since": planned[-1] if planned else document["created_at"],
            "outcomes": [{name: value for name, value in one.items() if name != "id"} for one in outcomes],
        }
    )


def _entries(value: object) -> list[Document]:
    return value if isinstance(value, list) else []
