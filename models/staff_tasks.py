"""What somebody at a clinic should do: ids and kinds only, so that a list tells nothing of anybody's health."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from models.base import Id, Model, UtcDatetime
from models.follow_up import Completed
from models.identity import Scope
from models.ids import staff_task_id
from models.ports import Page


class TaskKind(StrEnum):
    """Why there is something to do."""

    LOW_RATING = "low_rating"
    """A patient was not content: somebody should get in touch."""


class TaskState(StrEnum):
    """Whether it is still to be done."""

    OPEN = "open"
    DONE = "done"


class StaffTask(Model):
    """One task of a clinic's front desk; `done_by` is the account that did it."""

    id: Id
    tenant_id: Id
    clinic_id: Id
    provider_id: Id
    appointment_id: Id
    subject_id: Id
    kind: TaskKind
    state: TaskState = TaskState.OPEN
    created_at: UtcDatetime
    updated_at: UtcDatetime
    done_by: Id | None = None
    done_at: UtcDatetime | None = None


def task_of(visit: Completed, kind: TaskKind, at: UtcDatetime) -> StaffTask:
    """The one task of that kind that a visit can lead to."""
    return StaffTask(
        id=staff_task_id(visit.appointment_id, kind),
        kind=kind,
        created_at=at,
        updated_at=at,
        **visit.model_dump(include={"tenant_id", "clinic_id", "provider_id", "appointment_id", "subject_id"}),
    )


class StaffTasks(Protocol):
    """The tasks of clinics; each method may raise `UnavailableError`."""

    async def raise_once(self, scope: Scope, task: StaffTask) -> None:
        """Keep a task once per id; one that was done stays done."""
        ...

    async def page(
        self, scope: Scope, clinic_id: str, state: TaskState, limit: int, cursor: str | None
    ) -> Page[StaffTask]:
        """A clinic's tasks in that state, the oldest first. Raises `ValueError` for a foreign cursor."""
        ...

    async def finish(self, scope: Scope, clinic_id: str, task_id: str, by: str, at: UtcDatetime) -> StaffTask:
        """Note who did it, once; the task as it then stands. Raises `not_found`."""
        ...
