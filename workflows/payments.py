"""Money that goes back, and money that comes when nobody expects it any more."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.booking import BookingActivities
    from activities.payments import (
        AskPayment,
        CapturePayment,
        LateFound,
        LateOrder,
        OpenRefund,
        PaymentActivities,
        PaymentAnswer,
        SettleRefund,
    )
    from models.base import Model
    from models.booking import Advance, EventType, PlaceBooking, WaitingFor
    from models.ids import late_payment_workflow_id, refund_workflow_id
    from models.operations import WorkflowStatus
    from models.payments import (
        Capture,
        PaymentFact,
        PaymentState,
        RefundFact,
        RefundReason,
        RefundRecord,
        RefundState,
        owed_refund_id,
    )
    from workflows import attributes
    from workflows.policies import (
        BOOKING_QUEUE,
        GATEWAY_READ,
        GATEWAY_WRITE,
        REFUND_TRY,
        STORE,
        is_cancelled,
        is_refusal,
        local_first,
        regular,
        until,
    )
    from workflows.starting import Begin, begin_child

FIRST_LOOK = timedelta(seconds=10)
LAST_LOOK_GAP = timedelta(hours=6)
REFUND_PATIENCE = timedelta(days=30)
"""Refunds take 5 to 7 working days; after this somebody must look."""

LATE_LOOK = timedelta(minutes=30)
"""How often the guardian of an order asks by itself; a webhook wakes it at once."""


class Parties(Model):
    """Whose money it is."""

    tenant_id: str
    appointment_id: str
    subject_id: str

    @classmethod
    def of(cls, command: PlaceBooking) -> Parties:
        """Those of a booking."""
        return cls(tenant_id=command.tenant_id, appointment_id=command.appointment_id, subject_id=command.subject_id)


async def answered(asking: Awaitable[PaymentAnswer]) -> PaymentAnswer:
    """Await the gateway's answer about an order; where it refuses to give one, nobody has paid, and somebody looks."""
    try:
        return await asking
    except FailureError as error:
        if not is_refusal(error):
            raise
        attributes.call_a_human()
        return PaymentAnswer(settles=None, strays=())


async def capture(parties: Parties, fact: PaymentFact, *, stray: bool = False) -> bool:
    """Take the money and book it; False where it is gone. What the gateway took by itself is only booked.

    Money that the gateway has and refuses to hand over counts as gone: it goes back to the payer by itself.
    """
    step = CapturePayment(
        capture=Capture(
            tenant_id=parties.tenant_id,
            appointment_id=parties.appointment_id,
            subject_id=parties.subject_id,
            order_id=fact.order_id or "none",
            payment_id=fact.payment_id,
            amount=fact.amount,
            method=fact.method,
            stray=stray,
        ),
        already_captured=fact.captured,
        at=workflow.now(),
    )
    try:
        return await local_first(PaymentActivities.capture, step, GATEWAY_WRITE, "capture the payment")
    except FailureError as error:
        if not is_refusal(error):
            raise
        attributes.call_a_human()
        return False


async def give_back(parties: Parties, fact: PaymentFact, amount: int, reason: RefundReason) -> RefundRecord | None:
    """Promise up to `amount` paise back and start the refund's own workflow, once per payment and reason.

    Earlier refunds of the same money count; None where they have left nothing.
    """
    wanted = RefundRecord(
        id=owed_refund_id(parties.appointment_id, fact.payment_id, reason),
        tenant_id=parties.tenant_id,
        appointment_id=parties.appointment_id,
        subject_id=parties.subject_id,
        payment_id=fact.payment_id,
        amount=amount,
        reason=reason,
    )
    step = OpenRefund(refund=wanted, at=workflow.now())
    promised = await local_first(PaymentActivities.open_refund, step, STORE, "promise the refund")
    if not promised:
        return None
    refund = wanted.model_copy(update={"amount": promised})
    await begin_child(
        Begin(
            RefundWorkflow.run,
            refund,
            id=refund_workflow_id(refund.id),
            queue=BOOKING_QUEUE,
            summary=f"refund of {promised} paise",
            tenant_id=refund.tenant_id,
            subject_id=refund.subject_id,
        )
    )
    return refund


