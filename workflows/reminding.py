"""How reminders begin: where an appointment changes, its reminders are told so, and started where there are none."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.reminders import RemindOf
from models.booking import Event
from models.errors import UnavailableError
from models.ids import reminder_workflow_id
from models.reminders import ENDED, PLANNED
from workflows import attributes
from workflows.policies import NOTIFY_QUEUE, RPC_TIMEOUT, TASK_TIMEOUT
from workflows.reminders import ReminderWorkflow


class ReminderFollower:
    """Implements `models.ports.Follower`; repeated and disordered events only make the reminders look once more."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def follow(self, event: Event) -> None:
        """Start or wake the reminders of a visit that is planned; wake those of one that has ended.

        Raises `UnavailableError`.
        """
        try:
            if event.type in PLANNED:
                await self._start(event)
            elif event.type in ENDED:
                await self._wake(event)
        except RPCError as error:
            msg = "the workflow service does not answer"
            raise UnavailableError(msg) from error

    async def _start(self, event: Event) -> None:
        about = RemindOf(tenant_id=event.tenant_id, appointment_id=event.appointment_id, subject_id=event.subject_id)
        await self._client.start_workflow(
            ReminderWorkflow.run,
            about,
            id=reminder_workflow_id(event.appointment_id),
            task_queue=NOTIFY_QUEUE,
            task_timeout=TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # A visit that is moved after its last reminder has reminders again.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            start_signal="changed",
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(attributes.TENANT_ID, event.tenant_id),
                    SearchAttributePair(attributes.SUBJECT_REF, event.subject_id),
                ]
            ),
            static_summary="reminds of an appointment",
            rpc_timeout=RPC_TIMEOUT,
        )

    async def _wake(self, event: Event) -> None:
        handle = self._client.get_workflow_handle(reminder_workflow_id(event.appointment_id))
        try:
            await handle.signal(ReminderWorkflow.changed, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
