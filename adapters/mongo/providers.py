"""Tenants, clinics, practitioners, their published profiles and hours."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, scoped
from adapters.mongo.writes import put
from models.availability import Availability, Busy
from models.base import Model
from models.cursor import decode_cursor, encode_cursor
from models.errors import not_found
from models.identity import PLATFORM, Scope, Tenant
from models.onboarding import registration_key
from models.ports import Page
from models.providers import Clinic, Listing, Offering, Practitioner, Provider, TenantRecord
from models.publishing import STANDING

T = TypeVar("T", bound=Model)

_LONGEST_WORD: Final = 24
_MOST_WORDS: Final = 8
_BETWEEN_WORDS: Final = re.compile(r"[\s.,;:/()&'’\"-]+")
_BY_NAME: Final = [("search.name", ASCENDING), ("_id", ASCENDING)]


def _listed_by(*fields: str) -> IndexModel:
    return IndexModel([("live", ASCENDING), *((field, ASCENDING) for field in fields), *_BY_NAME])


DECLARED: Final[Sequence[Declared]] = (
    Declared(
        "providers",
        (
            # Each in the order of the list, so that a page reads no more than the page.
            _listed_by(),
            _listed_by("search.prefixes"),
            _listed_by("search.specialties"),
            _listed_by("search.city"),
            IndexModel([("clinic_id", ASCENDING)], name="clinic"),
            IndexModel([("tenant_id", ASCENDING)], name="tenant"),
            IndexModel([("practitioner_id", ASCENDING)], name="practitioner"),
        ),
    ),
    Declared(
        "clinics",
        (
            IndexModel([("slug", ASCENDING)], name="slug", unique=True),
            IndexModel([("tenant_id", ASCENDING)], name="tenant"),
        ),
    ),
    Declared("tenants", (IndexModel([("slug", ASCENDING)], name="slug", unique=True),)),
    Declared(
        "practitioners",
        (
            IndexModel([("registration_key", ASCENDING), ("_id", ASCENDING)], name="registration"),
            IndexModel([("application_id", ASCENDING)], name="application", sparse=True),
        ),
    ),
    Declared("availability"),
)


def folded(text: str) -> str:
    """Text as it is compared: without case, accents and spaces that nobody sees."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(one for one in decomposed if not unicodedata.combining(one)).split())


def words(*texts: str) -> set[str]:
    """The words of some texts as they are compared, cut where they are very long."""
    return {word[:_LONGEST_WORD] for text in texts for word in _BETWEEN_WORDS.split(folded(text)) if word}


def _all_words(text: str) -> Document:
    """Each word begins some word of a name or specialty; the longest, which says most, enters the index."""
    wanted = sorted(words(text), key=len, reverse=True)[:_MOST_WORDS]
    return {"search.prefixes": {"$all": wanted}} if wanted else {}


_FILTERS: Final[Mapping[str, Callable[[str], Document]]] = {
    "q": _all_words,
    "specialty": lambda name: {"search.specialties": folded(name)},
    "language": lambda code: {"languages": code},
    "city": lambda name: {"search.city": folded(name)},
    "mode": lambda mode: {"services.mode": mode},
    "gender": lambda gender: {"gender": gender},
    "fee_max": lambda paise: {"search.fee_from": {"$lte": int(paise)}},
}


