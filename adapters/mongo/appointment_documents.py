"""Appointments as documents, and the filters and pipelines that `booking` sends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bson.binary import Binary

from adapters.mongo.client import Document, literal
from adapters.mongo.encryption import ERASED, Opened
from models.booking import (
    SYSTEM,
    Actor,
    Advance,
    Advanced,
    Appointment,
    AppointmentState,
    Event,
    EventType,
    HistoryEntry,
    HoldSlot,
    Intake,
    RefundEntry,
    ServiceSnapshot,
    WaitingFor,
    cancellation,
    sources_of,
)
from models.day_list import Visit, visit_times
from models.payments import PAYMENT_TRANSITIONS, REFUND_TRANSITIONS, PaymentState, RefundState
from models.publishing import Booked

CLOSED: Final = (AppointmentState.EXPIRED, AppointmentState.CANCELLED)
"""Ended without a visit: `closed_at` says when, and money may still come."""

_SAME_NAMES: Final = tuple(
    name
    for name in Appointment.model_fields
    if name not in {"id", "history", "waiting_for", "intake", "intake_erased", "capacity", "dependant_id"}
)

_OF_A_VISIT: Final = tuple(name for name in Visit.model_fields if name != "id" and not name.endswith("_at"))
VISIT_FIELDS: Final = (*_OF_A_VISIT, "history")
"""What a day list reads of an appointment."""

REFUND_EVENTS: Final = {
    RefundState.UNKNOWN: EventType.REFUND_UNKNOWN,
    RefundState.PROCESSED: EventType.REFUND_PROCESSED,
    RefundState.FAILED: EventType.REFUND_FAILED,
}


class Happening(NamedTuple):
    """What an update of an appointment tells history and outbox; its id makes the update happen once."""

    id: str
    type: EventType
    at: datetime
    actor: Actor = SYSTEM
    start: datetime | None = None


def first_document(step: HoldSlot, sealed_intake: bytes | None) -> Document:
    """A new appointment: held until it is paid, or confirmed where there is nothing to pay."""
    command = step.command
    state = AppointmentState.HELD if command.needs_payment else AppointmentState.CONFIRMED
    what = EventType.HELD if command.needs_payment else EventType.CONFIRMED
    payment_state = command.first_payment_state
    event_id = f"{command.appointment_id}:placed"
    return {
        "_id": command.appointment_id,
        **command.model_dump(
            include={
                "tenant_id",
                "clinic_id",
                "provider_id",
                "practitioner_id",
                "subject_id",
                "body_hash",
                "start",
                "end",
                "capacity",
                "dependant_id",
                "timezone",
                "policy_version",
                "closes_at",
            }
        ),
        "closes_at": command.closes_at,
        "service": command.service.model_dump(mode="json"),
        "policy": command.policy.model_dump(mode="json"),
        "state": state,
        "payment_state": payment_state,
        "version": 1,
        "deadline": step.deadline,
        "order_id": None,
        "payment_id": None,
        "captured": 0,
        "refund_reserved": 0,
        "refunds": [],
        "waiting_for": step.waiting_for.model_dump(),
        "history": [{"id": event_id, "state": state, "at": step.at, "by": command.actor.kind, "event": what}],
        "outbox": [
            {
                "id": event_id,
                "type": what,
                "at": step.at,
                "actor": command.actor.model_dump(),
                "state": state,
                "payment_state": payment_state,
                "version": 1,
            }
        ],
        "created_at": step.at,
        "updated_at": step.at,
        **({} if sealed_intake is None else {"sealed": {"clinical": Binary(sealed_intake, 6)}}),
    }


def changed(values: Document, at: datetime, *happenings: Happening) -> list[Document]:
    """Set `values` (expressions over the document), then tell what happened with the state that follows from them."""
    entries = [
        {
            "id": literal(one.id),
            "state": "$state",
            "at": literal(one.at),
            "by": literal(one.actor.kind),
            "event": literal(one.type),
            **({} if one.start is None else {"start": literal(one.start)}),
        }
        for one in happenings
    ]
    events = [
        {
            "id": literal(one.id),
            "type": literal(one.type),
            "at": literal(one.at),
            "actor": literal(one.actor.model_dump()),
            "state": "$state",
            "payment_state": "$payment_state",
            "version": "$version",
        }
        for one in happenings
    ]
    first: Document = {"$set": {**values, "version": {"$add": ["$version", 1]}, "updated_at": literal(at)}}
    if not happenings:
        return [first]
    told = {
        "history": {"$concatArrays": ["$history", entries]},
        "outbox": {"$concatArrays": ["$outbox", events]},
    }
    return [first, {"$set": told}]


# One step of the life


def may_advance(step: Advance) -> Document:
    """The states in which the step may happen, and that it has not."""
    query: Document = {"_id": step.appointment_id, "history.id": {"$ne": step.event_id}}
    sources = step.sources if step.to is None else step.sources & sources_of(step.to)
    query["state"] = {"$in": sorted(sources)}
    if step.payment_state is not None:
        before = {state for state, after in PAYMENT_TRANSITIONS.items() if step.payment_state in after}
        query["payment_state"] = {"$in": sorted(before | {step.payment_state})}
    return query


def advanced(step: Advance) -> list[Document]:
    """The step as an update."""
    values: Document = {"waiting_for": _waiting_for(step.waiting_for)}
    if step.to is not None:
        values["state"] = literal(step.to)
    if step.to in CLOSED:
        values["closed_at"] = literal(step.at)
    captured: Document = {"$add": ["$captured", step.captured_added]}
    if step.captured_added:
        values["captured"] = captured
    if step.payment_state is PaymentState.CAPTURED:
        # More money may come after some went back: then what is reserved for refunds decides.
        values["payment_state"] = _after_refunds(captured, "$refund_reserved")
    elif step.payment_state is not None:
        values["payment_state"] = literal(step.payment_state)
    if step.payment_id is not None:
        # The payment that settled the order stays named; what comes on top of it is in `payments`.
        values["payment_id"] = {"$ifNull": ["$payment_id", literal(step.payment_id)]}
    if step.moved_to is not None:
        values |= {name: literal(getattr(step.moved_to, name)) for name in ("start", "end", "capacity")}
        values["closes_at"] = literal(step.closes_at)
    start = None if step.moved_to is None else step.moved_to.start
    return changed(values, step.at, Happening(step.event_id, step.event, step.at, step.actor, start))


def _waiting_for(waiting_for: WaitingFor | None) -> object:
    return "$$REMOVE" if waiting_for is None else literal(waiting_for.model_dump())


def ordered(order_id: str, at: datetime) -> list[Document]:
    """The gateway's order, noted."""
    return changed({"order_id": literal(order_id)}, at, Happening(f"{order_id}:ready", EventType.ORDER_READY, at))


