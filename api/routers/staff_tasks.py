"""A clinic's tasks: what somebody there should do, and that it is done."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request

from api.guards import GUARD_CODES, MayDoTasks
from api.paging import Paging
from api.problems import problem_responses
from api.routing import Router
from api.schemas.staff_tasks import TaskPage, TaskView
from api.services import Wired
from models.errors import Code
from models.staff_tasks import TaskState

ClinicId = Annotated[str, Path(max_length=100)]
TaskId = Annotated[str, Path(max_length=100)]

router = Router(prefix="/v1/clinics/{clinic_id}/tasks", tags=["front desk"])


class TaskFilters(Paging):
    """Which tasks are listed."""

    state: TaskState = TaskState.OPEN


@router.get("", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND, Code.CURSOR_INVALID))
async def staff_tasks(
    clinic_id: ClinicId, caller: MayDoTasks, services: Wired, wanted: Annotated[TaskFilters, Query()]
) -> TaskPage:
    """What is to be done, or was, the oldest first."""
    page = await services.task_list.page(caller, clinic_id, wanted.state, wanted.limit, wanted.cursor)
    return TaskPage(items=[TaskView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/{task_id}/done", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def finish_task(
    request: Request, clinic_id: ClinicId, task_id: TaskId, caller: MayDoTasks, services: Wired
) -> TaskView:
    """Tick it off; of two who do, the first stays noted."""
    return TaskView.of(await services.task_list.finish(request, caller, clinic_id, task_id))
