"""The invariants can fail: each is broken in what was really seen of a stack, and is then found broken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

import pytest
import pytest_asyncio

from models.booking import WaitingFor
from models.operations import WorkflowStatus
from tests import clinics
from tests.booking.support import book_paid, cancel, somebody, temporal, until_refunded
from tests.invariants import Evidence, collect, violations
from tests.stack import Json, Stack, eventually

KEPT, SEAT, CANCELLED = range(3)
"""The three bookings: a kept visit, a kept seat, and a cancelled visit whose money went back."""


class Sound(NamedTuple):
    """What was seen of three bookings that are all right, and their ids."""

    evidence: Evidence
    ids: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sound(shared_stack: Stack) -> Sound:
    visit, seat = clinics.offer("steady", "visit"), clinics.offer("steady", "class", "group")
    async with shared_stack.client(somebody()) as who:
        ids: list[str] = [(await book_paid(shared_stack, who, offer))["id"] for offer in (visit, seat, visit)]
        assert (await cancel(who, ids[CANCELLED])).is_success
        await until_refunded(who, ids[CANCELLED], "processed")
    told = {one: ["held", "confirmed"] for one in ids} | {ids[CANCELLED]: ["confirmed", "cancelled"]}
    client = await temporal(shared_stack)
    evidence = await eventually(
        lambda: collect(shared_stack, client, told, only=ids), lambda seen: not violations(seen)
    )
    return Sound(evidence, ids)


def _one(found: list[Json], wanted: str, field: str = "_id") -> Json:
    return next(one for one in found if one[field] == wanted)


def _of(found: list[Json], appointment: str) -> Json:
    return _one(found, appointment, "appointment_id")


# Each of these breaks one thing in a copy of what was seen.


def _overlapping_claim(seen: Sound) -> None:
    claim = _one(seen.evidence.slots, seen.ids[KEPT])
    shift = timedelta(minutes=5)
    other = {"_id": "another", "cells": [1, 2], "start": claim["start"] + shift, "end": claim["end"] + shift}
    seen.evidence.slots.append({**claim, **other})


def _shared_cell(seen: Sound) -> None:
    claim = _one(seen.evidence.slots, seen.ids[KEPT])
    far = timedelta(days=3000)
    seen.evidence.slots.append({**claim, "_id": "another", "start": claim["start"] + far, "end": claim["end"] + far})


def _crowded_session(seen: Sound) -> None:
    session = next(one for one in seen.evidence.slots if one["kind"] == "session")
    session["capacity"] = len(session["seats"]) - 1


def _two_seats(seen: Sound) -> None:
    session = next(one for one in seen.evidence.slots if one["kind"] == "session")
    session["capacity"] += 1
    session["seats"].append(next(seat for seat in session["seats"] if seat["owner"] == seen.ids[SEAT]))


def _time_not_given_back(seen: Sound) -> None:
    far = timedelta(days=3000)
    claim = _one(seen.evidence.slots, seen.ids[KEPT])
    moved = {"start": claim["start"] + far, "end": claim["end"] + far, "cells": [7]}
    seen.evidence.slots.append({**claim, **moved, "_id": seen.ids[CANCELLED]})


def _lost_time(seen: Sound) -> None:
    seen.evidence.slots.remove(_one(seen.evidence.slots, seen.ids[KEPT]))


def _another_time(seen: Sound) -> None:
    _one(seen.evidence.appointments, seen.ids[KEPT])["start"] += timedelta(minutes=15)


def _claim_of_nobody(seen: Sound) -> None:
    seen.evidence.appointments.remove(_one(seen.evidence.appointments, seen.ids[KEPT]))


def _unknown_payment(seen: Sound) -> None:
    seen.evidence.payments.remove(_of(seen.evidence.payments, seen.ids[KEPT]))


def _other_amount(seen: Sound) -> None:
    _of(seen.evidence.payments, seen.ids[KEPT])["amount"] += 100


def _taken(seen: Sound) -> Json:
    """The kept visit's payment at the gateway."""
    return _one(seen.evidence.gateway["payments"], _of(seen.evidence.payments, seen.ids[KEPT])["_id"], "id")