# Refunds. The payment state follows every refund that has not failed, from its promise on: what a person may still
# ask back is then plain from the state, while each refund tells by itself how far it has come.


def _after_refunds(captured: object, reserved: object) -> Document:
    """`models.payments.refund_payment_state` as an expression."""
    return {
        "$switch": {
            "branches": [
                {"case": {"$lte": [reserved, 0]}, "then": PaymentState.CAPTURED},
                {"case": {"$gte": [reserved, captured]}, "then": PaymentState.REFUNDED},
            ],
            "default": PaymentState.PARTIALLY_REFUNDED,
        }
    }


def may_reserve(appointment_id: str, entry: RefundEntry) -> Document:
    """The appointment as long as the refund is new and its captured money covers it."""
    return {
        "_id": appointment_id,
        "refunds.id": {"$ne": entry.id},
        "$expr": {"$lte": [{"$add": ["$refund_reserved", entry.amount]}, "$captured"]},
    }


def reserved(entry: RefundEntry, at: datetime, actor: Actor) -> list[Document]:
    """The refund promised. Its note is personal and stays with the refund itself, sealed."""
    total: Document = {"$add": ["$refund_reserved", entry.amount]}
    values = {
        "refunds": {"$concatArrays": ["$refunds", [literal(entry.model_dump(exclude={"note"}))]]},
        "refund_reserved": total,
        "payment_state": _after_refunds("$captured", total),
    }
    return changed(values, at, Happening(f"{entry.id}:requested", EventType.REFUND_REQUESTED, at, actor))


