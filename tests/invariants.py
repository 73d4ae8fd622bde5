"""What must hold of every installation once it has come to rest, whatever happened to it on the way.

The numbers are those of the list that the tests report by: 1 one claim per practitioner and instant, 2 no paisa is
lost, 3 the books balance, 7 no workflow is stuck, 8 nothing that was acknowledged is lost. Each check reads what the
database, the payment gateway's own ledger and the workflow service say, and none of our own code's opinion of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError

from models.operations import WorkflowStatus
from tests.stack import Json, Stack

OVERDUE: Final = timedelta(minutes=1)
"""How long after its own time a workflow may still wait: it may just be waking up."""

QUERY_SECONDS: Final = timedelta(seconds=10)
_AT_ONCE: Final = 100
_OPEN: Final = frozenset({"held", "confirmed", "checked_in", "in_consultation", "no_show"})
_CLOSED: Final = frozenset({"expired", "cancelled"})
_BACK: Final = frozenset({"pending", "processed"})


class Seen(NamedTuple):
    """A workflow's run: how far it is, and what it says that it waits for (None where it does not answer)."""

    id: str
    started: datetime
    type: str
    status: str
    answer: WorkflowStatus | None


@dataclass
class Evidence:
    """Everything that is looked at, at one moment."""

    now: datetime
    slots: list[Json]
    appointments: list[Json]
    payments: list[Json]
    ledger: list[Json]
    refunds: list[Json]
    inbox: list[Json]
    gateway: Json
    deliveries: list[Json]
    workflows: list[Seen]
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of each appointment the states that a client was told, in order."""


async def collect(
    stack: Stack,
    temporal: Client,
    told: Mapping[str, Sequence[str]] | None = None,
    *,
    only: Collection[str] | None = None,
) -> Evidence:
    """Look at a stack, or only at some of its appointments and what belongs to them."""
    about: Json = {} if only is None else {"appointment_id": {"$in": list(only)}}
    own: Json = {} if only is None else {"_id": {"$in": list(only)}}
    claims: Json = {} if only is None else {"$or": [own, {"seats.owner": {"$in": list(only)}}]}
    refunds = list(stack.db.refunds.find(about))
    appointments = list(stack.db.appointments.find(own))
    orders = {one["order_id"] for one in appointments}
    gateway = _of_orders(await stack.ledger(), None if only is None else orders)
    payments = {one["id"] for one in gateway["payments"]}
    async with stack.control() as control:
        deliveries = (await control.get("/_control/webhooks")).json()["items"]
    ids = None if only is None else {
        *(f"booking:{one}" for one in only),
        *(f"refund:{one['_id']}" for one in refunds),
        *(f"late-payment:{one}" for one in orders),
    }  # fmt: skip
    return Evidence(
        now=datetime.now(UTC),
        slots=list(stack.db.slots.find(claims)),
        appointments=appointments,
        payments=list(stack.db.payments.find(about)),
        ledger=list(stack.db.ledger.find(about)),
        refunds=refunds,
        inbox=list(stack.db.webhook_inbox.find({} if only is None else {"payment_id": {"$in": list(payments)}})),
        gateway=gateway,
        deliveries=[one for one in deliveries if one["payment_id"] in payments],
        workflows=await _workflows(temporal, ids),
        told=told or {},
    )


def _of_orders(ledger: Json, orders: Collection[object] | None) -> Json:
    if orders is None:
        return ledger
    payments = [one for one in ledger["payments"] if one["order_id"] in orders]
    ids = {one["id"] for one in payments}
    return {
        "orders": [one for one in ledger["orders"] if one["id"] in orders],
        "payments": payments,
        "refunds": [one for one in ledger["refunds"] if one["payment_id"] in ids],
    }


async def _workflows(temporal: Client, ids: Collection[str] | None) -> list[Seen]:
    found = [one for query in _queries(ids) async for one in temporal.list_workflows(query)]
    at_once = asyncio.Semaphore(8)

    async def look(one: WorkflowExecution) -> Seen:
        async with at_once:
            return await _seen(temporal, one)

    return list(await asyncio.gather(*(look(one) for one in found)))


def _queries(ids: Collection[str] | None) -> list[str | None]:
    """What lists the workflows of these ids, or all: a stack that many tests share has thousands of others."""
    if ids is None:
        return [None]
    named = [f"'{one}'" for one in sorted(ids)]
    parts = [named[first : first + _AT_ONCE] for first in range(0, len(named), _AT_ONCE)]
    return [f"WorkflowId IN ({', '.join(part)})" for part in parts]


async def _seen(temporal: Client, one: WorkflowExecution) -> Seen:
    status = "unknown" if one.status is None else one.status.name
    if one.status is not WorkflowExecutionStatus.RUNNING:
        return Seen(one.id, one.start_time, one.workflow_type, status, None)
    handle = temporal.get_workflow_handle(one.id, run_id=one.run_id)
    try:
        answer: WorkflowStatus = await handle.query("status", result_type=WorkflowStatus, rpc_timeout=QUERY_SECONDS)
    except (RPCError, WorkflowQueryFailedError):
        return Seen(one.id, one.start_time, one.workflow_type, status, None)
    return Seen(one.id, one.start_time, one.workflow_type, status, answer)


def violations(evidence: Evidence) -> list[str]:
    """Every broken invariant, in words; empty where all hold."""
    return [
        *(f"1: {one}" for one in _claims(evidence)),
        *(f"2: {one}" for one in _money(evidence)),
        *(f"3: {one}" for one in _books(evidence)),
        *(f"7: {one}" for one in _stuck(evidence)),
        *(f"8: {one}" for one in _lost(evidence)),
    ]


# 1: at most one live claim per practitioner and instant


def _claims(evidence: Evidence) -> Iterator[str]:
    live = [one for one in evidence.slots if _is_live(one, evidence.now)]
    by_person: defaultdict[str, list[Json]] = defaultdict(list)
    for claim in live:
        by_person[claim["practitioner_id"]].append(claim)
    for person, claims in by_person.items():
        for first, second in pairwise(sorted(claims, key=lambda one: one["start"])):
            if second["start"] < first["end"]:
                yield f"{person} has two claims at once: {first['_id']} and {second['_id']}"
        cells = Counter(cell for claim in claims for cell in claim["cells"])
        yield from (f"{person} has {count} claims in cell {cell}" for cell, count in cells.items() if count > 1)
    for session in evidence.slots:
        yield from _seats(session)
    yield from _owners(evidence)


def _is_live(claim: Json, now: datetime) -> bool:
    return claim["kind"] != "hold" or claim.get("expires_at") is None or claim["expires_at"] > now


def _seats(session: Json) -> Iterator[str]:
    owners = Counter(seat["owner"] for seat in session.get("seats", ()))
    if session["kind"] == "session" and owners.total() > session["capacity"]:
        yield f"{session['_id']} has {owners.total()} seats taken of {session['capacity']}"
    yield from (f"{owner} sits {count} times in {session['_id']}" for owner, count in owners.items() if count > 1)


def _owners(evidence: Evidence) -> Iterator[str]:
    claimed = {one["_id"] for one in evidence.slots} | {
        seat["owner"] for one in evidence.slots for seat in one.get("seats", ())
    }
    placed = {one["_id"] for one in evidence.appointments}
    for claim in evidence.slots:
        taken_over = claim["kind"] in {"hold", "booked"} and not claim["tentative"]
        if taken_over and claim["_id"] not in placed:
            yield f"{claim['_id']} has a time and no appointment"
    for appointment in evidence.appointments:
        name, state = appointment["_id"], appointment["state"]
        if state in _CLOSED and name in claimed:
            yield f"{name} is {state} and still has its time"
        if state in _OPEN and appointment["closes_at"] > evidence.now and name not in claimed:
            yield f"{name} is {state} and has lost its time"
    visits = {one["_id"]: one["start"] for one in evidence.appointments}
    for claim in evidence.slots:
        for owner in [claim["_id"], *(seat["owner"] for seat in claim.get("seats", ()))]:
            if owner in visits and claim["visit_start"] != visits[owner]:
                yield f"{owner} is at {visits[owner]} and has the time of {claim['visit_start']}"


# 2: captures = revenue + refunds + pending


def _money(evidence: Evidence) -> Iterator[str]:
    known = {one["_id"]: one for one in evidence.payments}
    taken = {one["id"]: one for one in evidence.gateway["payments"] if one["captured"]}
    for name, payment in taken.items():
        if name not in known:
            yield f"the gateway took {payment['amount']} paise by {name}, of which our books know nothing"
        elif known[name]["amount"] != payment["amount"]:
            yield f"{name}: the gateway took {payment['amount']} paise, our books say {known[name]['amount']}"
    yield from (f"our books have {name}, which the gateway never took" for name in known.keys() - taken.keys())
    for appointment in evidence.appointments:
        yield from _kept(appointment, evidence)
    yield from _sent_back(evidence, taken)


def _kept(appointment: Json, evidence: Evidence) -> Iterator[str]:
    """Whether an appointment keeps what its state entitles it to, and nothing else."""
    name = appointment["_id"]
    payments = [one for one in evidence.payments if one["appointment_id"] == name]
    refunds = [one for one in evidence.refunds if one["appointment_id"] == name and one["state"] != "failed"]
    captured, promised = _sum(payments), _sum(refunds)
    if appointment["captured"] != captured:
        yield f"{name} says that {appointment['captured']} paise were captured; it were {captured}"
    if appointment["refund_reserved"] != promised:
        yield f"{name} says that {appointment['refund_reserved']} paise were promised back; it were {promised}"
    if any(one["state"] == "failed" for one in evidence.refunds if one["appointment_id"] == name):
        return  # what failed for good is a person's to send back
    strays = _sum(one for one in payments if one["stray"])
    goodwill = _sum(one for one in refunds if one["reason"] == "goodwill")
    owed = strays + _owed(appointment, captured - strays)
    if promised != goodwill + min(owed, captured - goodwill):
        yield f"{name} is {appointment['state']}: of {captured} paise {promised} go back, {owed} are owed"


def _owed(appointment: Json, settled: int) -> int:
    """What goes back of the money that settled the booking (the visit's own price), by the policy it was made under."""
    if appointment["state"] == "expired":
        return settled
    if appointment["state"] != "cancelled":
        return 0
    ended = next(one for one in appointment["history"] if one["event"] == "appointment.cancelled")
    if ended["by"] != "patient":
        return settled
    left = appointment["start"] - ended["at"]
    for step in appointment["policy"]["refund_schedule"]:
        if left >= timedelta(hours=step["hours_before"]):
            return int(settled * step["percent"] / 100)
    return 0


def _sent_back(evidence: Evidence, taken: Mapping[str, Json]) -> Iterator[str]:
    """Whether what the gateway sends back is what we promised, once."""
    sent = [one for one in evidence.gateway["refunds"] if one["payment_id"] in taken]
    times = Counter(one["receipt"] for one in sent if one["status"] in _BACK)
    yield from (f"{name} was sent {count} times" for name, count in times.items() if count > 1)
    ours = {one["_id"]: one for one in evidence.refunds}
    strange = [one for one in sent if one["receipt"] not in ours]
    yield from (f"the gateway sends {one['amount']} paise back by {one['id']}, promised by nobody" for one in strange)
    by_receipt = {one["receipt"]: one for one in sent}
    for name, refund in ours.items():
        there = by_receipt.get(name, {"status": "nothing", "amount": 0})
        same = (refund["state"], refund["amount"]) == (there["status"], there["amount"])
        is_open = refund["state"] == "unknown" or (refund["state"] == "failed" and there["status"] == "nothing")
        if not same and not is_open:
            yield (
                f"{name}: {refund['amount']} paise are {refund['state']} here, "
                f"{there['amount']} are {there['status']} at the gateway"
            )


def _sum(found: Iterator[Json] | Sequence[Json]) -> int:
    return sum(one["amount"] for one in found)


# 3: the ledger's double entries sum to zero


def _books(evidence: Evidence) -> Iterator[str]:
    balance: Counter[str] = Counter()
    for transaction in evidence.ledger:
        lines = transaction["lines"]
        if sum(line["amount"] for line in lines) != 0:
            yield f"{transaction['_id']} does not balance"
        for line in lines:
            balance[line["account"]] += line["amount"]
    if balance.total() != 0:
        yield f"the ledger is out of balance by {balance.total()} paise"
    posted = {one["_id"] for one in evidence.ledger}
    refunds = [one for one in evidence.refunds if one["gateway_refund_id"] is not None]
    due = {f"{one['_id']}:capture" for one in evidence.payments} | {f"{one['_id']}:refund" for one in refunds}
    due |= {f"{one['_id']}:refund_failed" for one in refunds if one["state"] == "failed"}
    yield from (f"{name} was never posted" for name in sorted(due - posted))
    yield from (f"{name} was posted for nothing" for name in sorted(posted - due))
    taken = [one for one in evidence.gateway["payments"] if one["captured"]]
    there = _sum(taken) - sum(one["amount_refunded"] for one in taken)
    if balance["gateway:razorpay"] != there:
        yield f"we believe that the gateway owes us {balance['gateway:razorpay']} paise; it says {there}"


# 7: each workflow is closed or waits for a named event until a named time


def _stuck(evidence: Evidence) -> Iterator[str]:
    placed = {f"booking:{one['_id']}" for one in evidence.appointments}
    # A booking that was refused ends failed and leaves no appointment; the same request may be sent again after it.
    latest = {one.id: one for one in sorted(evidence.workflows, key=lambda one: one.started)}
    for one in latest.values():
        if one.status == "RUNNING":
            yield from _waits(one, evidence.now)
        elif one.status != "COMPLETED" and (one.status, one.id in placed) != ("FAILED", False):
            yield f"{one.id} has ended {one.status}"
    running = {one.id for one in evidence.workflows if one.status == "RUNNING"}
    for appointment in evidence.appointments:
        is_open = appointment["state"] in _OPEN and appointment["closes_at"] > evidence.now
        if is_open and f"booking:{appointment['_id']}" not in running:
            yield f"{appointment['_id']} is {appointment['state']} and nobody looks after it"
    for refund in evidence.refunds:
        if refund["state"] not in {"processed", "failed"} and f"refund:{refund['_id']}" not in running:
            yield f"{refund['_id']} is {refund['state']} and nobody looks after it"


def _waits(one: Seen, now: datetime) -> Iterator[str]:
    if one.answer is None:
        yield f"{one.id} runs and does not say what it waits for"
    elif one.answer.waiting_for is None:
        yield f"{one.id} runs and waits for nothing"
    elif one.answer.waiting_for.until < now - OVERDUE:
        yield f"{one.id} still waits for {one.answer.waiting_for.event}, until {one.answer.waiting_for.until}"


# 8: an acknowledged booking is never lost


def _lost(evidence: Evidence) -> Iterator[str]:
    there = {one["_id"]: one for one in evidence.appointments}
    for name, told in evidence.told.items():
        appointment = there.get(name)
        if appointment is None:
            yield f"{name} was acknowledged and is not there"
            continue
        if "confirmed" in told and appointment["state"] in {"held", "expired"}:
            yield f"{name} was confirmed to its patient and is {appointment['state']}"
        if appointment["state"] != told[-1] and told[-1] in _CLOSED:
            yield f"{name} was {told[-1]} for its patient and is {appointment['state']}"
    kept = {one["_id"] for one in evidence.inbox}
    for delivery in evidence.deliveries:
        if delivery["state"] == "delivered" and delivery["event_id"] not in kept:
            yield f"{delivery['event_id']} ({delivery['event']}) was acknowledged and is not in the inbox"
    yield from (f"{one['_id']} ({one['type']}) has not been passed on" for one in evidence.inbox if one.get("waiting"))