def _invented_payment(seen: Sound) -> None:
    seen.evidence.gateway["payments"].remove(_taken(seen))


def _wrong_sum(seen: Sound) -> None:
    _one(seen.evidence.appointments, seen.ids[KEPT])["captured"] += 100


def _wrong_promise(seen: Sound) -> None:
    _one(seen.evidence.appointments, seen.ids[CANCELLED])["refund_reserved"] = 0


def _kept_after_expiry(seen: Sound) -> None:
    _one(seen.evidence.appointments, seen.ids[KEPT])["state"] = "expired"


def _kept_after_cancelling(seen: Sound) -> None:
    seen.evidence.refunds.clear()
    _one(seen.evidence.appointments, seen.ids[CANCELLED])["refund_reserved"] = 0


def _sent_twice(seen: Sound) -> None:
    sent = seen.evidence.gateway["refunds"]
    sent.append({**_one(sent, _of(seen.evidence.refunds, seen.ids[CANCELLED])["_id"], "receipt"), "id": "rfnd_again"})


def _sent_by_nobody(seen: Sound) -> None:
    seen.evidence.refunds.clear()


def _never_sent(seen: Sound) -> None:
    seen.evidence.gateway["refunds"].clear()


def _unbalanced_transaction(seen: Sound) -> None:
    _of(seen.evidence.ledger, seen.ids[KEPT])["lines"][0]["amount"] += 1


def _unposted(seen: Sound) -> None:
    seen.evidence.ledger.remove(_of(seen.evidence.ledger, seen.ids[KEPT]))


def _posted_for_nothing(seen: Sound) -> None:
    seen.evidence.ledger.append({**_of(seen.evidence.ledger, seen.ids[KEPT]), "_id": "pay_nobody:capture"})


def _different_balance(seen: Sound) -> None:
    _taken(seen)["amount_refunded"] = 100


def _change(seen: Sound, workflow_id: str, status: str, answer: WorkflowStatus | None = None) -> None:
    seen.evidence.workflows = [
        one._replace(status=status, answer=answer) if one.id == workflow_id else one for one in seen.evidence.workflows
    ]


def _mute(seen: Sound) -> None:
    _change(seen, f"booking:{seen.ids[KEPT]}", "RUNNING")


def _answering(seen: Sound, workflow_id: str, waiting_for: WaitingFor | None) -> None:
    answer = next(one.answer for one in seen.evidence.workflows if one.id == workflow_id)
    assert answer is not None
    _change(seen, workflow_id, "RUNNING", answer.model_copy(update={"waiting_for": waiting_for}))


def _idle(seen: Sound) -> None:
    _answering(seen, f"booking:{seen.ids[KEPT]}", None)


def _overdue(seen: Sound) -> None:
    an_hour_ago = seen.evidence.now - timedelta(hours=1)
    _answering(seen, f"booking:{seen.ids[KEPT]}", WaitingFor(event="visit", until=an_hour_ago))


def _ended_badly(seen: Sound) -> None:
    _change(seen, f"booking:{seen.ids[CANCELLED]}", "FAILED")


def _unattended_booking(seen: Sound) -> None:
    _change(seen, f"booking:{seen.ids[KEPT]}", "COMPLETED")


def _unattended_refund(seen: Sound) -> None:
    _of(seen.evidence.refunds, seen.ids[CANCELLED])["state"] = "unknown"


def _lost_booking(seen: Sound) -> None:
    seen.evidence.appointments.remove(_one(seen.evidence.appointments, seen.ids[SEAT]))


def _unconfirmed(seen: Sound) -> None:
    _one(seen.evidence.appointments, seen.ids[KEPT])["state"] = "held"


