"""The bare booking: the steps and messages of `BookingWorkflow` up to its confirmation, and nothing behind them.

Steps run as the product's do (local first, same time-outs, same messages), with the same update-with-start, signal,
timers, search attributes and details; their bodies are empty and payloads travel in clear. What a booking costs more
than this is the price of MongoDB, HTTP, encryption and everything that the product decides.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from activities.payments import AskPayment, CapturePayment, OpenOrder, PaymentAnswer
    from models.booking import (
        Advance,
        Advanced,
        AppointmentState,
        ClaimRef,
        EventType,
        HoldSlot,
        PlaceBooking,
        Placed,
        WaitingFor,
        sources_of,
    )
    from models.operations import WorkflowStatus
    from models.payments import Capture, GatewayPaymentStatus, PaymentFact, PaymentState
    from workflows import attributes
    from workflows.booking_steps import HOLD_BACKSTOP
    from workflows.policies import GATEWAY_READ, GATEWAY_WRITE, STORE, local_first, until


class SkeletonSteps:
    """The booking's six steps with empty bodies; the last one tells the bench that a booking is confirmed."""

    def __init__(self, confirmed: Callable[[str], None]) -> None:
        """`confirmed` gets the appointment's id."""
        self._confirmed = confirmed

    @activity.defn(name="skeleton.hold")
    async def hold(self, step: HoldSlot) -> bool:  # noqa: ARG002  the message is the point
        """Nothing is held."""
        return True

    @activity.defn(name="skeleton.open_order")
    async def open_order(self, step: OpenOrder) -> str:
        """No order is opened."""
        return f"order_{step.appointment_id}"

    @activity.defn(name="skeleton.ask")
    async def ask(self, step: AskPayment) -> PaymentAnswer:
        """Everybody has paid."""
        fact = PaymentFact(
            payment_id="pay_skeleton",
            order_id=step.order_id,
            amount=step.amount,
            currency="INR",
            status=GatewayPaymentStatus.AUTHORIZED,
            captured=False,
            method="upi",
        )
        return PaymentAnswer(settles=fact, strays=())

    @activity.defn(name="skeleton.book")
    async def book(self, claim: ClaimRef) -> bool:  # noqa: ARG002  the message is the point
        """Nothing is booked."""
        return True

    @activity.defn(name="skeleton.capture")
    async def capture(self, step: CapturePayment) -> bool:  # noqa: ARG002  the message is the point
        """Nothing is captured."""
        return True

    @activity.defn(name="skeleton.confirm")
    async def confirm(self, step: Advance) -> Advanced:
        """Nothing is written; the bench is told."""
        self._confirmed(step.appointment_id)
        return Advanced(applied=True, state=AppointmentState.CONFIRMED, payment_state=PaymentState.CAPTURED)


@workflow.defn(name="SkeletonBooking")
class SkeletonBooking:
    """Hold, order, wait for the payment, ask, book, capture, confirm, wait for the visit."""

    @workflow.init
    def __init__(self, command: PlaceBooking) -> None:
        """All state exists before any handler may run."""
        self._command = command
        self._state = AppointmentState.HELD
        self._placed: Placed | None = None
        self._reported = False
        self._waiting: WaitingFor | None = None
        self._deadline = workflow.now() + command.policy.payment_window
        self._release_at = self._deadline + command.policy.payment_grace

    @workflow.run
    async def run(self, command: PlaceBooking) -> AppointmentState:
        """From the hold to the end of the visit."""
        order_id = await self._place(command)
        await until(lambda: self._reported, self._release_at, "release the hold")
        if not self._reported:
            return AppointmentState.EXPIRED
        await self._be_paid(command, order_id)
        self._state = AppointmentState.CONFIRMED
        workflow.upsert_search_attributes(
            [
                attributes.BOOKING_STATE.value_set(AppointmentState.CONFIRMED),
                attributes.PAYMENT_STATE.value_set(PaymentState.CAPTURED),
            ]
        )
        self._wait_for("visit", command.closes_at)
        await until(lambda: False, command.closes_at, "the visit is over")
        return self._state

    @workflow.update
    async def place(self) -> Placed:
        """The outcome of placing."""
        await workflow.wait_condition(lambda: self._placed is not None)
        if self._placed is None:
            raise RuntimeError("woken before the placing was done")
        return self._placed

    @workflow.signal
    def payment_reported(self, payment_id: str | None) -> None:
        """Somebody has paid."""
        self._reported = payment_id is not None

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, and until when."""
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=())

    async def _place(self, command: PlaceBooking) -> str:
        hold = HoldSlot(
            command=command,
            at=workflow.now(),
            deadline=self._deadline,
            expires_at=self._release_at + HOLD_BACKSTOP,
            waiting_for=WaitingFor(event="payment", until=self._deadline),
        )
        await local_first(SkeletonSteps.hold, hold, STORE, "hold the time")
        self._wait_for("payment", self._release_at)
        order = OpenOrder(
            tenant_id=command.tenant_id,
            appointment_id=command.appointment_id,
            amount=command.service.fee,
            window=command.policy.payment_window + command.policy.payment_grace,
            at=workflow.now(),
        )
        order_id = await local_first(SkeletonSteps.open_order, order, GATEWAY_WRITE, "open the order")
        self._placed = Placed(body_hash=command.body_hash)
        return order_id

    async def _be_paid(self, command: PlaceBooking, order_id: str) -> None:
        question = AskPayment(order_id=order_id, amount=command.service.fee.amount)
        answer = await local_first(SkeletonSteps.ask, question, GATEWAY_READ, "ask the gateway")
        if answer.settles is None:
            raise RuntimeError("the skeleton's gateway always knows of a payment")
        await local_first(SkeletonSteps.book, command.claim, STORE, "book the time")
        capture = CapturePayment(
            capture=Capture(
                tenant_id=command.tenant_id,
                appointment_id=command.appointment_id,
                subject_id=command.subject_id,
                order_id=order_id,
                payment_id=answer.settles.payment_id,
                amount=answer.settles.amount,
                method=answer.settles.method,
            ),
            already_captured=False,
            at=workflow.now(),
        )
        await local_first(SkeletonSteps.capture, capture, GATEWAY_WRITE, "capture the payment")
        await local_first(SkeletonSteps.confirm, _confirmation(command, answer.settles), STORE, "confirm")

    def _wait_for(self, event: str, until: datetime) -> None:
        self._waiting = WaitingFor(event=event, until=until)
        workflow.set_current_details(f"{self._state}; waiting for {event} until {until:%Y-%m-%d %H:%M:%S} UTC")


def _confirmation(command: PlaceBooking, fact: PaymentFact) -> Advance:
    return Advance(
        tenant_id=command.tenant_id,
        appointment_id=command.appointment_id,
        event=EventType.CONFIRMED,
        event_id=f"{command.appointment_id}:{EventType.CONFIRMED}:once",
        at=workflow.now(),
        to=AppointmentState.CONFIRMED,
        sources=sources_of(AppointmentState.CONFIRMED),
        payment_state=PaymentState.CAPTURED,
        payment_id=fact.payment_id,
        captured_added=fact.amount,
        waiting_for=WaitingFor(event="visit", until=command.closes_at),
    )
