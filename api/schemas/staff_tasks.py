"""Tasks over the wire."""

from __future__ import annotations

from pydantic import BaseModel

from models.base import UtcDatetime
from models.staff_tasks import StaffTask, TaskKind, TaskState


class TaskView(BaseModel):
    """A task as a clinic's people see it; what it is about they read at the appointment, which is audited."""

    id: str
    kind: TaskKind
    state: TaskState
    clinic_id: str
    provider_id: str
    appointment_id: str
    created_at: UtcDatetime
    done_by: str | None
    done_at: UtcDatetime | None

    @classmethod
    def of(cls, task: StaffTask) -> TaskView:
        """What is shown of it."""
        return cls.model_validate(task.model_dump(include=set(cls.model_fields)))


class TaskPage(BaseModel):
    """A clinic's tasks in one state, the oldest first."""

    items: list[TaskView]
    next_cursor: str | None
