"""Claims as documents of `slots`, and the filters and pipelines that `availability` sends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from adapters.mongo.client import Document, literal
from adapters.mongo.scopes import scope_filter, scoped
from models.availability import Busy
from models.booking import ClaimRef, PlaceBooking
from models.cells import CELL, cells
from models.identity import Scope, Subject
from models.providers import Provider

LONGEST_CLAIM: Final = timedelta(hours=12)
"""The bound on a claim's length (a service of 8 hours with both its buffers) that lists of claims rely on."""

VALIDATOR: Final[Document] = {
    "$jsonSchema": {
        "required": ["tenant_id", "practitioner_id", "provider_id", "kind", "cells", "start", "end"],
        "properties": {
            "tenant_id": {"bsonType": "string"},
            "practitioner_id": {"bsonType": "string"},
            "provider_id": {"bsonType": "string"},
            "kind": {"enum": ["hold", "booked", "block", "session"]},
            # Without a cell a claim would clash with nothing; with one too many it would be missing from lists.
            "cells": {
                "bsonType": "array",
                "minItems": 1,
                "maxItems": LONGEST_CLAIM // CELL,
                "uniqueItems": True,
                "items": {"bsonType": ["int", "long"]},
            },
            "start": {"bsonType": "date"},
            "end": {"bsonType": "date"},
        },
    }
}

# A claim without a date to run out on never does: in expressions a missing date sorts below every other.
_LAPSED_HOLD: Final[Document] = {
    "kind": "hold",
    "expires_at": {"$type": "date"},
    "$expr": {"$lt": ["$expires_at", "$$NOW"]},
}
_SEAT_IS_LIVE: Final[Document] = {
    "$or": [{"$ne": [{"$type": "$$seat.expires_at"}, "date"]}, {"$gte": ["$$seat.expires_at", "$$NOW"]}]
}
_LIVE_SEATS: Final[Document] = {
    "$size": {"$filter": {"input": {"$ifNull": ["$seats", []]}, "as": "seat", "cond": _SEAT_IS_LIVE}}
}
_LAPSED_SESSION: Final[Document] = {"kind": "session", "$expr": {"$eq": [_LIVE_SEATS, 0]}}

BUSY_FIELDS: Final[Document] = {
    "_id": 0,
    "start": 1,
    "end": 1,
    "service_id": 1,
    "capacity": 1,
    "seats_taken": _LIVE_SEATS,
}


def owner(command: PlaceBooking) -> Document:
    """Whose claim it is, in the fields that scopes look at."""
    return {
        "tenant_id": command.tenant_id,
        "clinic_id": command.clinic_id,
        "provider_id": command.provider_id,
        "subject_id": command.subject_id,
    }


def provider_owner(provider: Provider) -> Document:
    """Whose claim it is where no patient has anything to do with it."""
    return {
        "tenant_id": provider.tenant_id,
        "clinic_id": provider.clinic_id,
        "provider_id": provider.id,
        "practitioner_id": provider.practitioner_id,
    }


def block_id(leave_id: str, start: datetime) -> str:
    """The claim that blocks the time of a leave from there on."""
    return f"blk_{leave_id}_{int(start.timestamp())}"


def blocks_of(leave_id: str) -> Document:
    """The claims that block the time of a leave."""
    return {"kind": "block", "leave_id": leave_id}


def session_id(claim: ClaimRef) -> str:
    """The one document of a provider's group session."""
    return f"ses_{claim.provider_id}_{claim.service_id}_{int(claim.start.timestamp())}"


def _time(command: PlaceBooking) -> Document:
    return {
        "tenant_id": command.tenant_id,
        "clinic_id": command.clinic_id,
        "provider_id": command.provider_id,
        "practitioner_id": command.practitioner_id,
        "service_id": command.service.id,
        "cells": list(cells(command.claim_start, command.claim_end)),
        "start": command.claim_start,
        "end": command.claim_end,
        "visit_start": command.start,
        "visit_end": command.end,
    }


# A patient's own claim


def tentative_claim(command: PlaceBooking, expires_at: datetime) -> Document:
    """The claim of somebody whose workflow has not started yet."""
    return {
        "_id": command.appointment_id,
        **_time(command),
        "subject_id": command.subject_id,
        "kind": "hold",
        "body_hash": command.body_hash,
        "tentative": True,
        "expires_at": expires_at,
    }


