"""What follow-ups ask of the stores; as in `models.ports`, every method may raise `UnavailableError`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.follow_up import Completed, Outcome
from models.identity import Scope


class FollowUps(Protocol):
    """The part of an appointment that is about what follows it."""

    async def completed(self, scope: Scope, appointment_id: str) -> Completed | None:
        """What it says about that; None where no visit was completed."""
        ...

    async def record(self, scope: Scope, appointment_id: str, outcomes: Sequence[Outcome]) -> None:
        """Note what became of its parts, of each once. Raises `not_found`."""
        ...

    async def is_booked_again(self, scope: Scope, visit: Completed) -> bool:
        """Whether the patient has, or had, a later visit with the same doctor."""
        ...


class FollowedUp(Protocol):
    """How a follow-up learns that something has happened to its visit."""

    async def look_again(self, tenant_id: str, appointment_id: str, subject_id: str) -> None:
        """Have it look how things stand, beginning it where it has ended or never was."""
        ...
