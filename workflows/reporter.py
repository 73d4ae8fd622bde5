"""How facts reach workflows: to the open one, or to the one that looks after what is over."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.payments import LateOrder
from models.errors import UnavailableError
from models.ids import booking_workflow_id, late_payment_workflow_id, refund_workflow_id
from models.payments import RefundRecord
from workflows.booking import BookingWorkflow
from workflows.payments import LatePaymentWorkflow, RefundWorkflow
from workflows.policies import BOOKING_QUEUE, RPC_TIMEOUT, TASK_TIMEOUT


class Reporter:
    """Signals workflows over one client."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def report_payment(self, appointment_id: str, order_id: str, payment_id: str | None) -> None:
        """Tell the booking that there is something to look at; where it is closed, the order's guardian."""
        handle = self._client.get_workflow_handle(booking_workflow_id(appointment_id))
        try:
            await handle.signal(BookingWorkflow.payment_reported, payment_id, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                msg = "the workflow service does not answer"
                raise UnavailableError(msg) from error
            await self._wake_guardian(appointment_id, order_id, payment_id)

    async def _wake_guardian(self, appointment_id: str, order_id: str, payment_id: str | None) -> None:
        try:
            await self._client.start_workflow(
                LatePaymentWorkflow.run,
                LateOrder(order_id=order_id, appointment_id=appointment_id),
                id=late_payment_workflow_id(order_id),
                task_queue=BOOKING_QUEUE,
                task_timeout=TASK_TIMEOUT,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal="payment_reported",
                start_signal_args=[payment_id],
                static_summary="guards an order whose booking is over",
                rpc_timeout=RPC_TIMEOUT,
            )
        except RPCError as error:
            msg = "the workflow service does not answer"
            raise UnavailableError(msg) from error

    async def report_refund(self, refund: RefundRecord) -> None:
        """Tell a refund's workflow to look again, starting it where it is gone."""
        try:
            await self._client.start_workflow(
                RefundWorkflow.run,
                refund,
                id=refund_workflow_id(refund.id),
                task_queue=BOOKING_QUEUE,
                task_timeout=TASK_TIMEOUT,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal="refund_reported",
                static_summary=f"refund of {refund.amount} paise",
                rpc_timeout=RPC_TIMEOUT,
            )
        except RPCError as error:
            msg = "the workflow service does not answer"
            raise UnavailableError(msg) from error