def held(command: PlaceBooking, expires_at: datetime | None) -> list[Document]:
    """The claim as its workflow wants it; words that came with another body under the same key go."""
    values = {
        **_time(command),
        "subject_id": command.subject_id,
        "kind": "booked" if expires_at is None else "hold",
        "body_hash": command.body_hash,
        "tentative": False,
        "expires_at": expires_at,
    }
    same_body = {"$eq": ["$body_hash", literal(command.body_hash)]}
    wanted = {field: literal(value) for field, value in values.items()}
    return [{"$set": {**wanted, "intake": {"$cond": [same_body, "$intake", "$$REMOVE"]}}}]


def booked_before(command: PlaceBooking) -> Document:
    """The claim that this very command has booked at once at an earlier try."""
    return {"_id": command.appointment_id, "kind": "booked", "visit_start": command.start}


def booked_claim(command: PlaceBooking) -> Document:
    """The claim of somebody who had a seat and gets a time of their own."""
    return {
        "_id": command.appointment_id,
        **_time(command),
        "subject_id": command.subject_id,
        "kind": "booked",
        "body_hash": command.body_hash,
        "tentative": False,
        "expires_at": None,
    }


def may_shift(claim: ClaimRef, command: PlaceBooking) -> Document:
    """The booked claim where it was, or where it is to be; a try that comes much too late finds it elsewhere."""
    return {
        "_id": command.appointment_id,
        "kind": "booked",
        "visit_start": {"$in": [claim.start, command.start]},
    }


def shifted(command: PlaceBooking) -> Document:
    """The claim at the command's time."""
    return {"$set": _time(command)}


def intake_of(claim: Document, body_hash: str) -> bytes | None:
    """The sealed words on a claim (or a seat), where they came with that body."""
    intake = claim.get("intake")
    return intake if isinstance(intake, bytes) and claim.get("body_hash") == body_hash else None


def awaiting_intake(command: PlaceBooking) -> Document:
    """The tentative claim of this body, as long as it has no words on it."""
    return {
        **owner(command),
        "_id": command.appointment_id,
        "body_hash": command.body_hash,
        "tentative": True,
        "intake": {"$exists": False},
    }


def by_owner(scope: Scope, claim: ClaimRef) -> Document:
    """A patient's own claim, within the scope."""
    return scoped(scope, {"_id": claim.appointment_id})


# A seat in a session


def joined(command: PlaceBooking, expires_at: datetime) -> list[Document]:
    """Seat the owner tentatively where there is room; a seat that they have already stays as it is."""
    return _seated(command, _seat(command, expires_at, tentative=True), taken_over=False)


def taken_over(command: PlaceBooking, expires_at: datetime | None) -> list[Document]:
    """Make the owner's seat what its workflow wants, or seat them where there is room; a booked seat stays so."""
    return _seated(command, _seat(command, expires_at, tentative=False), taken_over=True)


def _seat(command: PlaceBooking, expires_at: datetime | None, *, tentative: bool) -> Document:
    return {
        "owner": command.appointment_id,
        "subject_id": command.subject_id,
        "body_hash": command.body_hash,
        "tentative": tentative,
        "expires_at": expires_at,
    }


def _seated(command: PlaceBooking, seat: Document, *, taken_over: bool) -> list[Document]:
    """Drop the others' seats that have run out, open the session anew where none is left, then take the seat."""
    own: Document = {"$eq": ["$$seat.owner", literal(command.appointment_id)]}
    remaining = {
        "input": {"$ifNull": ["$seats", []]},
        "as": "seat",
        "cond": {"$or": [own, _SEAT_IS_LIVE]},
    }
    session = {**_time(command), "kind": "session", "capacity": command.capacity}
    is_empty = {"$eq": ["$seats", []]}
    # The bound that the session was opened under and today's both bind; another length is another session.
    room = {
        "$and": [
            {"$lt": [{"$size": "$seats"}, {"$min": ["$capacity", literal(command.capacity)]}]},
            {"$eq": ["$start", literal(command.claim_start)]},
            {"$eq": ["$end", literal(command.claim_end)]},
        ]
    }
    sits = {"$in": [literal(command.appointment_id), "$seats.owner"]}
    again = {"$map": {"input": "$seats", "as": "seat", "in": _renewed(command, seat, own)}} if taken_over else "$seats"
    added = {"$concatArrays": ["$seats", [literal(seat)]]}
    return [
        {"$set": {"seats": {"$filter": remaining}}},
        {"$set": {name: {"$cond": [is_empty, literal(value), f"${name}"]} for name, value in session.items()}},
        {"$set": {"seats": {"$cond": [sits, again, {"$cond": [room, added, "$seats"]}]}}},
    ]


