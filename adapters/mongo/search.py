"""The projection that searches read: one entry per provider, made of the profile and of the days with free times.

Everything that a search may ask for by equality stands in one array of tokens, so that each order of the results
needs one index, whatever is asked for: an index holds at most one array. It can be rebuilt at any time; nothing is
ever booked by what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pymongo import ASCENDING, DESCENDING, GEOSPHERE, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, literal
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.cursor import Key, decode_cursor, encode_cursor
from models.identity import Scope
from models.ports import Page
from models.providers import Clinic, Location, Provider
from models.reviews import Rating
from models.search import (
    FACETS,
    NEVER,
    NO_FEE,
    Facet,
    Found,
    FreeDay,
    SearchQuery,
    Sort,
    day_token,
    facet_values,
    profile_tokens,
)

DEFAULT_RADIUS_KM: Final = 25.0
UNRATED: Final = 0
_THOUSAND: Final = 1000
_SHOWN: Final = {"next_available": 1, "rating": 1, "ratings": 1}
_METRES: Final = 1000.0
_ROUNDING_METRES: Final = 0.01
_EARTH_RADIUS_KM: Final = 6378.1
"""The server's own, so that `near` with and without the order by distance means the same circle."""

_ORDERS: Final = {
    Sort.NEXT_AVAILABLE: ("next_available", ASCENDING),
    Sort.FEE: ("fee", ASCENDING),
    Sort.RATING: ("rating", DESCENDING),
}


def _ordered(field: str, direction: int) -> IndexModel:
    keys = [("live", ASCENDING), ("tokens", ASCENDING), (field, direction), ("_id", ASCENDING)]
    return IndexModel(keys, name=f"by_{field}")


DECLARED: Final = Declared(
    "provider_days",
    (
        *(_ordered(field, direction) for field, direction in _ORDERS.values()),
        IndexModel([("tokens", ASCENDING), ("location", GEOSPHERE)], name="by_distance"),
        IndexModel([("practitioner_id", ASCENDING)], name="practitioner"),
        IndexModel([("tenant_id", ASCENDING)], name="tenant"),
        IndexModel([("live", ASCENDING), ("due_at", ASCENDING)], name="due"),
    ),
)


class Due(NamedTuple):
    """An entry whose days are to be looked at again."""

    provider_id: str
    practitioner_id: str


