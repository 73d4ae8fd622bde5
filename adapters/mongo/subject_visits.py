"""Somebody's appointments as their deletion sees them: what is still to come, what is over, what may still move."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.scopes import reason_of, scoped
from models.booking import AppointmentState
from models.deletions_ports import Visit, Visits
from models.identity import Scope
from models.ids import booking_workflow_id, late_payment_workflow_id, refund_workflow_id
from models.payments import REFUND_TRANSITIONS, RefundState

_FIELDS: Final = ("state", "start", "end", "closes_at", "order_id", "captured", "refunds", "updated_at", "dependant_id")
_OVER: Final = frozenset({AppointmentState.COMPLETED, AppointmentState.NO_SHOW})
_MARGIN: Final = timedelta(days=1)
"""A booking's workflow ends by its `closes_at`, as soon as its worker can."""
_WATCHED: Final = timedelta(days=60)
"""Longer than any tenant may have an order watched for late money."""


class MongoSubjectVisits:
    """Implements `models.deletions_ports.SubjectVisits` on `appointments`; nothing that is sealed is opened."""

    def __init__(self, database: Database) -> None:
        """The application's own view of the database."""
        self._appointments: Collection = database["appointments"]

    @answering
    async def look(self, scope: Scope, subject_id: str, now: datetime) -> Visits:
        """One read over the index of the patient's visits."""
        found = await self._appointments.find(
            scoped(scope, {"subject_id": subject_id}), _FIELDS, comment=reason_of(scope)
        ).to_list(None)
        return Visits([_Found(one, now).visit for one in found])


class _Found:
    """One appointment, read."""

    def __init__(self, found: Document, now: datetime) -> None:
        self._id = str(found["_id"])
        self._found = found
        self._now = now
        self._state = AppointmentState(str(found["state"]))
        self._updated = _instant(found["updated_at"])

    @property
    def visit(self) -> Visit:
        """What it means."""
        return Visit(
            appointment_id=self._id,
            is_to_come=self._is_to_come,
            may_close=self._state in _OVER and self._may_be_open,
            was_paid=bool(self._found["captured"]),
            ended=min(_instant(self._found["end"]), self._now),
            updated=self._updated,
            workflows=self._workflows,
            dependant_id=self._dependant_id,
        )

    @property
    def _dependant_id(self) -> str | None:
        known = self._found.get("dependant_id")
        return None if known is None else str(known)

    @property
    def _is_to_come(self) -> bool:
        """Whether it is to be cancelled: whoever is at the clinic already is seen first."""
        if self._state is AppointmentState.HELD:
            return True
        return self._state is AppointmentState.CONFIRMED and _instant(self._found["start"]) > self._now

    @property
    def _may_be_open(self) -> bool:
        return max(_instant(self._found["closes_at"]), self._updated) > self._now - _MARGIN

    @property
    def _workflows(self) -> Mapping[str, str]:
        """What may still be going on for it, and what that is waited for."""
        known = {booking_workflow_id(self._id): "visit"} if self._may_be_open else {}
        order = self._found["order_id"]
        if isinstance(order, str) and self._updated > self._now - _WATCHED:
            known[late_payment_workflow_id(order)] = "late payment"
        refunds = self._found["refunds"]
        for refund in refunds if isinstance(refunds, list) else []:
            if REFUND_TRANSITIONS[RefundState(refund["state"])]:
                known[refund_workflow_id(refund["id"])] = "refund"
        return known


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        msg = "an appointment without its times"
        raise TypeError(msg)
    return value
