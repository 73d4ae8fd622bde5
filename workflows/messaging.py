"""A message on its way to a person: sent, or given up when it is worth nothing any more."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.messaging import Delivery, MessagingActivities
    from models.booking import WaitingFor
    from models.messaging import MessageState
    from models.operations import WorkflowStatus
    from workflows.policies import DELIVERY, NOTE, is_cancelled, local_first

SHORTEST = timedelta(seconds=1)
"""What is already over when it comes is still asked for once: the step itself says that it has expired."""


@workflow.defn(name="MessageWorkflow")
class MessageWorkflow:
    """Delivers one message and ends by its expiry. Receipts come later, by webhook, and need no workflow."""

    @workflow.init
    def __init__(self, delivery: Delivery) -> None:
        """All state exists before any handler may run."""
        self._state = MessageState.QUEUED
        self._waiting: WaitingFor | None = WaitingFor(event="delivery", until=delivery.expires_at)

    @workflow.run
    async def run(self, delivery: Delivery) -> MessageState:
        """Hand it over; what became of it."""
        workflow.set_current_details(f"tries to send until {delivery.expires_at:%Y-%m-%d %H:%M:%S} UTC")
        left = max(delivery.expires_at - workflow.now(), SHORTEST)
        try:
            self._state = await local_first(MessagingActivities.deliver, delivery, DELIVERY, "send it", within=left)
        except FailureError as error:
            if is_cancelled(error):
                raise
            self._state = await local_first(MessagingActivities.give_up, delivery, NOTE, "give it up")
        self._waiting = None
        workflow.set_current_details(f"the message is {self._state}")
        return self._state

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        done = () if self._state is MessageState.QUEUED else (str(self._state),)
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=done)
