"""How reminders begin: where an appointment changes, its reminders are told so, and started where there are none."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.reminders import RemindOf
from models.booking import Event
from models.errors import UnavailableError
from models.ids import reminder_workflow_id
from models.reminders import ENDED, PLANNED
from workflows.policies import NOTIFY_QUEUE, RPC_TIMEOUT
from workflows.reminders import ReminderWorkflow
from workflows.starting import Begin, begin


class ReminderFollower:
    """Implements `models.ports.Follower`; repeated and disordered events only make the reminders look once more."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def follow(self, event: Event) -> None:
        """Start or wake the reminders of a visit that is planned; wake those of one that has ended.

        Raises `UnavailableError`.
        """
        if event.type in PLANNED:
            await begin(self._client, _reminders_of(event), signal="changed")
        elif event.type in ENDED:
            await self._wake(event)

    async def _wake(self, event: Event) -> None:
        handle = self._client.get_workflow_handle(reminder_workflow_id(event.appointment_id))
        try:
            await handle.signal(ReminderWorkflow.changed, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                msg = "the workflow service does not answer"
                raise UnavailableError(msg) from error


def _reminders_of(event: Event) -> Begin[RemindOf, tuple[str, ...]]:
    return Begin(
        ReminderWorkflow.run,
        RemindOf(tenant_id=event.tenant_id, appointment_id=event.appointment_id, subject_id=event.subject_id),
        id=reminder_workflow_id(event.appointment_id),
        queue=NOTIFY_QUEUE,
        summary="reminds of an appointment",
        # A visit that is moved after its last reminder has reminders again.
        again=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        tenant_id=event.tenant_id,
        subject_id=event.subject_id,
    )
