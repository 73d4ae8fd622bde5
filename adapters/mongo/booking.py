"""The appointments: each step one conditional update of one document, its event written with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument, UpdateOne, WriteConcern
from pymongo.errors import DuplicateKeyError

from adapters.mongo import appointment_documents as documents
from adapters.mongo.claim_documents import LONGEST_CLAIM
from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import OUTBOX, Declared
from adapters.mongo.scopes import each_within, reason_of, require, scoped
from models.booking import (
    CANCELLABLE,
    SYSTEM,
    Actor,
    Advance,
    Advanced,
    Appointment,
    AppointmentQuery,
    Event,
    HoldSlot,
    Intake,
    RefundEntry,
)
from models.cursor import decode_cursor, encode_cursor
from models.data_classes import DataClass
from models.day_list import Visit
from models.day_list_ports import DayQuery
from models.errors import Code, VisitNowError, not_found
from models.identity import Scope, Subject, System
from models.payments import RefundState
from models.ports import Page
from models.providers import Provider
from models.publishing import Booked
from models.together import Together

_RELAY: Final = System("the outbox relay serves all tenants")
_BY_START: Final = [("start", DESCENDING), ("_id", DESCENDING)]
_CLOSED: Final = {"sealed": 0, "outbox": 0}
_OPEN: Final = {"outbox": 0}


def _by(*fields: str) -> IndexModel:
    return IndexModel([*((field, ASCENDING) for field in fields), ("start", ASCENDING), ("_id", ASCENDING)])


DECLARED: Final = Declared(
    "appointments",
    (
        # One for each scope, so that everybody's list is read in its order and no further than its page.
        _by("tenant_id"),
        _by("tenant_id", "clinic_id"),
        _by("tenant_id", "provider_id"),
        _by("subject_id"),
        IndexModel([("order_id", ASCENDING)], name="order", partialFilterExpression={"order_id": {"$gt": ""}}),
        IndexModel(
            [("tenant_id", ASCENDING), ("end", ASCENDING)],
            name="words",
            partialFilterExpression={"sealed": {"$type": "object"}},
        ),
        # Work queues: each holds only the appointments that it is about.
        OUTBOX,
        IndexModel(
            [("closed_at", ASCENDING), ("_id", ASCENDING)],
            name="unsettled",
            partialFilterExpression={"closed_at": {"$exists": True}, "captured": 0},
        ),
        IndexModel(
            [("_id", ASCENDING), ("waiting_for.until", ASCENDING)],
            name="overdue",
            partialFilterExpression={"waiting_for.until": {"$exists": True}},
        ),
    ),
)


class MongoAppointments:
    """Implements `models.ports.Appointments` on the collection `appointments`."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals and opens what patients tell."""
        self._appointments: Collection = database["appointments"]
        # An event that comes back after a crash of the primary is carried again, which changes nothing.
        self._drained: Collection = self._appointments.with_options(write_concern=WriteConcern(w=1))
        self._vault = vault
        self._found = Together(self._find_each, at_once=4)

    @answering
    async def insert(self, scope: Scope, step: HoldSlot, sealed_intake: bytes | None) -> None:
        """Raises `idempotency_key_reused` where the id stands for a booking with another body."""
        document = documents.first_document(step, sealed_intake)
        require(scope, document)
        try:
            await self._appointments.insert_one(document)
        except DuplicateKeyError:
            same: Document = {"_id": step.command.appointment_id, "body_hash": step.command.body_hash}
            if await self._appointments.find_one(scoped(scope, same), {"_id": 1}) is None:
                raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED) from None

    @answering
    async def record_order(self, scope: Scope, appointment_id: str, order_id: str, at: datetime) -> None:
        """Whatever the state: money may come for it later. Raises `not_found`; `state_conflict` for a second order."""
        done = await self._appointments.update_one(
            scoped(scope, {"_id": appointment_id, "order_id": None}),
            documents.ordered(order_id, at),
            comment=reason_of(scope),
        )
        if not done.matched_count:
            found = await self._look(scope, appointment_id, "order_id")
            if found["order_id"] != order_id:
                raise VisitNowError(Code.STATE_CONFLICT)

    @answering
    async def advance(self, scope: Scope, step: Advance) -> Advanced:
        """One conditional update; without `waiting_for` nothing is awaited any more. Raises `not_found`.

        The payment state moves along its table or stays; `captured` becomes what refunds have left of it.
        """
        fields = ("state", "payment_state", "history")
        after = await self._appointments.find_one_and_update(
            scoped(scope, documents.may_advance(step)),
            documents.advanced(step),
            fields,
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        applied = bool(after)
        if not after:
            after = await self._look(scope, step.appointment_id, *fields)
            applied = documents.has_happened(after, step.event_id)
        return documents.to_advanced(after, applied=applied)

    @answering
    async def reserve_refund(
        self, scope: Scope, appointment_id: str, entry: RefundEntry, at: datetime, actor: Actor = SYSTEM
    ) -> bool:
        """One conditional update, so that refunds never exceed what was captured. Raises `not_found`.

        A retry is one of the same amount: under the same id nothing else was promised.
        """
        if entry.amount <= 0:
            return False
        done = await self._appointments.update_one(
            scoped(scope, documents.may_reserve(appointment_id, entry)),
            documents.reserved(entry, at, actor),
            comment=reason_of(scope),
        )
        if done.matched_count:
            return True
        found = await self._look(scope, appointment_id, "refunds.id", "refunds.amount")
        return {"id": entry.id, "amount": entry.amount} in _list(found["refunds"])

    @answering
    async def settle_refund(
        self, scope: Scope, appointment_id: str, refund_id: str, state: RefundState, at: datetime
    ) -> None:
        """One conditional update; a state that the refund has passed already changes nothing. Raises `not_found`."""
        done = await self._appointments.update_one(
            scoped(scope, documents.may_settle(appointment_id, refund_id, state)),
            documents.settled(refund_id, state, at),
            comment=reason_of(scope),
        )
        if not done.matched_count:
            found = await self._look(scope, appointment_id, "refunds.id")
            if {"id": refund_id} not in _list(found["refunds"]):
                raise not_found()

    @answering
    async def note_cancellation(self, scope: Scope, appointment_id: str, reason: str) -> None:
        """Sealed under the patient's clinical key: such words tell of illness. Raises `not_found`."""
        found = await self._look(scope, appointment_id, "subject_id", "state")
        if found["state"] not in CANCELLABLE:
            return
        sealed = await self._vault.seal(str(found["subject_id"]), DataClass.CLINICAL, {"reason": reason})
        await self._appointments.update_one(
            scoped(scope, {"_id": appointment_id, "state": {"$in": sorted(CANCELLABLE)}}),
            {"$set": {"sealed.cancellation": sealed}},
            comment=reason_of(scope),
        )

    @answering
    async def note_override(self, scope: Scope, appointment_id: str, reason: str) -> None:
        """Sealed like every word about a patient's visit. Raises `not_found`."""
        found = await self._look(scope, appointment_id, "subject_id")
        sealed = await self._vault.seal(str(found["subject_id"]), DataClass.CLINICAL, {"reason": reason})
        await self._appointments.update_one(
            scoped(scope, {"_id": appointment_id}), {"$set": {"sealed.override": sealed}}, comment=reason_of(scope)
        )

    @answering
    async def find(self, scope: Scope, appointment_id: str, *, open_sealed: bool = True) -> Appointment | None:
        """One read by id, and one look into the vault where there is something to open.

        Patients who ask at the same time share the read.
        """
        if not isinstance(scope, Subject):
            return await self._one(scope, {"_id": appointment_id}, open_sealed=open_sealed)
        found = await self._found.ask(open_sealed, (scope.subject_id, appointment_id))
        return None if found is None else (await self._opened([found]))[0]

    async def _find_each(self, open_sealed: bool, asked: Sequence[tuple[str, str]]) -> list[Document | None]:  # noqa: FBT001  a key's value
        """Some patients' appointments, as documents."""
        found = self._appointments.find(each_within("_id", asked), _OPEN if open_sealed else _CLOSED, hint="_id_")
        of_whom = {(str(one["subject_id"]), str(one["_id"])): one for one in await found.to_list(None)}
        return [of_whom.get(one) for one in asked]

    @answering
    async def by_order(self, scope: Scope, order_id: str) -> Appointment | None:
        """One read by the order's index."""
        return await self._one(scope, {"order_id": order_id}, open_sealed=False)

    @answering
    async def page(self, scope: Scope, query: AppointmentQuery, cursor: str | None) -> Page[Appointment]:
        """One indexed read of the page and one look into the vault for all of it."""
        found = await self._appointments.find(
            scoped(scope, _listed(query, cursor)),
            _OPEN,
            sort=_BY_START,
            limit=query.limit + 1,
            comment=reason_of(scope),
        ).to_list(None)
        items = await self._opened(found[: query.limit])
        more = len(found) > query.limit
        return Page(items, encode_cursor(items[-1].start, items[-1].id) if more else None)

    @answering
    async def unsettled(
        self, scope: Scope, since: datetime, until: datetime, after: str, limit: int
    ) -> list[Appointment]:
        """In the order in which they were closed; `after` is the last one's id, empty at first."""
        query: Document = {"closed_at": {"$gte": since, "$lt": until}, "captured": 0, "order_id": {"$type": "string"}}
        if after:
            last = await self._look(scope, after, "closed_at")
            query["closed_at"] = {"$gte": last["closed_at"], "$lt": until}
            query["$or"] = [{"closed_at": {"$gt": last["closed_at"]}}, {"_id": {"$gt": after}}]
        found = self._appointments.find(
            scoped(scope, query),
            _CLOSED,
            sort=[("closed_at", ASCENDING), ("_id", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [documents.to_appointment(one, None) for one in await found.to_list(None)]

    @answering
    async def overdue(self, scope: Scope, before: datetime, after: str, limit: int) -> list[Appointment]:
        """By id, over an index of the appointments that await something."""
        found = self._appointments.find(
            scoped(scope, {"waiting_for.until": {"$lt": before}, "_id": {"$gt": after}}),
            _CLOSED,
            sort=[("_id", ASCENDING)],
            limit=limit,
            hint="overdue",  # the index of `_id` has the same order, but holds every appointment there ever was
            comment=reason_of(scope),
        )
        return [documents.to_appointment(one, None) for one in await found.to_list(None)]

    @answering
    async def upcoming(self, scope: Scope, provider: Provider, start: datetime, end: datetime | None) -> list[Booked]:
        """One read over the provider's index, of a few fields of each."""
        owner: Document = {"tenant_id": provider.tenant_id, "provider_id": provider.id}
        starts: Document = {"$gt": start - LONGEST_CLAIM}
        if end is not None:
            starts["$lt"] = end + LONGEST_CLAIM
        query: Document = {**owner, "start": starts, "state": {"$in": sorted(CANCELLABLE)}}
        found = self._appointments.find(
            scoped(scope, query),
            {"start": 1, "end": 1, "service": 1},
            sort=[("start", ASCENDING), ("_id", ASCENDING)],
            comment=reason_of(scope),
        )
        booked = [documents.to_booked(one) for one in await found.to_list(None)]
        return [one for one in booked if one.end > start and (end is None or one.start < end)]

    @answering
    async def of_day(self, scope: Scope, wanted: DayQuery) -> list[Visit]:
        """One read over the clinic's or the provider's index, of the fields that a day list has."""
        owner: Document = {"tenant_id": wanted.tenant_id, "clinic_id": wanted.clinic_id}
        if wanted.provider_id is not None:
            owner["provider_id"] = wanted.provider_id
        found = self._appointments.find(
            scoped(scope, {**owner, "start": {"$gte": wanted.start, "$lt": wanted.end}}),
            documents.VISIT_FIELDS,
            sort=[("start", ASCENDING), ("_id", ASCENDING)],
            comment=reason_of(scope),
        )
        return [documents.to_visit(one) for one in await found.to_list(None)]

    @answering
    async def intakes(self, scope: Scope, appointment_ids: Sequence[str]) -> dict[str, Intake | None]:
        """One read by id, and one look into the vault for all of them."""
        found = await self._appointments.find(
            scoped(scope, {"_id": {"$in": list(appointment_ids)}}), {"sealed.clinical": 1}, comment=reason_of(scope)
        ).to_list(None)
        opened = await self._vault.open([documents.sealed_intake(one) for one in found])
        return {
            str(one["_id"]): None if words is ERASED else Intake.model_validate(words)
            for one, words in zip(found, opened, strict=True)
            if words is not None
        }

    @answering
    async def events(self, limit: int) -> list[Event]:
        """Oldest first, each appointment's in the order in which they happened."""
        found = self._appointments.find(
            {"outbox.0": {"$exists": True}},
            {"outbox": 1, "tenant_id": 1, "clinic_id": 1, "subject_id": 1},
            sort=[("outbox.at", ASCENDING)],
            limit=limit,
            comment=reason_of(_RELAY),
        )
        events = [event for one in await found.to_list(None) for event in documents.to_events(one)]
        return sorted(events, key=lambda event: (event.at, event.version))[:limit]

    @answering
    async def drained(self, events: Sequence[Event]) -> None:
        """One bulk write; an event that is gone already stays so."""
        ids = defaultdict[str, list[str]](list)
        for event in events:
            ids[event.appointment_id].append(event.id)
        pulls: list[UpdateOne] = [
            UpdateOne({"_id": appointment_id}, {"$pull": {"outbox": {"id": {"$in": gone}}}})
            for appointment_id, gone in ids.items()
        ]
        if pulls:
            await self._drained.bulk_write(pulls, ordered=False, comment=reason_of(_RELAY))

    async def _one(self, scope: Scope, query: Document, *, open_sealed: bool) -> Appointment | None:
        found = await self._appointments.find_one(
            scoped(scope, query), _OPEN if open_sealed else _CLOSED, comment=reason_of(scope)
        )
        return None if found is None else (await self._opened([found]))[0]

    async def _opened(self, found: Sequence[Document]) -> list[Appointment]:
        opened = await self._vault.open([documents.sealed_intake(one) for one in found])
        return [documents.to_appointment(one, words) for one, words in zip(found, opened, strict=True)]

    async def _look(self, scope: Scope, appointment_id: str, *fields: str) -> Document:
        """Those fields of one appointment, to tell why an update found nothing. Raises `not_found`."""
        found = await self._appointments.find_one(
            scoped(scope, {"_id": appointment_id}), fields, comment=reason_of(scope)
        )
        if found is None:
            raise not_found()
        return found


def _listed(query: AppointmentQuery, cursor: str | None) -> Document:
    wanted: Document = {
        field: value
        for field, value in (
            ("state", query.state),
            ("provider_id", query.provider_id),
            ("subject_id", query.subject_id),
        )
        if value is not None
    }
    start: Document = {}
    if query.start_from is not None:
        start["$gte"] = query.start_from
    if query.start_to is not None:
        start["$lt"] = query.start_to
    if cursor is not None:
        last_start, last_id = decode_cursor(cursor, datetime, str)
        # Beside the exact condition the bound that an index can be entered with.
        start["$lte"] = last_start
        wanted["$or"] = [{"start": {"$lt": last_start}}, {"_id": {"$lt": last_id}}]
    return {**wanted, "start": start} if start else wanted


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
