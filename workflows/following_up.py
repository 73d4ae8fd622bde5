"""How follow-ups begin: where a visit is completed, and again where something happens to it after their end."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from activities.follow_up import FollowUpOf
from models.booking import Event, EventType
from models.ids import follow_up_workflow_id
from workflows.follow_up import FollowUpWorkflow
from workflows.policies import NOTIFY_QUEUE
from workflows.starting import Begin, begin


class FollowUps:
    """Implements `models.ports.Follower`; a repeated word only makes a follow-up look once more."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def follow(self, event: Event) -> None:
        """Begin where a visit was completed. Raises `UnavailableError`."""
        if event.type is EventType.COMPLETED:
            await self.look_again(event.tenant_id, event.appointment_id, event.subject_id)

    async def look_again(self, tenant_id: str, appointment_id: str, subject_id: str) -> None:
        """Tell the follow-up that something has changed, beginning it where it has ended or never was.

        Of a visit that is not completed it finds nothing to do. Raises `UnavailableError`.
        """
        about = FollowUpOf(tenant_id=tenant_id, appointment_id=appointment_id, subject_id=subject_id)
        await begin(
            self._client,
            Begin(
                FollowUpWorkflow.run,
                about,
                id=follow_up_workflow_id(appointment_id),
                queue=NOTIFY_QUEUE,
                summary="follows a completed visit up",
                # A rating that comes after its end still matters.
                again=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                tenant_id=tenant_id,
                subject_id=subject_id,
            ),
            signal="changed",
        )
