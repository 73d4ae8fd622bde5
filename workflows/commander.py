"""How steps command the workflows that own bookings: a workflow itself cannot send another one an update."""

from __future__ import annotations

from datetime import datetime

from temporalio.client import Client

from models.booking import Actor, ActorKind, Cancel, Cancelled
from models.ids import booking_workflow_id
from workflows.booking import BookingWorkflow
from workflows.commands import answer_to
from workflows.policies import RPC_TIMEOUT


class Commander:
    """Implements `models.absence_ports.Bookings` over one client."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def cancel_by_clinic(self, appointment_id: str, cause: str, only_at: datetime) -> Cancelled:
        """Cancel as the clinic. Raises `state_conflict`, and `UnavailableError` where nobody knows whether it was."""
        handle = self._client.get_workflow_handle(booking_workflow_id(appointment_id))
        command = Cancel(actor=Actor(kind=ActorKind.CLINIC, id=cause), only_at=only_at)
        return await answer_to(
            handle.execute_update(BookingWorkflow.cancel, command, rpc_timeout=RPC_TIMEOUT), "cancellation"
        )
