"""The steps of a booking as its activities take them: built from command and time; and what is read meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow

from activities.booking import MoveBooking
from activities.payments import AskPayment, OpenOrder
from models.booking import (
    RESCHEDULABLE,
    SYSTEM,
    Actor,
    ActorKind,
    Advance,
    AppointmentState,
    Cancellation,
    EventType,
    HoldSlot,
    PlaceBooking,
    VisitTime,
    WaitingFor,
    sources_of,
)
from models.payments import PaymentFact, PaymentState, RefundReason
from models.policy import refund_amount
from models.visits import AWAITED
from workflows import attributes

HOLD_BACKSTOP = timedelta(minutes=10)
"""How much longer than the release the claim itself lives, should every worker be down."""


def hold_step(command: PlaceBooking, at: datetime, deadline: datetime, release_at: datetime) -> HoldSlot:
    """Take the time over, until it is paid or, where there is nothing to pay, for good."""
    if not command.needs_payment:
        waiting = WaitingFor(event=AWAITED[AppointmentState.CONFIRMED], until=command.no_show_at)
        return HoldSlot(command=command, at=at, deadline=None, expires_at=None, waiting_for=waiting)
    return HoldSlot(
        command=command,
        at=at,
        deadline=deadline,
        expires_at=release_at + HOLD_BACKSTOP,
        waiting_for=WaitingFor(event="payment", until=deadline),
    )


def order_step(command: PlaceBooking, at: datetime) -> OpenOrder:
    """Ask the gateway for the order."""
    return OpenOrder(
        tenant_id=command.tenant_id,
        appointment_id=command.appointment_id,
        amount=command.service.fee,
        window=command.policy.payment_window + command.policy.payment_grace,
        at=at,
    )


def question(command: PlaceBooking, order_id: str | None, settled_by: PaymentFact | None) -> AskPayment:
    """Ask the gateway what became of the order."""
    return AskPayment(
        order_id=order_id or "",
        amount=command.service.fee.amount,
        settled_by=settled_by.payment_id if settled_by else None,
    )


def advance_step(
    command: PlaceBooking,
    event: EventType,
    to: AppointmentState | None,
    payment: PaymentState | None,
    actor: Actor,
    *,
    at: datetime,
    occurrence: str = "once",
) -> Advance:
    """Change the appointment; `occurrence` tells this time from another one of the same event."""
    return Advance(
        tenant_id=command.tenant_id,
        appointment_id=command.appointment_id,
        event=event,
        event_id=f"{command.appointment_id}:{event}:{occurrence}",
        at=at,
        actor=actor,
        to=to,
        sources=frozenset(AppointmentState) if to is None else sources_of(to),
        payment_state=payment,
        waiting_for=awaited(command, to),
    )


def confirm_step(command: PlaceBooking, fact: PaymentFact, at: datetime) -> Advance:
    """The visit is certain: its money was taken."""
    advance = advance_step(
        command, EventType.CONFIRMED, AppointmentState.CONFIRMED, PaymentState.CAPTURED, SYSTEM, at=at
    )
    return advance.model_copy(update={"payment_id": fact.payment_id, "captured_added": fact.amount})


def unwanted_step(command: PlaceBooking, state: AppointmentState, fact: PaymentFact, at: datetime) -> Advance:
    """Money has come that settles nothing: it is noted, and what is awaited in this state stays awaited."""
    advance = advance_step(
        command, EventType.PAYMENT_LATE, None, PaymentState.CAPTURED, SYSTEM, at=at, occurrence=fact.payment_id
    )
    more = {"payment_id": fact.payment_id, "captured_added": fact.amount, "waiting_for": awaited(command, state)}
    return advance.model_copy(update=more)


def move_step(command: PlaceBooking, time: VisitTime, actor: Actor, at: datetime, occurrence: str) -> MoveBooking:
    """Move the visit, with what is awaited of it."""
    moved = command.at(time)
    advance = advance_step(moved, EventType.RESCHEDULED, None, None, actor, at=at, occurrence=occurrence).model_copy(
        update={
            "sources": RESCHEDULABLE,
            "moved_to": time,
            "closes_at": moved.closes_at,
            "waiting_for": awaited(moved, AppointmentState.CONFIRMED),
        }
    )
    return MoveBooking(command=moved, claim=command.claim, advance=advance)


def owed(command: PlaceBooking, cancelled: Cancellation, paid: int) -> tuple[int, RefundReason]:
    """What goes back of `paid` paise, by the policy that it was booked under, and why."""
    if cancelled.by is ActorKind.PATIENT:
        due = refund_amount(command.policy, command.start, cancelled.at, paid)
        return due, RefundReason.CANCELLED_BY_PATIENT
    return paid, RefundReason.CANCELLED_BY_CLINIC


def show(state: AppointmentState, payment: PaymentState) -> None:
    """Let operators find the booking by where it stands."""
    workflow.upsert_search_attributes(
        [attributes.BOOKING_STATE.value_set(state), attributes.PAYMENT_STATE.value_set(payment)]
    )


def awaited(command: PlaceBooking, state: AppointmentState | None) -> WaitingFor | None:
    """What is awaited of a booking that stands, and until when; None in every other state."""
    if state is None or state not in AWAITED:
        return None
    until = command.no_show_at if state is AppointmentState.CONFIRMED else command.closes_at
    return WaitingFor(event=AWAITED[state], until=until)


def waits(state: AppointmentState, event: str | None, until: datetime | None) -> WaitingFor | None:
    """What is awaited, as operators read it too; None where nothing is."""
    if event is None or until is None:
        workflow.set_current_details(f"{state}; nothing is awaited")
        return None
    workflow.set_current_details(f"{state}; waiting for {event} until {until:%Y-%m-%d %H:%M:%S} UTC")
    return WaitingFor(event=event, until=until)
