"""What a clinic's people are to do: listed, and ticked off by whoever did it."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import Request

from api.audit import AuditLog
from models.compliance import AuditAction
from models.errors import Code, VisitNowError, not_found
from models.identity import Principal, Role, Scope, Tenant, scope_of
from models.ports import Directory, Page
from models.staff_tasks import StaffTask, StaffTasks, TaskState


class TaskList:
    """The tasks of the clinics that somebody works for."""

    def __init__(self, tasks: StaffTasks, directory: Directory, audit: AuditLog) -> None:
        """Where tasks are kept, which clinics there are, and what notes who did what."""
        self._tasks = tasks
        self._directory = directory
        self._audit = audit

    async def page(
        self, caller: Principal, clinic_id: str, state: TaskState, limit: int, cursor: str | None
    ) -> Page[StaffTask]:
        """A clinic's tasks, the oldest first. Raises `not_found`, `cursor_invalid`."""
        scope = await self._reach(caller, clinic_id)
        try:
            return await self._tasks.page(scope, clinic_id, state, limit, cursor)
        except ValueError as error:
            raise VisitNowError(Code.CURSOR_INVALID) from error

    async def finish(self, request: Request, caller: Principal, clinic_id: str, task_id: str) -> StaffTask:
        """It is done; who did it first stays noted. Raises `not_found`."""
        scope = await self._reach(caller, clinic_id)
        now = datetime.now(UTC)
        at = now.replace(microsecond=now.microsecond // 1000 * 1000)
        await self._audit.note(request, caller, AuditAction.TASK_DONE, task_id)
        return await self._tasks.finish(scope, clinic_id, task_id, caller.subject, at)

    async def _reach(self, caller: Principal, clinic_id: str) -> Scope:
        """The caller's scope, where the clinic is one of those that they work for. Raises `not_found`."""
        reaches = Role.ADMIN in caller.roles or clinic_id in caller.clinic_ids
        if not reaches or clinic_id not in await self._directory.clinics(Tenant(caller.tenant_id), [clinic_id]):
            raise not_found()
        return scope_of(caller)
