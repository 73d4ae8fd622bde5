"""How messages are begun: kept first, then carried by a workflow of their own."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from activities.messaging import Delivery
from models.identity import Tenant
from models.ids import message_workflow_id
from models.messaging import Message, MessageState
from models.notice_ports import Notifications
from models.upkeep import Unsent
from workflows.messaging import MessageWorkflow
from workflows.policies import NOTIFY_QUEUE
from workflows.starting import Begin, begin


class DurableMessenger:
    """Implements `models.notice_ports.Messenger`: once per id, whoever asks and however often."""

    def __init__(self, client: Client, notifications: Notifications) -> None:
        """The process's client, and where messages are kept."""
        self._client = client
        self._notifications = notifications

    async def send(self, message: Message) -> None:
        """Keep it, then start its delivery. Raises `UnavailableError`; the same message may be sent again then."""
        await self._notifications.keep(Tenant(message.tenant_id), message, datetime.now(UTC))
        await begin(self._client, delivery_of(message))


def delivery_of(message: Message | Unsent) -> Begin[Delivery, MessageState]:
    """The delivery of a message that was kept; nothing of what it says."""
    message_id = message.id if isinstance(message, Message) else message.message_id
    delivery = Delivery(
        tenant_id=message.tenant_id,
        subject_id=message.subject_id,
        message_id=message_id,
        expires_at=message.expires_at,
    )
    return Begin(
        MessageWorkflow.run,
        delivery,
        id=message_workflow_id(message_id),
        queue=NOTIFY_QUEUE,
        summary=f"{message.template} by {message.channel}",
        again=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        tenant_id=message.tenant_id,
        subject_id=message.subject_id,
    )
