"""The acts of the story: each tells what happens, and checks it against the API and the gateway's own ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from cli.demo.farewell import a_farewell
from cli.demo.practice import a_practice_joins
from cli.demo.stage import Ending, Say, Stage, StoryError, Time, Visitor, insist, order_of, seen
from cli.demo.views import AppointmentSeen, SlotTakenSeen
from cli.demo.visit import a_visit
from models.booking import AppointmentState
from models.payments import PaymentState

TOMORROW: Final = timedelta(days=1)
IN_TEN_DAYS: Final = timedelta(days=10)
CROWD: Final = 50
ALTERNATIVES: Final = 3


@dataclass(frozen=True)
class Act:
    """One act: what should happen, and the states that it should end in."""

    title: str
    expected: str
    state: AppointmentState | None
    payment_state: PaymentState | None
    play: Callable[[Stage, Say], Awaitable[Ending]]


async def paid_in_time(stage: Stage, say: Say) -> Ending:
    """Hold, pay, report what the checkout returned, confirmed."""
    meena = stage.visitor(1)
    when = await stage.free_time("Ananya Rao", "Consultation", TOMORROW, IN_TEN_DAYS)
    say(f"Meena asks for {when}")
    held = await meena.book(when)
    say(f"the time is hers for now; she pays {when.fee} by UPI")
    confirmed = await _pay(stage, meena, held, report=True)
    money = await stage.money_of(held.id)
    insist(money.order.amount_paid == when.fee.amount, "the gateway did not receive the fee")
    insist([one.status for one in money.payments] == ["captured"], "the gateway did not capture one payment")
    insist(not money.refunds, "the gateway sent money back")
    return Ending(confirmed, f"{when.fee} captured, visit {confirmed.reference} confirmed")


async def nobody_pays(stage: Stage, say: Say) -> Ending:
    """Hold, let the deadline pass, and see the time on offer again."""
    imran = stage.visitor(2)
    when = await stage.free_time("Rohan Deshpande", "Orthopaedic consultation", TOMORROW, IN_TEN_DAYS)
    held = await imran.book(when)
    insist(not await stage.is_free(when), "a held time is offered to others")
    say(f"Imran holds {when} and leaves the checkout")
    expired = await imran.until(held.id, lambda one: one.state is AppointmentState.EXPIRED, "the hold has expired")
    insist(await stage.is_free(when), "the time did not become free again")
    money = await stage.money_of(held.id)
    insist(not money.payments, "the gateway has a payment that nobody made")
    return Ending(expired, "nothing was paid, the time is free again")


async def paid_too_late(stage: Stage, say: Say) -> Ending:
    """Hold, expire, then the bank captures by itself: the money goes back."""
    priya = stage.visitor(3)
    when = await stage.free_time("Sneha Kulkarni", "Skin and hair consultation", TOMORROW, IN_TEN_DAYS)
    held = await priya.book(when)
    order_id = _order(held)
    say(f"Priya holds {when}; her bank thinks about it for too long")
    await priya.until(held.id, lambda one: one.state is AppointmentState.EXPIRED, "the hold has expired")
    say("the time is given up, and only now the bank takes the money")
    await stage.somebody_pays(order_id, "captured")
    refunded = await priya.until(held.id, _is_settled, "the late money went back")
    money = await stage.money_of(held.id)
    insist([one.amount_refunded for one in money.payments] == [when.fee.amount], "not all of the money went back")
    insist([one.amount for one in money.refunds] == [when.fee.amount], "there is not exactly one full refund")
    return Ending(refunded, f"{when.fee} came after the deadline and went back")


async def cancelled_in_time(stage: Stage, say: Say) -> Ending:
    """Pay, cancel more than 12 hours before: everything goes back."""
    joseph = stage.visitor(4)
    when = await stage.free_time("Vikram Shenoy", "Cardiology consultation with ECG", TOMORROW, IN_TEN_DAYS)
    say(f"Joseph books {when}")
    ended, refunded = await _pay_and_cancel(stage, joseph, when, say)
    insist(refunded == when.fee.amount, f"{refunded} of {when.fee.amount} paise went back")
    return Ending(ended, f"cancelled in the free window, all of {when.fee} went back")


async def cancelled_late(stage: Stage, say: Say) -> Ending:
    """Pay, cancel less than 12 hours before: half goes back, as the policy says."""
    farah = stage.visitor(5)
    soon, later = timedelta(hours=2, minutes=10), timedelta(hours=11)
    when = await stage.free_time("Kavya Hegde", "Video consultation, day and night", soon, later)
    say(f"Farah books {when}, in a few hours")
    ended, refunded = await _pay_and_cancel(stage, farah, when, say)
    insist(refunded == when.fee.amount // 2, f"{refunded} of {when.fee.amount} paise went back")
    return Ending(ended, f"cancelled after the free window, half of {when.fee} went back")


async def fifty_at_once(stage: Stage, say: Say) -> Ending:
    """Fifty people ask for one time in the same moment: one has it, the others are told what else is free."""
    when = await stage.free_time("Siddharth Mehta", "ENT consultation", TOMORROW, IN_TEN_DAYS)
    say(f"{CROWD} people ask for {when} in the same moment")
    before = {order.id for order in (await stage.ledger()).orders}
    crowd = [stage.visitor(100 + number) for number in range(CROWD)]
    answers = await asyncio.gather(*(one.ask_for(when) for one in crowd))
    winners = [place for place, answer in enumerate(answers) if answer.status_code == HTTPStatus.CREATED]
    insist(len(winners) == 1, f"{len(winners)} of them have it")
    for answer in answers[: winners[0]] + answers[winners[0] + 1 :]:
        refusal = seen(answer, SlotTakenSeen, HTTPStatus.CONFLICT)
        insist(refusal.code == "slot_taken", f"a loser was told {refusal.code}")
        insist(len(refusal.alternatives) == ALTERNATIVES, "a loser was not told what else is free")
    winner, won = crowd[winners[0]], seen(answers[winners[0]], AppointmentSeen, HTTPStatus.CREATED)
    say(f"one has it and pays; {CROWD - 1} are told the next three free times")
    held = await winner.until(won.id, lambda one: order_of(one) is not None, "there is something to pay")
    confirmed = await _pay(stage, winner, held, report=False)
    orders = [order for order in (await stage.ledger()).orders if order.id not in before]
    insist([order.receipt for order in orders] == [won.id], f"the gateway was asked for {len(orders)} orders")
    return Ending(confirmed, f"1 booked and paid, {CROWD - 1} refused with alternatives, 1 order at the gateway")


ACTS: Final = (
    Act(
        "A booking, paid",
        "held, paid, confirmed",
        AppointmentState.CONFIRMED,
        PaymentState.CAPTURED,
        paid_in_time,
    ),
    Act(
        "Nobody pays",
        "the hold expires, the time is free again",
        AppointmentState.EXPIRED,
        PaymentState.PENDING,
        nobody_pays,
    ),
    Act(
        "Paid too late",
        "stays expired, the money goes back",
        AppointmentState.EXPIRED,
        PaymentState.REFUNDED,
        paid_too_late,
    ),
    Act(
        "Cancelled in time",
        "cancelled, all of it goes back",
        AppointmentState.CANCELLED,
        PaymentState.REFUNDED,
        cancelled_in_time,
    ),
    Act(
        "Cancelled late",
        "cancelled, half of it goes back",
        AppointmentState.CANCELLED,
        PaymentState.PARTIALLY_REFUNDED,
        cancelled_late,
    ),
    Act(
        "Fifty after one time",
        "one has it, 49 get alternatives",
        AppointmentState.CONFIRMED,
        PaymentState.CAPTURED,
        fifty_at_once,
    ),
    Act(
        "A practice joins",
        "reviewed, made, live, its first visit booked",
        AppointmentState.CONFIRMED,
        PaymentState.DUE_AT_CLINIC,
        a_practice_joins,
    ),
    Act(
        "A visit, from booking to review",
        "moved, reminded, seen, followed up, rated",
        AppointmentState.COMPLETED,
        PaymentState.CAPTURED,
        a_visit,
    ),
    Act("A farewell", "exported, forgotten; three witnesses agree", None, None, a_farewell),
)


def _order(held: AppointmentSeen) -> str:
    order_id = order_of(held)
    if order_id is None:
        raise StoryError("there is no order to pay")
    return order_id


async def _pay(stage: Stage, visitor: Visitor, held: AppointmentSeen, *, report: bool) -> AppointmentSeen:
    """Pay and wait for the confirmation; without `report` the tab is closed, and only the webhook tells."""
    paid = await stage.somebody_pays(_order(held), "authorized")
    if report:
        await visitor.report_payment(held.id, paid)
    return await visitor.until(held.id, lambda one: one.state is AppointmentState.CONFIRMED, "it is confirmed")


async def _pay_and_cancel(stage: Stage, visitor: Visitor, when: Time, say: Say) -> tuple[AppointmentSeen, int]:
    """Book, pay, cancel; the settled appointment and the paise that the gateway sent back."""
    held = await visitor.book(when)
    await _pay(stage, visitor, held, report=False)
    say("paid and confirmed; then something comes up, and the visit is cancelled")
    await visitor.cancel(held.id)
    settled = await visitor.until(held.id, _is_settled, "the refund was carried out")
    money = await stage.money_of(held.id)
    insist(all(one.status == "processed" for one in money.refunds), "the gateway has not carried the refund out")
    return settled, sum(one.amount_refunded for one in money.payments)


def _is_settled(appointment: AppointmentSeen) -> bool:
    """Whether money went back, with the gateway's last word on it."""
    return bool(appointment.refunds) and all(one.state == "processed" for one in appointment.refunds)
