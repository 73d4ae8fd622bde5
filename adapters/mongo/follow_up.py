"""The part of each appointment that is about what follows the visit: what was told, what was not and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.scopes import reason_of, scoped
from models.booking import AppointmentState, EventType
from models.errors import not_found
from models.follow_up import Completed, Outcome
from models.identity import Scope

_SAME_NAMES: Final = tuple(
    name
    for name in Completed.model_fields
    if name not in {"appointment_id", "completed_at", "outcomes", "dependant_id"}
)
_READ: Final = (*_SAME_NAMES, "history", "follow_up", "dependant_id")
_SEEN_AGAIN: Final = (
    AppointmentState.CONFIRMED,
    AppointmentState.CHECKED_IN,
    AppointmentState.IN_CONSULTATION,
    AppointmentState.COMPLETED,
)


class MongoFollowUps:
    """Implements `models.follow_up_ports.FollowUps` on `appointments`; each outcome stands under its part's key."""

    def __init__(self, database: Database) -> None:
        """Nothing in it is personal but ids and times."""
        self._appointments: Collection = database["appointments"]

    @answering
    async def completed(self, scope: Scope, appointment_id: str) -> Completed | None:
        """One read by id of a few fields."""
        over: Document = {"_id": appointment_id, "state": AppointmentState.COMPLETED}
        found = await self._appointments.find_one(scoped(scope, over), _READ, comment=reason_of(scope))
        return None if found is None else _completed(found)

    @answering
    async def record(self, scope: Scope, appointment_id: str, outcomes: Sequence[Outcome]) -> None:
        """One conditional update for each; nothing that others read changes, and so neither does the version."""
        for outcome in outcomes:
            done = await self._appointments.update_one(
                scoped(scope, {"_id": appointment_id, "follow_up.key": {"$ne": outcome.key}}),
                {"$push": {"follow_up": outcome.model_dump()}},
                comment=reason_of(scope),
            )
            if not done.matched_count and not await self._is_there(scope, {"_id": appointment_id}):
                raise not_found()

    @answering
    async def is_booked_again(self, scope: Scope, visit: Completed) -> bool:
        """One read by the index of the patient's visits, from this one on."""
        later: Document = {
            "subject_id": visit.subject_id,
            "dependant_id": visit.dependant_id,  # another of the family is another patient
            "start": {"$gt": visit.start},
            "practitioner_id": visit.practitioner_id,
            "state": {"$in": list(_SEEN_AGAIN)},
        }
        return await self._is_there(scope, later)

    async def _is_there(self, scope: Scope, query: Document) -> bool:
        found = await self._appointments.find_one(scoped(scope, query), {"_id": 1}, comment=reason_of(scope))
        return found is not None


def _completed(found: Document) -> Completed:
    ends = [entry["at"] for entry in _entries(found["history"]) if entry["event"] == EventType.COMPLETED]
    return Completed.model_validate(
        {
            **{name: found[name] for name in _SAME_NAMES},
            "appointment_id": found["_id"],
            "completed_at": ends[-1],
            "outcomes": _entries(found.get("follow_up")),
            "dependant_id": found.get("dependant_id"),
        }
    )


def _entries(value: object) -> list[Document]:
    return value if isinstance(value, list) else []
