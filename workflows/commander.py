"""How steps command the workflows that own bookings: a workflow itself cannot send another one an update."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from models.booking import Actor, ActorKind, Cancel, Cancelled
from models.errors import UnavailableError
from models.ids import booking_workflow_id, export_workflow_id
from workflows.booking import BookingWorkflow
from workflows.commands import answer_to
from workflows.exports import ExportWorkflow
from workflows.policies import RPC_TIMEOUT


class Commander:
    """Implements `models.absence_ports.Bookings` and `models.deletions_ports.Leaver` over one client."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def cancel_by_clinic(self, appointment_id: str, cause: str, only_at: datetime) -> Cancelled:
        """Cancel as the clinic. Raises `state_conflict`, and `UnavailableError` where nobody knows whether it was."""
        return await self._cancel(appointment_id, Cancel(actor=Actor(kind=ActorKind.CLINIC, id=cause), only_at=only_at))

    async def cancel_by_patient(self, appointment_id: str, subject_id: str) -> Cancelled:
        """Cancel as the patient, whom the policy gives back what it gives.

        Raises `state_conflict`, and `UnavailableError` where nobody knows whether it was.
        """
        return await self._cancel(appointment_id, Cancel(actor=Actor(kind=ActorKind.PATIENT, id=subject_id)))

    async def _cancel(self, appointment_id: str, command: Cancel) -> Cancelled:
        handle = self._client.get_workflow_handle(booking_workflow_id(appointment_id))
        return await answer_to(
            handle.execute_update(BookingWorkflow.cancel, command, rpc_timeout=RPC_TIMEOUT), "cancellation"
        )

    async def let_go(self, appointment_id: str) -> None:
        """Have a booking whose visit is over end its day now. Raises `UnavailableError`."""
        await _told(self._client.get_workflow_handle(booking_workflow_id(appointment_id)), BookingWorkflow.let_go)

    async def stop_export(self, export_id: str) -> None:
        """Have the file of an export that was stopped removed. Raises `UnavailableError`."""
        await _told(self._client.get_workflow_handle(export_workflow_id(export_id)), ExportWorkflow.stop)


async def _told(handle: WorkflowHandle[Any, Any], signal: Callable[[Any], None]) -> None:
    """Send a signal; one that has ended is left alone."""
    try:
        await handle.signal(signal, rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            msg = "the workflow service does not answer"
            raise UnavailableError(msg) from error
