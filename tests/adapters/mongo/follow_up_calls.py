"""A task, and every method of the repositories that follow visits up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.mongo.repositories import Repositories
from models.booking import PlaceBooking
from models.follow_up import Completed, Fate, Outcome, Part
from models.identity import Scope, System
from models.staff_tasks import StaffTask, TaskKind, TaskState, task_of
from tests.adapters.mongo.builders import DAY

_WORLD = System("the tests' world")
Call = Callable[[Scope], Awaitable[object]]


def as_completed(command: PlaceBooking) -> Completed:
    """What a visit would say about its follow-up, had it been completed on time."""
    same = set(Completed.model_fields) & set(PlaceBooking.model_fields)
    return Completed(**command.model_dump(include=same), completed_at=command.end)


async def build(stores: Repositories, of: PlaceBooking) -> StaffTask:
    """Put a task there."""
    task = task_of(as_completed(of), TaskKind.LOW_RATING, DAY)
    await stores.staff_tasks.raise_once(_WORLD, task)
    return task


def on_records(stores: Repositories, command: PlaceBooking, task: StaffTask) -> dict[str, Call]:
    """Methods on what belongs to a tenant, clinic, provider and patient."""
    follow_ups, tasks, visit = stores.follow_ups, stores.staff_tasks, as_completed(command)
    told = Outcome(part=Part.SUMMARY, key=Part.SUMMARY, fate=Fate.TOLD, at=DAY)

    async def listed(scope: Scope) -> list[StaffTask]:
        return list((await tasks.page(scope, task.clinic_id, TaskState.OPEN, 5, None)).items)

    return {
        "follow_ups.completed": lambda scope: follow_ups.completed(scope, command.appointment_id),
        "follow_ups.record": lambda scope: follow_ups.record(scope, command.appointment_id, [told]),
        "follow_ups.is_booked_again": lambda scope: follow_ups.is_booked_again(scope, visit),
        "staff_tasks.raise_once": lambda scope: tasks.raise_once(scope, task),
        "staff_tasks.page": listed,
        "staff_tasks.finish": lambda scope: tasks.finish(scope, task.clinic_id, task.id, "usr_desk", DAY),
    }
