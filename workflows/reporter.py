"""How facts reach workflows: to the open one, or to the one that looks after what is over."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.payments import LateOrder
from models.deletions import DeletionRef
from models.errors import UnavailableError
from models.ids import booking_workflow_id, late_payment_workflow_id, leave_workflow_id, refund_workflow_id
from models.payments import RefundRecord
from models.publishing import LeaveRef, LeaveTally
from models.rights import RightsState
from models.upkeep import UnheardRequest, UnheardReview, Unsent
from workflows.availability import LeaveWorkflow
from workflows.booking import BookingWorkflow
from workflows.deletions_gateway import deletion
from workflows.following_up import FollowUps
from workflows.messenger import delivery_of
from workflows.payments import LatePaymentWorkflow, RefundWorkflow
from workflows.policies import BOOKING_QUEUE, RPC_TIMEOUT
from workflows.rights_gateway import clock_of
from workflows.starting import Begin, begin


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
        await begin(
            self._client,
            Begin(
                LatePaymentWorkflow.run,
                LateOrder(order_id=order_id, appointment_id=appointment_id),
                id=late_payment_workflow_id(order_id),
                queue=BOOKING_QUEUE,
                summary="guards an order whose booking is over",
                again=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            ),
            signal="payment_reported",
            told=[payment_id],
        )

    async def begin_leave(self, leave: LeaveRef) -> WorkflowHandle[Any, LeaveTally]:
        """Have a leave's free time blocked, or given back where it was ended. Raises `UnavailableError`."""
        return await begin(
            self._client,
            Begin(
                LeaveWorkflow.run,
                leave,
                id=leave_workflow_id(leave.leave_id),
                queue=BOOKING_QUEUE,
                summary="takes a provider's free time for a leave",
                again=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            ),
        )

    async def begin_message(self, message: Unsent) -> None:
        """Have a kept message delivered. Raises `UnavailableError`."""
        await begin(self._client, delivery_of(message))

    async def begin_follow_up(self, review: UnheardReview) -> None:
        """Have a visit's follow-up look at its review. Raises `UnavailableError`."""
        await FollowUps(self._client).look_again(review.tenant_id, review.appointment_id, review.subject_id)

    async def begin_request(self, request: UnheardRequest) -> None:
        """Have the clock of a request by right run, or its answer passed on. Raises `UnavailableError`."""
        answered = request.state is RightsState.ANSWERED
        await begin(self._client, clock_of(request.about), signal="answered" if answered else None)

    async def begin_deletion(self, about: DeletionRef) -> None:
        """Have somebody forgotten who has confirmed it. Raises `UnavailableError`."""
        await begin(self._client, deletion(about))

    async def report_refund(self, refund: RefundRecord) -> None:
        """Tell a refund's workflow to look again, starting it where it is gone."""
        await begin(
            self._client,
            Begin(
                RefundWorkflow.run,
                refund,
                id=refund_workflow_id(refund.id),
                queue=BOOKING_QUEUE,
                summary=f"refund of {refund.amount} paise",
                again=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            ),
            signal="refund_reported",
        )
