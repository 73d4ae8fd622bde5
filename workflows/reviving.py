"""Visits and deletions whose workflows were lost: each gets one that goes on from where its document stands."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from models.booking import (
    STANDING,
    SYSTEM,
    Appointment,
    AppointmentState,
    Event,
    EventType,
    PlaceBooking,
    Standing,
)
from models.deletions import DeletionRef
from models.errors import UnavailableError
from models.ids import booking_workflow_id
from models.payments import GatewayPaymentStatus, PaymentFact
from workflows import attributes
from workflows.booking import BookingWorkflow
from workflows.deletions_gateway import deletion
from workflows.policies import BOOKING_QUEUE, RPC_TIMEOUT, TASK_TIMEOUT
from workflows.reminding import ReminderFollower
from workflows.starting import begin

_PLACED_BEFORE: Final = 0
"""Which version of the policy it was is of no matter any more: the policy itself comes along."""


class Reviver:
    """Begins workflows over one client."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client
        self._reminders = ReminderFollower(client)

    async def revive(self, appointment: Appointment) -> bool:
        """Have a visit that stands looked after again, and reminded of; whether its workflow was really lost.

        False too for what was never confirmed. One that the workflow service knows, ended ones included, is left
        alone: it may have gone further than the database. Raises `UnavailableError`.
        """
        if appointment.state not in STANDING:
            return False
        pairs = (
            (attributes.TENANT_ID, appointment.tenant_id),
            (attributes.SUBJECT_REF, appointment.subject_id),
            (attributes.PROVIDER_REF, appointment.provider_id),
        )
        try:
            await self._client.start_workflow(
                BookingWorkflow.run,
                command_of(appointment),
                id=booking_workflow_id(appointment.id),
                task_queue=BOOKING_QUEUE,
                task_timeout=TASK_TIMEOUT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=TypedSearchAttributes([SearchAttributePair(key, value) for key, value in pairs]),
                static_summary="a visit whose workflow was lost",
                rpc_timeout=RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        except RPCError as error:
            msg = "the workflow service does not answer"
            raise UnavailableError(msg) from error
        if appointment.state is AppointmentState.CONFIRMED:
            await self._reminders.follow(_confirmed(appointment))
        return True

    async def resume(self, about: DeletionRef) -> bool:
        """Have a deletion that took effect go on to its certificate; False where its workflow was not lost.

        Each of its steps leaves alone what is done already. Raises `UnavailableError`.
        """
        begun = await begin(self._client, deletion(about))
        return begun.first_execution_run_id is not None


def command_of(appointment: Appointment) -> PlaceBooking:
    """The command that leads to where the appointment stands."""
    service = appointment.service
    return PlaceBooking(
        **appointment.model_dump(
            include={
                "tenant_id", "clinic_id", "provider_id", "practitioner_id", "subject_id", "body_hash", "start", "end",
                "capacity", "timezone", "dependant_id",
            }
        ),
        appointment_id=appointment.id,
        actor=SYSTEM,
        service=service,
        claim_start=appointment.start - timedelta(minutes=service.buffer_before_minutes),
        claim_end=appointment.end + timedelta(minutes=service.buffer_after_minutes),
        policy=appointment.policy,
        policy_version=_PLACED_BEFORE,
        standing=Standing(
            state=appointment.state,
            payment_state=appointment.payment_state,
            order_id=appointment.order_id,
            payment=_settled_by(appointment),
            steps=len(appointment.history),
        ),
    )  # fmt: skip


def _settled_by(appointment: Appointment) -> PaymentFact | None:
    """What was captured for it: its very price, or it would not stand."""
    if appointment.payment_id is None:
        return None
    return PaymentFact(
        payment_id=appointment.payment_id,
        order_id=appointment.order_id,
        amount=appointment.service.fee.amount,
        currency=appointment.service.fee.currency,
        status=GatewayPaymentStatus.CAPTURED,
        captured=True,
    )


def _confirmed(appointment: Appointment) -> Event:
    return Event(
        **appointment.model_dump(include={"tenant_id", "clinic_id", "subject_id", "state", "payment_state", "version"}),
        id=f"{appointment.id}:revived",
        type=EventType.CONFIRMED,
        at=appointment.updated_at,
        actor=SYSTEM,
        appointment_id=appointment.id,
    )
