"""What an appointment offers whoever looks at it: what they may do now, what there is to pay, what cancelling gives."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from models.base import Model, UtcDatetime
from models.booking import CANCELLABLE, RESCHEDULABLE, TRANSITIONS, Appointment, AppointmentState
from models.identity import Permission, Principal
from models.money import Money
from models.payments import PaymentState
from models.policy import cancel_until, refund_percent, reschedule_until

WHOLE = 100
"""Percent: what comes back where the doctor or the clinic cancels."""


class Action(StrEnum):
    """What somebody may do with an appointment; each is a route of its own."""

    PAY = "pay"
    CANCEL = "cancel"
    RESCHEDULE = "reschedule"
    CHECK_IN = "check_in"
    START = "start"
    COMPLETE = "complete"
    NO_SHOW = "no_show"
    REFUND = "refund"


STEPS: Final = {
    Action.CHECK_IN: (AppointmentState.CHECKED_IN, Permission.APPOINTMENT_CHECK_IN),
    Action.START: (AppointmentState.IN_CONSULTATION, Permission.APPOINTMENT_CONSULT),
    Action.COMPLETE: (AppointmentState.COMPLETED, Permission.APPOINTMENT_CONSULT),
    Action.NO_SHOW: (AppointmentState.NO_SHOW, Permission.APPOINTMENT_CHECK_IN),
}
"""What each step makes of a visit, and the permission to say so."""


class PaymentOffer(Model):
    """What is to be paid until when; `preparing` while the gateway has not named the order yet."""

    status: Literal["preparing", "ready"]
    order_id: str | None
    amount: Money
    deadline: UtcDatetime


class CancelTerms(Model):
    """Until when cancelling is free and moving possible (UTC), and the share that cancelling now gives back."""

    cancel_until: UtcDatetime
    reschedule_until: UtcDatetime
    refund_percent_now: int


def payment_offer(appointment: Appointment) -> PaymentOffer | None:
    """What there is to pay; None unless the time is held for it."""
    if appointment.state is not AppointmentState.HELD or appointment.deadline is None:
        return None
    return PaymentOffer(
        status="preparing" if appointment.order_id is None else "ready",
        order_id=appointment.order_id,
        amount=appointment.service.fee,
        deadline=appointment.deadline,
    )


def cancel_terms(appointment: Appointment, viewer: Principal, now: datetime) -> CancelTerms:
    """What cancelling means to this viewer; the policy is the one that the appointment was booked under."""
    policy, start = appointment.policy, appointment.start
    return CancelTerms(
        cancel_until=cancel_until(policy, start),
        reschedule_until=reschedule_until(policy, start),
        refund_percent_now=refund_percent(policy, start, now) if viewer.is_patient else WHOLE,
    )


def actions(appointment: Appointment, viewer: Principal, now: datetime) -> tuple[Action, ...]:
    """What this viewer, who can see the appointment, may do with it now."""
    allowed = viewer.permissions
    found = []
    if Permission.APPOINTMENT_PAY in allowed and _can_be_paid(appointment, now):
        found.append(Action.PAY)
    if Permission.APPOINTMENT_CANCEL in allowed and appointment.state in CANCELLABLE and now < appointment.closes_at:
        found.append(Action.CANCEL)
    if now < appointment.closes_at:
        found += _of_the_visit(appointment, viewer, now)
    if Permission.REFUND_CREATE in allowed and appointment.captured > appointment.refund_reserved:
        found.append(Action.REFUND)
    return tuple(found)


def _of_the_visit(appointment: Appointment, viewer: Principal, now: datetime) -> list[Action]:
    allowed, after = viewer.permissions, TRANSITIONS[appointment.state]
    found = []
    in_time = not viewer.is_patient or now < reschedule_until(appointment.policy, appointment.start)
    if Permission.APPOINTMENT_RESCHEDULE in allowed and appointment.state in RESCHEDULABLE and in_time:
        found.append(Action.RESCHEDULE)
    return found + [step for step, (to, permission) in STEPS.items() if permission in allowed and to in after]


def _can_be_paid(appointment: Appointment, now: datetime) -> bool:
    offer = payment_offer(appointment)
    pending = appointment.payment_state is PaymentState.PENDING
    return offer is not None and offer.status == "ready" and pending and now < offer.deadline
