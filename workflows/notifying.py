"""Telling one person one thing: channel after channel, until one has brought it or none is left."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.messaging import Delivery, MessagingActivities
    from activities.notices import CloseNotice, NoticeActivities, Try
    from models.booking import WaitingFor
    from models.channels import RECEIPTS
    from models.messaging import Channel, MessageState
    from models.notices import OUTCOMES, Ending, Notice, NoticeState, Plan, Skip
    from models.operations import WorkflowStatus
    from workflows.policies import DELIVERY, NOTE, is_cancelled, local_first, until

SHORTEST = timedelta(seconds=1)
"""What is already over when it comes is still asked for once: the step itself says that it has expired."""

LOOK = timedelta(minutes=1)
"""How long the provider is asked what became of a message before the next channel is taken."""


@workflow.defn(name="NotifyWorkflow")
class NotifyWorkflow:
    """One notice. Its channels are tries of one message: the next one only where this one has failed or is silent."""

    @workflow.init
    def __init__(self, notice: Notice) -> None:
        """All state exists before any handler may run."""
        self._notice = notice
        self._state = NoticeState.PLANNED
        self._waiting: WaitingFor | None = None
        self._heard = False
        self._done: list[str] = []

    @workflow.run
    async def run(self, notice: Notice) -> NoticeState:
        """Plan it, try its channels, note how it ended."""
        plan = await self._planned()
        ending = plan.ended
        if ending is None:
            ending = Ending(state=NoticeState.SKIPPED, reason=plan.skip) if plan.skip else await self._told(plan)
        step = CloseNotice(tenant_id=notice.tenant_id, notice_id=notice.id, ending=ending)
        await local_first(NoticeActivities.close, step, NOTE, "note how it ended")
        self._state, self._waiting = ending.state, None
        workflow.set_current_details(f"{ending.state}{f': {ending.reason}' if ending.reason else ''}")
        return ending.state

    @workflow.signal
    def receipt(self) -> None:
        """The provider has said something of the last try; it is looked up before anything is believed."""
        self._heard = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=tuple(self._done))

    async def _planned(self) -> Plan:
        """How it goes; what has hours of its own waits for them and is planned again."""
        while True:
            plan = await local_first(NoticeActivities.plan, self._notice, NOTE, "whom, and by which channels")
            if plan.skip is not None or plan.not_before is None or plan.not_before <= workflow.now():
                return plan
            self._wait_for("its hours", plan.not_before)
            await until(lambda: False, plan.not_before, "its hours")

    async def _told(self, plan: Plan) -> Ending:
        best = Ending(state=NoticeState.FAILED, reason=Skip.NO_CHANNEL)
        for number, channel in enumerate(plan.channels, start=1):
            prepared = await local_first(
                NoticeActivities.prepare, Try(notice=self._notice, channel=channel), NOTE, f"word it for {channel}"
            )
            if prepared.delivery is None:
                if prepared.skip is Skip.NO_CHANNEL:
                    continue
                return _better(best, Ending(state=NoticeState.SKIPPED, reason=prepared.skip))
            patience = None if number == len(plan.channels) else timedelta(seconds=plan.receipt_seconds)
            state = await self._tried(prepared.delivery, channel, patience)
            self._done.append(f"{channel}: {state}")
            best = _better(best, Ending(state=OUTCOMES.get(state, NoticeState.FAILED), reason=None))
            if state is MessageState.DELIVERED or (state is MessageState.SENT and channel not in RECEIPTS):
                break
        return best

    async def _tried(self, delivery: Delivery, channel: Channel, patience: timedelta | None) -> MessageState:
        """Hand it over, and wait for the receipt where another channel could follow; `patience` None: the last one."""
        self._heard = False
        left = max(delivery.expires_at - workflow.now(), SHORTEST)
        within = left if patience is None else min(left, patience)
        self._wait_for(f"delivery by {channel}", workflow.now() + within)
        try:
            state = await local_first(
                MessagingActivities.deliver, delivery, DELIVERY, f"send it by {channel}", within=within
            )
        except FailureError as error:
            if is_cancelled(error):
                raise
            return await self._given_up(delivery)
        if state is MessageState.SENT and patience is not None and channel in RECEIPTS:
            return await self._receipt(delivery, channel, workflow.now() + patience)
        return state

    async def _receipt(self, delivery: Delivery, channel: Channel, deadline: datetime) -> MessageState:
        """What became of it by then; the provider tells once and may be asked."""
        self._wait_for(f"receipt of {channel}", deadline)
        while workflow.now() < deadline:
            await until(lambda: self._heard, deadline, f"receipt of {channel}")
            if not self._heard:
                break
            self._heard = False
            state = await local_first(MessagingActivities.standing, delivery, NOTE, "look what the receipt says")
            if state is not MessageState.SENT:
                return state
        return await self._looked(delivery, MessageState.SENT)

    async def _given_up(self, delivery: Delivery) -> MessageState:
        """Nobody knows whether the last try went out: ask the provider before another channel is taken."""
        state = await self._looked(delivery, MessageState.QUEUED)
        if state is MessageState.QUEUED:
            return await local_first(MessagingActivities.give_up, delivery, NOTE, "give this channel up")
        return state

    async def _looked(self, delivery: Delivery, otherwise: MessageState) -> MessageState:
        """The provider's word, or `otherwise` where it gives none for too long."""
        try:
            return await local_first(MessagingActivities.look, delivery, DELIVERY, "ask the provider", within=LOOK)
        except FailureError as error:
            if is_cancelled(error):
                raise
            return otherwise

    def _wait_for(self, event: str, instant: datetime) -> None:
        self._waiting = WaitingFor(event=event, until=instant)
        workflow.set_current_details(f"waiting for {event} until {instant:%Y-%m-%d %H:%M:%S} UTC")


_WORTH = {NoticeState.DELIVERED: 3, NoticeState.SENT: 2, NoticeState.FAILED: 1}


def _better(one: Ending, other: Ending) -> Ending:
    """The better of two endings; of equals the later."""
    return one if _WORTH.get(one.state, 1) > _WORTH.get(other.state, 1) else other
