"""How messages are begun: kept first, then carried by a workflow of their own."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.messaging import Delivery
from models.errors import UnavailableError
from models.identity import Tenant
from models.ids import message_workflow_id
from models.messaging import Message
from models.ports import Notifications
from workflows import attributes
from workflows.messaging import MessageWorkflow
from workflows.policies import NOTIFY_QUEUE, RPC_TIMEOUT, TASK_TIMEOUT


class DurableMessenger:
    """Implements `models.ports.Messenger`: once per id, whoever asks and however often."""

    def __init__(self, client: Client, notifications: Notifications) -> None:
        """The process's client, and where messages are kept."""
        self._client = client
        self._notifications = notifications

    async def send(self, message: Message) -> None:
        """Keep it, then start its delivery. Raises `UnavailableError`; the same message may be sent again then."""
        await self._notifications.keep(Tenant(message.tenant_id), message, datetime.now(UTC))
        delivery = Delivery(
            tenant_id=message.tenant_id,
            subject_id=message.subject_id,
            message_id=message.id,
            expires_at=message.expires_at,
        )
        try:
            await self._client.start_workflow(
                MessageWorkflow.run,
                delivery,
                id=message_workflow_id(message.id),
                task_queue=NOTIFY_QUEUE,
                task_timeout=TASK_TIMEOUT,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(attributes.TENANT_ID, message.tenant_id),
                        SearchAttributePair(attributes.SUBJECT_REF, message.subject_id),
                    ]
                ),
                static_summary=f"{message.template} by {message.channel}",
                rpc_timeout=RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            msg = "the workflow service does not answer"
            raise UnavailableError(msg) from error