class MongoSearch:
    """Implements `models.ports.Search` on the collection `provider_days`."""

    def __init__(self, database: Database) -> None:
        """The projection."""
        self._entries: Collection = database["provider_days"]

    # Writing

    @answering
    async def put_profile(self, scope: Scope, provider: Provider, clinic: Clinic) -> None:
        """One upsert of what the profile says; what is known of its days stays, and is due to be looked at."""
        fee = provider.fee_from
        fields: Document = {
            "tenant_id": provider.tenant_id,
            "clinic_id": provider.clinic_id,
            "provider_id": provider.id,
            "practitioner_id": provider.practitioner_id,
            "live": provider.live,
            "fee": NO_FEE if fee is None else fee.amount,
            "location": None if clinic.location is None else _point(clinic.location),
            "facets": facet_values(provider, clinic),
            "profile_tokens": profile_tokens(provider, clinic),
        }
        require(scope, fields)
        kept: Document = {
            "day_tokens": {"$ifNull": ["$day_tokens", []]},
            "next_available": {"$ifNull": ["$next_available", literal(NEVER)]},
            "ratings": {"$ifNull": ["$ratings", 0]},
            "rating": {"$ifNull": ["$rating", UNRATED]},
            "due_at": "$$NOW",
            "announced": False,
        }
        update: list[Document] = [
            {"$set": {**{name: literal(value) for name, value in fields.items()}, **kept}},
            {"$set": {"tokens": {"$concatArrays": ["$profile_tokens", "$day_tokens"]}}},
        ]
        query = scoped(scope, {"_id": provider.id, "tenant_id": provider.tenant_id})
        for _ in range(2):
            try:
                await self._entries.update_one(query, update, upsert=True, comment=reason_of(scope))
            except DuplicateKeyError:
                continue  # somebody else has made the entry just now
            return

    @answering
    async def put_days(self, scope: Scope, provider_id: str, days: Sequence[FreeDay], due_at: datetime) -> bool:
        """One update of the days with free times; whether a search may answer otherwise than before."""
        tokens = [day_token(one.day, mode) for one in days for mode in (None, *one.modes)]
        first = days[0].first if days else NEVER
        fields: Document = {"day_tokens": tokens, "next_available": first, "due_at": due_at, "announced": True}
        query = scoped(scope, {"_id": provider_id})
        update: list[Document] = [
            {"$set": {name: literal(value) for name, value in fields.items()}},
            {"$set": {"tokens": {"$concatArrays": ["$profile_tokens", "$day_tokens"]}}},
        ]
        before = await self._entries.find_one_and_update(
            query, update, {"day_tokens": 1, "next_available": 1, "announced": 1}, comment=reason_of(scope)
        )
        if not before:
            return False
        return before["announced"] is False or (before["day_tokens"], before["next_available"]) != (tokens, first)

    @answering
    async def put_rating(self, scope: Scope, provider_id: str, rating: Rating) -> bool:
        """One update of how a provider is rated; whether that is another than before."""
        fields: Document = {"rating": _rating_key(rating), "ratings": rating.count}
        query = scoped(scope, {"_id": provider_id, "$or": [{name: {"$ne": value}} for name, value in fields.items()]})
        result = await self._entries.update_one(query, {"$set": fields}, comment=reason_of(scope))
        return result.modified_count > 0

    @answering
    async def find(self, scope: Scope, provider_id: str) -> Found | None:
        """What is known of one provider who can be found: one read by id."""
        found = await self._entries.find_one(
            scoped(scope, {"_id": provider_id}, published=True), _SHOWN, comment=reason_of(scope)
        )
        return None if found is None else _found(found, None)

    @answering
    async def look_again(self, scope: Scope, provider_id: str) -> None:
        """Have an entry's days looked at soon."""
        await self._entries.update_one(
            scoped(scope, {"_id": provider_id}), [{"$set": {"due_at": "$$NOW"}}], comment=reason_of(scope)
        )

    @answering
    async def set_live(self, scope: Scope, tenant_id: str, *, live: bool) -> None:
        """Show or hide a tenant's providers; doing it again changes nothing."""
        await self._entries.update_many(
            scoped(scope, {"tenant_id": tenant_id, "live": not live}),
            [{"$set": {"live": live, "due_at": "$$NOW", "announced": False}}],
            comment=reason_of(scope),
        )

    @answering
    async def remove(self, scope: Scope, provider_id: str) -> None:
        """One delete by id, never of an entry that patients can find."""
        await self._entries.delete_one(scoped(scope, {"_id": provider_id, "live": False}), comment=reason_of(scope))

    @answering
    async def due(self, scope: Scope, before: datetime, limit: int) -> list[Due]:
        """Entries whose time has come to be looked at, the longest due first."""
        found = self._entries.find(
            scoped(scope, {"live": True, "due_at": {"$lte": before}}),
            {"practitioner_id": 1},
            sort=[("due_at", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return [Due(str(one["_id"]), str(one["practitioner_id"])) for one in await found.to_list(None)]

    @answering
    async def of_practitioner(self, scope: Scope, practitioner_id: str) -> list[str]:
        """A person's profiles, at whichever clinics."""
        found = self._entries.find(
            scoped(scope, {"practitioner_id": practitioner_id}), {"_id": 1}, comment=reason_of(scope)
        )
        return [str(one["_id"]) for one in await found.to_list(None)]

    # Searching

    @answering
    async def page(self, scope: Scope, query: SearchQuery, limit: int, cursor: str | None) -> Page[Found]:
        """One indexed read, in the order of the index. Raises `ValueError` for another search's cursor."""
        if query.sort is Sort.DISTANCE:
            return await self._nearest(scope, query, limit, cursor)
        field, direction = _ORDERS[query.sort]
        conditions = wanted(query)
        if cursor is not None:
            conditions |= _after(query.sort, field, direction, cursor)
        found = await self._entries.find(
            scoped(scope, conditions, published=True),
            {**_SHOWN, field: 1},
            sort=[(field, direction), ("_id", ASCENDING)],
            limit=limit + 1,
            hint=f"by_{field}",
            comment=reason_of(scope),
        ).to_list(None)
        items = [_found(one, None) for one in found[:limit]]
        if len(found) <= limit:
            return Page(items, None)
        last = found[limit - 1]
        return Page(items, _cursor(query.sort, last[field], str(last["_id"])))

    @answering
    async def facets(self, scope: Scope, query: SearchQuery) -> dict[str, list[Facet]]:
        """Each property's values with their counts over all results, the most frequent first."""
        pipeline: list[Document] = [
            {"$match": scoped(scope, wanted(query), published=True)},
            {"$project": {"_id": 0, "facets": 1}},
            {"$unwind": "$facets"},
            {"$group": {"_id": "$facets", "count": {"$sum": 1}}},
        ]
        counted = await self._entries.aggregate(pipeline, hint="by_next_available", comment=reason_of(scope)).to_list(
            None
        )
        facets: dict[str, list[Facet]] = {name: [] for name in FACETS}
        for one in counted:
            name, _, value = str(one["_id"]).partition(":")
            facets[name].append(Facet(value=value, count=int(str(one["count"]))))
        return {name: sorted(values, key=lambda one: (-one.count, one.value)) for name, values in facets.items()}

    async def _nearest(self, scope: Scope, query: SearchQuery, limit: int, cursor: str | None) -> Page[Found]:
        """Within the circle by distance; those of one clinic are equally near and go by id."""
        if query.near is None:
            msg = "an order by distance needs a place"
            raise ValueError(msg)
        asked = query.model_copy(update={"near": None})
        near: Document = {
            "near": _point(query.near),
            "key": "location",
            "distanceField": "distance",
            "maxDistance": (query.radius_km or DEFAULT_RADIUS_KM) * _METRES,
            "spherical": True,
            "query": scoped(scope, wanted(asked), published=True),
        }
        pipeline: list[Document] = []
        if cursor is not None:
            sort, distance, last_id = decode_cursor(cursor, str, str, str)
            if sort != Sort.DISTANCE:
                msg = "not a cursor of this order"
                raise ValueError(msg)
            behind = float(distance)
            near["minDistance"] = max(0.0, behind - _ROUNDING_METRES)
            pipeline = [
                {"$match": {"$or": [{"distance": {"$gt": behind}}, {"distance": behind, "_id": {"$gt": last_id}}]}}
            ]
        pipeline = [
            {"$geoNear": near},
            *pipeline,
            {"$sort": {"distance": 1, "_id": 1}},
            {"$limit": limit + 1},
            {"$project": {**_SHOWN, "distance": 1}},
        ]
        found = await self._entries.aggregate(pipeline, comment=reason_of(scope)).to_list(None)
        items = [_found(one, float(str(one["distance"])) / _METRES) for one in found[:limit]]
        if len(found) <= limit:
            return Page(items, None)
        last = found[limit - 1]
        return Page(items, encode_cursor(Sort.DISTANCE, repr(last["distance"]), str(last["_id"])))


def wanted(query: SearchQuery) -> Document:
    """The conditions of a search, those that an index is entered with first."""
    conditions: Document = {"live": True, "tokens": {"$all": query.tokens}}
    if query.fee_max is not None:
        conditions["fee"] = {"$lte": query.fee_max}
    if query.near is not None:
        radius = (query.radius_km or DEFAULT_RADIUS_KM) / _EARTH_RADIUS_KM
        centre = [query.near.longitude, query.near.latitude]
        conditions["location"] = {"$geoWithin": {"$centerSphere": [centre, radius]}}
    return conditions


def _after(sort: Sort, field: str, direction: int, cursor: str) -> Document:
    if sort is Sort.NEXT_AVAILABLE:
        named, key, last_id = _decoded_instant(cursor)
    else:
        named, key, last_id = decode_cursor(cursor, str, int, str)
    if named != sort:
        msg = "not a cursor of this order"
        raise ValueError(msg)
    further, not_before = ("$gt", "$gte") if direction == ASCENDING else ("$lt", "$lte")
    # Beside the exact condition the bound that an index can be entered with.
    return {"$and": [{field: {not_before: key}}, {"$or": [{field: {further: key}}, {"_id": {"$gt": last_id}}]}]}


def _decoded_instant(cursor: str) -> tuple[str, Key, str]:
    named, key, last_id = decode_cursor(cursor, str, datetime, str)
    return named, key, last_id


def _cursor(sort: Sort, key: object, last_id: str) -> str:
    if not isinstance(key, int | datetime):
        msg = "an entry without its sort key"
        raise TypeError(msg)
    return encode_cursor(sort, key, last_id)


def _found(entry: Document, distance_km: float | None) -> Found:
    first = entry["next_available"]
    ratings = int(str(entry.get("ratings", 0)))  # entries of before there were any have none
    known = isinstance(first, datetime) and datetime.now(UTC) < first < NEVER
    return Found(
        provider_id=str(entry["_id"]),
        next_available=first if known and isinstance(first, datetime) else None,
        distance_km=distance_km,
        rating=round(int(str(entry["rating"])) / _THOUSAND, 1) if ratings else None,
        ratings=ratings,
    )


def _rating_key(rating: Rating) -> int:
    """Thousandths of a star, so that orders and cursors need no fractions."""
    return UNRATED if rating.mean is None else round(rating.mean * _THOUSAND)


def _point(location: Location) -> Document:
    return {"type": "Point", "coordinates": [location.longitude, location.latitude]}
