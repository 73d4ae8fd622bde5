"""What patients are offered because a doctor is away: one document for each leave and visit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError

from adapters.mongo import appointment_documents
from adapters.mongo.claim_documents import LONGEST_CLAIM
from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.providers import read
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.absence import OPEN, Offer, OfferState, OfferTally, Within
from models.absence_ports import Waiting
from models.booking import AppointmentState
from models.identity import Scope
from models.providers import Provider

DECLARED: Final = Declared(
    "absence_offers",
    (
        IndexModel(
            [("leave_id", ASCENDING), ("state", ASCENDING), ("due_at", ASCENDING), ("_id", ASCENDING)], name="due"
        ),
        IndexModel([("appointment_id", ASCENDING), ("created_at", DESCENDING)], name="visit"),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("tenant_id", ASCENDING), ("created_at", ASCENDING)], name="age"),
    ),
)

_AHEAD: Final = (AppointmentState.HELD, AppointmentState.CONFIRMED)
_DUPLICATE: Final = 11000
_BY_URGENCY: Final = [("due_at", ASCENDING), ("_id", ASCENDING)]


class MongoOffers:
    """Implements `models.absence_ports.Offers` on the collection `absence_offers`, beside a look at appointments."""

    def __init__(self, database: Database) -> None:
        """Nothing in it is personal but ids."""
        self._offers: Collection = database["absence_offers"]
        self._appointments: Collection = database["appointments"]

    @answering
    async def within(self, scope: Scope, provider: Provider, start: datetime, end: datetime) -> list[Within]:
        """One read over the provider's index, of a few fields of each."""
        query: Document = {
            "tenant_id": provider.tenant_id,
            "provider_id": provider.id,
            "start": {"$gt": start - LONGEST_CLAIM, "$lt": end + LONGEST_CLAIM},
            "state": {"$in": list(_AHEAD)},
        }
        found = self._appointments.find(
            scoped(scope, query),
            (*Within.model_fields, "service", "end", "history", "sealed.override"),
            sort=[("start", ASCENDING), ("_id", ASCENDING)],
            comment=reason_of(scope),
        )
        return [_to_within(one) for one in await found.to_list(None) if _overlaps(one, start, end)]

    @answering
    async def add(self, scope: Scope, offers: Sequence[Offer], at: datetime) -> None:
        """One insert of them all. Raises `not_found` for one that is beyond the scope."""
        documents = [_document(one, at) for one in offers]
        for document in documents:
            require(scope, document)
        try:
            if documents:
                await self._offers.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if any(one["code"] != _DUPLICATE for one in error.details["writeErrors"]):
                raise

    @answering
    async def known(self, scope: Scope, offer_ids: Sequence[str]) -> set[str]:
        """One read by id."""
        wanted: Document = {"_id": {"$in": list(offer_ids)}}
        found = self._offers.find(scoped(scope, wanted), {"_id": 1}, comment=reason_of(scope))
        return {str(one["_id"]) for one in await found.to_list(None)}

    @answering
    async def untold(self, scope: Scope, leave_id: str, limit: int) -> list[Offer]:
        """One indexed read."""
        return await self._list(scope, {"leave_id": leave_id, "state": OfferState.NEW}, limit)

    @answering
    async def due(self, scope: Scope, leave_id: str, before: datetime | None, limit: int) -> Waiting:
        """One indexed read, with the first of those that come after."""
        told: Document = {"leave_id": leave_id, "state": OfferState.OFFERED}
        due = told if before is None else {**told, "due_at": {"$lte": before}}
        offers = await self._list(scope, due, limit)
        later = None if before is None else {**told, "due_at": {"$gt": before}}
        following = None if later is None else await self._first(scope, later)
        return Waiting(offers, following)

    @answering
    async def advance(
        self, scope: Scope, offer: Offer, to: OfferState, at: datetime, sources: Sequence[OfferState]
    ) -> bool:
        """One conditional update."""
        done = await self._offers.update_one(
            scoped(scope, {"_id": offer.id, "state": {"$in": list(sources)}}),
            {"$set": {"state": to, "updated_at": at}, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )
        return done.matched_count == 1

    @answering
    async def postpone(self, scope: Scope, offer: Offer, until: datetime) -> None:
        """One conditional update; the deadline stays what the patient was told."""
        await self._offers.update_one(
            scoped(scope, {"_id": offer.id, "state": {"$in": list(OPEN)}}),
            {"$set": {"due_at": until}, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )

    @answering
    async def latest(self, scope: Scope, appointment_id: str) -> Offer | None:
        """One read by the visit's index."""
        found = await self._offers.find_one(
            scoped(scope, {"appointment_id": appointment_id}),
            sort=[("created_at", DESCENDING)],
            comment=reason_of(scope),
        )
        return None if found is None else _to_offer(found)

    @answering
    async def tally(self, scope: Scope, leave_id: str) -> OfferTally:
        """One count over the leave's index."""
        found = self._offers.aggregate(
            [
                {"$match": scoped(scope, {"leave_id": leave_id})},
                {"$group": {"_id": "$state", "count": {"$sum": 1}}},
            ],
            comment=reason_of(scope),
        )
        return OfferTally.of({str(one["_id"]): int(str(one["count"])) for one in await found.to_list(None)})

    async def _list(self, scope: Scope, query: Document, limit: int) -> list[Offer]:
        found = self._offers.find(scoped(scope, query), sort=_BY_URGENCY, limit=limit, comment=reason_of(scope))
        return [_to_offer(one) for one in await found.to_list(None)]

    async def _first(self, scope: Scope, query: Document) -> datetime | None:
        found = await self._offers.find_one(
            scoped(scope, query), {"due_at": 1}, sort=_BY_URGENCY, comment=reason_of(scope)
        )
        due_at = None if found is None else found["due_at"]
        return due_at if isinstance(due_at, datetime) else None


def _document(offer: Offer, at: datetime) -> Document:
    fields = offer.model_dump(exclude={"id"})
    return {"_id": offer.id, **fields, "due_at": offer.deadline, "version": 1, "created_at": at, "updated_at": at}


def _to_offer(document: Document) -> Offer:
    return read(Offer, document)


def _to_within(document: Document) -> Within:
    sealed = document.get("sealed")
    return read(
        Within,
        {
            **document,
            **appointment_documents.given(document),
            "by_hand": isinstance(sealed, dict) and "override" in sealed,
        },
    )


def _overlaps(document: Document, start: datetime, end: datetime) -> bool:
    booked = appointment_documents.to_booked(document)
    return booked.end > start and booked.start < end