def may_settle(appointment_id: str, refund_id: str, state: RefundState) -> Document:
    """The appointment as long as its refund may still become `state`."""
    before = sorted(source for source, after in REFUND_TRANSITIONS.items() if state in after)
    return {"_id": appointment_id, "refunds": {"$elemMatch": {"id": refund_id, "state": {"$in": before}}}}


def settled(refund_id: str, state: RefundState, at: datetime) -> list[Document]:
    """The refund's new state; a failed one gives its reservation back."""
    own = {"$eq": ["$$refund.id", literal(refund_id)]}
    moved = {"$cond": [own, {"$mergeObjects": ["$$refund", {"state": literal(state)}]}, "$$refund"]}
    values: Document = {"refunds": {"$map": {"input": "$refunds", "as": "refund", "in": moved}}}
    if state is RefundState.FAILED:
        mine = {"$filter": {"input": "$refunds", "as": "refund", "cond": own}}
        left: Document = {"$subtract": ["$refund_reserved", {"$sum": {"$map": {"input": mine, "in": "$$this.amount"}}}]}
        values |= {"refund_reserved": left, "payment_state": _after_refunds("$captured", left)}
    told = REFUND_EVENTS.get(state)
    return changed(values, at, *([Happening(f"{refund_id}:{state}", told, at)] if told else []))


# Reading


def to_appointment(document: Document, opened: Opened) -> Appointment:
    """The appointment, with what was sealed in it."""
    erased = opened is ERASED
    return Appointment.model_validate(
        {
            **{name: document[name] for name in _SAME_NAMES},
            "id": document["_id"],
            "capacity": document.get("capacity"),
            "dependant_id": document.get("dependant_id"),
            "waiting_for": document.get("waiting_for"),
            "history": _entries(document),
            "intake": None if erased or opened is None else Intake.model_validate(opened),
            "intake_erased": erased,
        }
    )


def to_advanced(document: Document, *, applied: bool) -> Advanced:
    """Where the appointment stands after a step, and how it was cancelled where it is."""
    state = AppointmentState(str(document["state"]))
    return Advanced(
        applied=applied,
        state=state,
        payment_state=PaymentState(str(document["payment_state"])),
        cancelled=cancellation(_entries(document)) if state is AppointmentState.CANCELLED else None,
    )


def has_happened(document: Document, event_id: str) -> bool:
    """Whether this very step was taken before."""
    history = document["history"]
    return isinstance(history, list) and any(one["id"] == event_id for one in history)


def to_visit(document: Document) -> Visit:
    """The appointment on its day."""
    same = {name: document.get(name) for name in _OF_A_VISIT}
    return Visit.model_validate({**same, "id": document["_id"], **visit_times(_entries(document))})


def given(document: Document) -> Document:
    """Who gave the visit its present time (`given_by`), and when (`given_at`): whoever placed it, or moved it last."""
    entries = _entries(document)
    times = [one for one in entries if one.event is EventType.RESCHEDULED] or entries[:1]
    return {"given_by": times[-1].by, "given_at": times[-1].at} if times else {}


def _entries(document: Document) -> list[HistoryEntry]:
    history = document["history"]
    return [_entry(one) for one in history] if isinstance(history, list) else []


def _entry(one: Document) -> HistoryEntry:
    return HistoryEntry.model_validate({field: value for field, value in one.items() if field != "id"})


def sealed_intake(document: Document) -> bytes | None:
    """The sealed words of an appointment."""
    sealed = document.get("sealed")
    return sealed.get("clinical") if isinstance(sealed, dict) else None


def to_events(document: Document) -> list[Event]:
    """The events in an appointment's outbox."""
    outbox = document["outbox"]
    about = {
        "appointment_id": document["_id"],
        "tenant_id": document["tenant_id"],
        "clinic_id": document["clinic_id"],
        "subject_id": document["subject_id"],
    }
    return [Event.model_validate({**entry, **about}) for entry in (outbox if isinstance(outbox, list) else ())]


def to_booked(document: Document) -> Booked:
    """The time that an appointment claims, buffers included."""
    service = ServiceSnapshot.model_validate(document["service"])
    start, end = document["start"], document["end"]
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        msg = "an appointment without its times"
        raise TypeError(msg)
    before, after = timedelta(minutes=service.buffer_before_minutes), timedelta(minutes=service.buffer_after_minutes)
    return Booked(str(document["_id"]), service.id, start - before, end + after)
