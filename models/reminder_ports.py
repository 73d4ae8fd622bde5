"""What the reminders ask of the stores; as in `models.ports`, every method may raise `UnavailableError`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from models.booking import Actor
from models.identity import Scope
from models.reminders import Outcome, Planned, Reader


class Reminders(Protocol):
    """The part of an appointment that is about its reminders."""

    async def planned(self, scope: Scope, appointment_id: str) -> Planned | None:
        """What it says about them now."""
        ...

    async def record(self, scope: Scope, appointment_id: str, outcomes: Sequence[Outcome]) -> None:
        """Note what became of reminders, of each once. Raises `not_found`."""
        ...

    async def note_attendance(
        self, scope: Scope, appointment_id: str, start: datetime, at: datetime, actor: Actor
    ) -> bool:
        """Note once that the patient means to come at that time; False where the visit is not to be then."""
        ...


class Confirmations(Protocol):
    """What people were told of a visit's time beside its reminders."""

    async def confirmed_at(self, scope: Scope, appointment_id: str) -> datetime | None:
        """When the last word that the visit is booked or moved went out, or began to; None where none did."""
        ...


class Readers(Protocol):
    """Those who are reminded."""

    async def reader(self, scope: Scope, user_id: str) -> Reader | None:
        """How somebody reads and by which clock they live; None where they are unknown."""
        ...