async def guard(late: LateOrder) -> None:
    """Start the guardian of an order whose booking is about to close; one that is there already looks by itself."""
    await begin_child(
        Begin(
            LatePaymentWorkflow.run,
            late,
            id=late_payment_workflow_id(late.order_id),
            queue=BOOKING_QUEUE,
            summary="guards an order whose booking is over",
            again=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
    )


@workflow.defn(name="RefundWorkflow")
class RefundWorkflow:
    """One refund, from the request to the gateway's last word; unknown until that has come."""

    @workflow.init
    def __init__(self, refund: RefundRecord) -> None:
        """All state exists before any handler may run."""
        self._refund = refund
        self._state = refund.state
        self._reported = False
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []

    @workflow.run
    async def run(self, refund: RefundRecord) -> RefundState:
        """Send it, then look until it is processed or has failed."""
        give_up = workflow.now() + REFUND_PATIENCE
        gap = FIRST_LOOK
        while not await self._look():
            now = workflow.now()
            if now >= give_up:
                attributes.call_a_human()
            await self._sleep_until(now + gap)
            gap = min(gap * 2, LAST_LOOK_GAP)
        self._waiting = None
        workflow.set_current_details(f"refund of {refund.amount} paise: {self._state}")
        return self._state

    @workflow.signal
    def refund_reported(self) -> None:
        """The gateway says that something happened; it is asked before anything is believed."""
        self._reported = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=tuple(self._done))

    async def _look(self) -> bool:
        """Ask the gateway (the first time: ask it for the refund); whether that was its last word."""
        sent = self._refund.gateway_refund_id is not None
        try:
            if sent:
                fact = await regular(PaymentActivities.refund_status, self._refund, REFUND_TRY, "ask for the refund")
            else:
                fact = await regular(PaymentActivities.send_refund, self._refund, REFUND_TRY, "send the refund")
        except ActivityError as error:
            if is_cancelled(error):
                raise
            return await self._no_answer(refused=is_refusal(error) and not sent)
        await self._settle(fact.state, fact)
        return self._state in (RefundState.PROCESSED, RefundState.FAILED)

    async def _no_answer(self, *, refused: bool) -> bool:
        if not refused:
            await self._settle(RefundState.UNKNOWN, None)
            return False
        # Refused for good, before the gateway made a refund of it: a person has to find another way.
        attributes.call_a_human()
        await self._settle(RefundState.FAILED, None)
        return True

    async def _settle(self, state: RefundState, fact: RefundFact | None) -> None:
        gateway_id = fact.refund_id if fact else self._refund.gateway_refund_id
        if state is self._state and gateway_id == self._refund.gateway_refund_id:
            return
        if state is RefundState.FAILED and self._refund.gateway_refund_id != gateway_id:
            # The books must have seen the refund leave before they can see it come back.
            await self._book(RefundState.PENDING, gateway_id)
        await self._book(state, gateway_id)

    async def _book(self, state: RefundState, gateway_id: str | None) -> None:
        step = SettleRefund(refund=self._refund, state=state, gateway_refund_id=gateway_id, at=workflow.now())
        self._refund = await local_first(PaymentActivities.settle_refund, step, STORE, f"refund {state}")
        if self._refund.state is RefundState.FAILED:
            attributes.call_a_human()
        self._state = self._refund.state
        self._done.append(self._state)

    async def _sleep_until(self, instant: datetime) -> None:
        self._waiting = WaitingFor(event="refund", until=instant)
        workflow.set_current_details(f"{self._state}; asks the gateway again by {instant:%Y-%m-%d %H:%M:%S} UTC")
        await until(lambda: self._reported, instant, "ask the gateway again")
        self._reported = False