class MongoDirectory:
    """Implements `models.ports.Directory`, and writes what it reads."""

    def __init__(self, database: Database) -> None:
        """The collections `tenants`, `clinics`, `practitioners`, `providers` and `availability`."""
        self._tenants: Collection = database["tenants"]
        self._clinics: Collection = database["clinics"]
        self._practitioners: Collection = database["practitioners"]
        self._providers: Collection = database["providers"]
        self._availability: Collection = database["availability"]
        self._leaves: Collection = database["leaves"]

    @answering
    async def offering(self, scope: Scope, provider_id: str) -> Offering | None:
        """Two round trips: the profile, then all that belongs to it at once, leave included."""
        found = await self._one(self._providers, scope, {"_id": provider_id, "live": True}, Provider)
        if found is None:
            return None
        tenant = Tenant(found.tenant_id)
        clinic, availability, record, absences = await asyncio.gather(
            self._one(self._clinics, tenant, {"_id": found.clinic_id}, Clinic),
            self._one(self._availability, tenant, {"_id": provider_id}, Availability),
            self._one(self._tenants, tenant, {"_id": found.tenant_id}, TenantRecord),
            self._absences(tenant, provider_id),
        )
        if clinic is None or record is None:
            return None
        return Offering(
            provider=found,
            clinic=clinic,
            availability=availability or Availability(),
            tenant=record,
            absences=absences,
        )

    @answering
    async def page(
        self, scope: Scope, filters: Mapping[str, str | int], limit: int, cursor: str | None
    ) -> Page[Listing]:
        """One indexed read of the profiles and one of their clinics. Raises `ValueError` for a foreign cursor.

        Names, specialties and cities are compared without case and accents; each word of `q` begins one of a name
        or specialty.
        """
        conditions: list[Document] = [_FILTERS[name](str(value)) for name, value in filters.items()]
        if cursor is not None:
            last_name, last_id = decode_cursor(cursor, str, str)
            # Beside the exact condition the bound that an index can be entered with.
            after: Document = {"$or": [{"search.name": {"$gt": last_name}}, {"_id": {"$gt": last_id}}]}
            conditions.append({"search.name": {"$gte": last_name}, **after})
        query: Document = {"live": True}
        for condition in conditions:
            query |= condition
        found = await self._providers.find(
            scoped(scope, query, published=True), sort=_BY_NAME, limit=limit + 1, comment=reason_of(scope)
        ).to_list(None)
        providers = [read(Provider, one) for one in found[:limit]]
        clinics = await self.clinics(scope, [one.clinic_id for one in providers])
        items = [Listing(provider=one, clinic=clinics[one.clinic_id]) for one in providers if one.clinic_id in clinics]
        more = len(found) > limit
        return Page(items, encode_cursor(folded(providers[-1].name), providers[-1].id) if more else None)

    @answering
    async def profiles(self, scope: Scope, provider_ids: Sequence[str]) -> dict[str, Provider]:
        """One read by ids."""
        found = await self._by_ids(self._providers, scope, provider_ids)
        return {str(one["_id"]): read(Provider, one) for one in found}

    @answering
    async def clinics(self, scope: Scope, clinic_ids: Sequence[str]) -> dict[str, Clinic]:
        """One read by ids."""
        found = await self._by_ids(self._clinics, scope, clinic_ids)
        return {str(one["_id"]): read(Clinic, one) for one in found}

    @answering
    async def clinic_by_slug(self, scope: Scope, slug: str) -> Clinic | None:
        """One read by a unique index."""
        return await self._one(self._clinics, scope, {"slug": slug}, Clinic)

    # Writing. Each is an upsert by id; `not_found` is raised where that id is another tenant's.

    @answering
    async def put_tenant(self, scope: Scope, tenant: TenantRecord) -> None:
        """Write a tenant; settings only where it is new, since from then on its admin changes them."""
        fields = stored_fields(tenant)
        names: Document = {"tenant_id": tenant.id, "slug": fields.pop("slug"), "name": fields.pop("name")}
        await put(self._tenants, scope, tenant.id, names, at_first=fields)

    @answering
    async def put_clinic(self, scope: Scope, clinic: Clinic, *, live: bool = True) -> None:
        """Write a clinic, which everybody may see once it is live; its providers are found under its city."""
        await put(self._clinics, scope, clinic.id, {**stored_fields(clinic), "clinic_id": clinic.id, "live": live})
        city = folded(clinic.city)
        await self._providers.update_many(
            scoped(scope, {"tenant_id": clinic.tenant_id, "clinic_id": clinic.id, "search.city": {"$ne": city}}),
            {"$set": {"search.city": city}},
            comment=reason_of(scope),
        )

    @answering
    async def put_practitioner(self, scope: Scope, practitioner: Practitioner) -> None:
        """Write a person, who belongs to no tenant: only the platform or a process of ours may."""
        registration = practitioner.registration
        key = registration_key(registration.council, registration.number, registration.year)
        document: Document = {"tenant_id": PLATFORM, **stored_fields(practitioner), "registration_key": key}
        await put(self._practitioners, scope, practitioner.id, document)

    @answering
    async def put_provider(self, scope: Scope, provider: Provider) -> None:
        """Write a profile with what it is found by. Raises `not_found` where its clinic is not of its tenant."""
        clinic = await self._one(self._clinics, Tenant(provider.tenant_id), {"_id": provider.clinic_id}, Clinic)
        if clinic is None:
            raise not_found()
        search: Document = {**search_fields(provider), "city": folded(clinic.city)}
        document = {**stored_fields(provider), "provider_id": provider.id, "search": search}
        await put(self._providers, scope, provider.id, document)

    @answering
    async def put_availability(self, scope: Scope, provider: Provider, availability: Availability) -> None:
        """Write a provider's hours."""
        document: Document = {
            "tenant_id": provider.tenant_id,
            "clinic_id": provider.clinic_id,
            "provider_id": provider.id,
            **stored_fields(availability),
        }
        await put(self._availability, scope, provider.id, document)

    async def _absences(self, tenant: Tenant, provider_id: str) -> tuple[Busy, ...]:
        """Leave that is in force and not over: what is given back within it must not be booked again."""
        query: Document = {
            "provider_id": provider_id,
            "state": {"$in": sorted(STANDING)},
            "end": {"$gt": datetime.now(UTC)},
        }
        found = self._leaves.find(scoped(tenant, query), {"_id": 0, "start": 1, "end": 1})
        return tuple(Busy(*_span(one)) for one in await found.to_list(None))

    async def _one(self, collection: Collection, scope: Scope, query: Document, model: type[T]) -> T | None:
        found = await collection.find_one(scoped(scope, query, published=True), comment=reason_of(scope))
        return None if found is None else read(model, found)

    async def _by_ids(self, collection: Collection, scope: Scope, ids: Iterable[str]) -> list[Document]:
        wanted = sorted(set(ids))
        if not wanted:
            return []
        query = scoped(scope, {"_id": {"$in": wanted}}, published=True)
        return await collection.find(query, comment=reason_of(scope)).to_list(None)


def _span(document: Document) -> tuple[datetime, datetime]:
    start, end = document["start"], document["end"]
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        msg = "a leave without its times"
        raise TypeError(msg)
    return start, end


def search_fields(provider: Provider) -> Document:
    """What a profile is found by of its own; the clinic's part beside it."""
    known = {word for text in (provider.name, *provider.specialties) for word in words(text)}
    fee = provider.fee_from
    return {
        "name": folded(provider.name),
        "prefixes": sorted({word[:length] for word in known for length in range(1, len(word) + 1)}),
        "specialties": [folded(one) for one in provider.specialties],
        "fee_from": None if fee is None else fee.amount,
    }


def stored_fields(model: Model) -> Document:
    """A model as it is stored; dates and wall times as ISO text."""
    return model.model_dump(mode="json", exclude={"id"})


def read(model: type[T], document: Document) -> T:
    """A model from its document; fields that it does not know are left out."""
    known = model.model_fields
    values = {name: document[name] for name in known if name in document}
    if "id" in known:
        values["id"] = document["_id"]
    return model.model_validate(values)