def _renewed(command: PlaceBooking, seat: Document, own: Document) -> Document:
    """One seat of the list: the owner's as the workflow wants it, unless it is booked; the others as they are."""
    same_body = {"$eq": ["$$seat.body_hash", literal(command.body_hash)]}
    intake = {"$cond": [same_body, "$$seat.intake", "$$REMOVE"]}
    unbooked = {"$eq": [{"$type": "$$seat.expires_at"}, "date"]}
    renewed = {**{field: literal(value) for field, value in seat.items()}, "intake": intake}
    return {"$cond": [{"$and": [own, unbooked]}, renewed, "$$seat"]}


def by_seat(scope: Scope, claim: ClaimRef, *, tentative: bool = False) -> Document:
    """The session in which the owner sits, within the scope; with `tentative` only while no workflow knows of it."""
    seat: Document = {"owner": claim.appointment_id} | ({"tentative": True} if tentative else {})
    session: Document = {"_id": session_id(claim), "tenant_id": claim.tenant_id}
    if isinstance(scope, Subject):  # the session is the clinic's, the seat is the patient's
        return {**session, "seats": {"$elemMatch": {**seat, **scope_filter(scope)}}}
    return {**scoped(scope, session), "seats": {"$elemMatch": seat}}


def first_seat(session: Document) -> Document | None:
    """The first seat that a session was read with."""
    seats = session.get("seats")
    return seats[0] if isinstance(seats, list) and seats else None


def seat_awaiting_intake(command: PlaceBooking) -> Document:
    """The session in which the owner sits tentatively for this body, as long as the seat has no words on it."""
    seat = {
        "owner": command.appointment_id,
        "subject_id": command.subject_id,
        "body_hash": command.body_hash,
        "tentative": True,
        "intake": {"$exists": False},
    }
    return {"_id": session_id(command.claim), "tenant_id": command.tenant_id, "seats": {"$elemMatch": seat}}


# Everybody's claims


def lapsed(practitioner_id: str, wanted: Sequence[int], owner: str | None) -> Document:
    """Claims of others that stand in the way and have run out by the server's clock."""
    return {
        "practitioner_id": practitioner_id,
        "cells": {"$in": list(wanted)},
        "_id": {"$ne": owner},
        "$or": [_LAPSED_HOLD, _LAPSED_SESSION],
    }


def live_between(practitioner_id: str, start: datetime, end: datetime) -> Document:
    """Claims that overlap `[start, end)` and have not run out."""
    # By start and end, never by a range of cells: on an array that is neither exact nor bounded.
    return {
        "practitioner_id": practitioner_id,
        "start": {"$gte": start - LONGEST_CLAIM, "$lt": end},
        "end": {"$gt": start},
        "$nor": [_LAPSED_HOLD],
    }


def to_busy(claim: Document) -> Busy | None:
    """The time that a claim takes; None for a session in which nobody sits any more."""
    start, end = claim["start"], claim["end"]
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        msg = "a claim without its times"
        raise TypeError(msg)
    capacity, taken = claim.get("capacity"), claim["seats_taken"]
    if not isinstance(capacity, int) or not isinstance(taken, int):
        return Busy(start, end)
    return Busy(start, end, str(claim["service_id"]), capacity, taken) if taken else None


def holds_of(subject_id: str) -> list[Document]:
    """Count the live unpaid claims and seats of one patient."""
    mine = {
        "$and": [
            {"$eq": ["$$seat.subject_id", literal(subject_id)]},
            {"$eq": [{"$type": "$$seat.expires_at"}, "date"]},
            {"$gte": ["$$seat.expires_at", "$$NOW"]},
        ]
    }
    seats = {"$size": {"$filter": {"input": "$seats", "as": "seat", "cond": mine}}}
    return [
        {
            "$match": {
                "$or": [
                    {"kind": "hold", "subject_id": subject_id, "$expr": {"$gte": ["$expires_at", "$$NOW"]}},
                    {"kind": "session", "seats.subject_id": subject_id},
                ]
            }
        },
        {"$group": {"_id": None, "holds": {"$sum": {"$cond": [{"$eq": ["$kind", "session"]}, seats, 1]}}}},
    ]