@workflow.defn(name="LatePaymentWorkflow")
class LatePaymentWorkflow:
    """Guards an order whose booking is over, for the days in which money can still arrive.

    What is only authorized is never captured and lapses; what the gateway captured goes back. An appointment that
    expired or was cancelled stays so.
    """

    @workflow.init
    def __init__(self, late: LateOrder) -> None:
        """All state exists before any handler may run."""
        self._late = late
        self._reported = False
        self._seen: set[str] = set()
        self._left: set[str] = set()
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []

    @workflow.run
    async def run(self, late: LateOrder) -> int:
        """Look, give back, wait; the number of payments that went back."""
        found = await local_first(PaymentActivities.late_order, late, STORE, "whose order")
        if found is None:
            return 0
        workflow.upsert_search_attributes(
            [attributes.TENANT_ID.value_set(found.tenant_id), attributes.SUBJECT_REF.value_set(found.subject_id)]
        )
        parties = Parties(tenant_id=found.tenant_id, appointment_id=late.appointment_id, subject_id=found.subject_id)
        while True:
            self._reported = False
            await self._look(parties, found)
            if workflow.now() >= found.watch_until:
                break
            await self._sleep_until(min(found.watch_until, workflow.now() + LATE_LOOK))
        self._waiting = None
        workflow.set_current_details(f"the order is closed; {len(self._seen)} payments were seen late")
        return len(self._seen)

    @workflow.signal
    def payment_reported(self, payment_id: str | None) -> None:
        """Somebody says that there is something to look at; the gateway is asked before anything is believed."""
        workflow.logger.debug("told of payment %s", payment_id)
        self._reported = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        return WorkflowStatus(state="watching", waiting_for=self._waiting, done=tuple(self._done))

    async def _look(self, parties: Parties, found: LateFound) -> None:
        question = AskPayment(order_id=self._late.order_id, amount=found.amount, settled_by=found.settled_by, over=True)
        answer = await answered(regular(PaymentActivities.ask, question, GATEWAY_READ, "ask the gateway"))
        for stray in answer.strays:
            if stray.payment_id not in self._seen:
                self._seen.add(stray.payment_id)
                await self._return(parties, stray)
        pending = answer.settles
        if pending is None or pending.captured or found.voided or not found.over or pending.payment_id in self._left:
            return
        # The bank may still capture it: then it goes back like any other.
        self._left.add(pending.payment_id)
        await self._note(parties, EventType.PAYMENT_VOIDED, PaymentState.VOIDED, pending, captured=0)
        self._done.append("left an authorized payment to lapse")

    async def _return(self, parties: Parties, stray: PaymentFact) -> None:
        await capture(parties, stray, stray=True)
        await self._note(parties, EventType.PAYMENT_LATE, PaymentState.CAPTURED, stray, captured=stray.amount)
        await give_back(parties, stray, stray.amount, RefundReason.LATE_PAYMENT)
        self._done.append("gave a late payment back")

    async def _note(
        self, parties: Parties, event: EventType, state: PaymentState, fact: PaymentFact, *, captured: int
    ) -> None:
        step = Advance(
            tenant_id=parties.tenant_id,
            appointment_id=parties.appointment_id,
            event=event,
            event_id=f"{parties.appointment_id}:{event}:{fact.payment_id}",
            at=workflow.now(),
            payment_state=state,
            payment_id=fact.payment_id if captured else None,
            captured_added=captured,
        )
        await local_first(BookingActivities.advance, step, STORE, str(event))

    async def _sleep_until(self, instant: datetime) -> None:
        self._waiting = WaitingFor(event="late payment", until=instant)
        workflow.set_current_details(f"watching for late money; asks again by {instant:%Y-%m-%d %H:%M:%S} UTC")
        await until(lambda: self._reported, instant, "ask the gateway again")