def _revived(seen: Sound) -> None:
    _one(seen.evidence.appointments, seen.ids[CANCELLED])["state"] = "confirmed"


def _lost_webhook(seen: Sound) -> None:
    seen.evidence.inbox.remove(_one(seen.evidence.inbox, seen.evidence.deliveries[0]["event_id"]))


def _forgotten_webhook(seen: Sound) -> None:
    seen.evidence.inbox[0]["waiting"] = True


BROKEN: Final[dict[str, Callable[[Sound], None]]] = {
    "1: {practitioner} has two claims at once": _overlapping_claim,
    "1: {practitioner} has 2 claims in cell": _shared_cell,
    "seats taken of": _crowded_session,
    "1: {seat} sits 2 times in": _two_seats,
    "1: {cancelled} is cancelled and still has its time": _time_not_given_back,
    "1: {kept} is confirmed and has lost its time": _lost_time,
    "and has the time of": _another_time,
    "1: {kept} has a time and no appointment": _claim_of_nobody,
    "of which our books know nothing": _unknown_payment,
    "paise, our books say": _other_amount,
    "which the gateway never took": _invented_payment,
    "2: {kept} says that": _wrong_sum,
    "2: {cancelled} says that 0 paise were promised back": _wrong_promise,
    "2: {kept} is expired: of 60000 paise 0 go back, 60000 are owed": _kept_after_expiry,
    "2: {cancelled} is cancelled: of 60000 paise 0 go back, 60000 are owed": _kept_after_cancelling,
    "was sent 2 times": _sent_twice,
    "promised by nobody": _sent_by_nobody,
    "60000 paise are processed here, 0 are nothing at the gateway": _never_sent,
    "does not balance": _unbalanced_transaction,
    "3: the ledger is out of balance by 1 paise": _unbalanced_transaction,
    ":capture was never posted": _unposted,
    "3: pay_nobody:capture was posted for nothing": _posted_for_nothing,
    "3: we believe that the gateway owes us": _different_balance,
    "7: booking:{kept} runs and does not say what it waits for": _mute,
    "7: booking:{kept} runs and waits for nothing": _idle,
    "7: booking:{kept} still waits for visit": _overdue,
    "7: booking:{cancelled} has ended FAILED": _ended_badly,
    "7: {kept} is confirmed and nobody looks after it": _unattended_booking,
    "is unknown and nobody looks after it": _unattended_refund,
    "8: {seat} was acknowledged and is not there": _lost_booking,
    "8: {kept} was confirmed to its patient and is held": _unconfirmed,
    "8: {cancelled} was cancelled for its patient and is confirmed": _revived,
    "was acknowledged and is not in the inbox": _lost_webhook,
    "has not been passed on": _forgotten_webhook,
}
"""What is found, in words, and what was broken."""


@pytest.mark.parametrize("words", BROKEN)
def test_what_is_broken_is_found(sound: Sound, words: str) -> None:
    seen, ids = copy.deepcopy(sound), sound.ids
    BROKEN[words](seen)
    practitioner = _one(sound.evidence.appointments, ids[KEPT])["practitioner_id"]
    wanted = words.format(kept=ids[KEPT], seat=ids[SEAT], cancelled=ids[CANCELLED], practitioner=practitioner)
    found = violations(seen.evidence)
    assert any(wanted in one for one in found), found


async def test_a_workflow_that_nobody_works_on_is_stuck(shared_stack: Stack, sound: Sound) -> None:
    client = await temporal(shared_stack)
    stuck = f"booking:{sound.ids[KEPT]}-stuck"
    handle = await client.start_workflow("BookingWorkflow", id=stuck, task_queue="nobody")
    try:
        seen = await eventually(
            lambda: collect(shared_stack, client, only=[f"{sound.ids[KEPT]}-stuck"]), lambda seen: bool(seen.workflows)
        )
        assert f"7: {stuck} runs and does not say what it waits for" in violations(seen)
    finally:
        await handle.terminate()
