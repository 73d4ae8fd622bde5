"""Tenants, clinics, practitioners, their published profiles and hours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import OUTBOX, Declared
from adapters.mongo.scopes import reason_of, scoped
from adapters.mongo.search import MongoSearch
from adapters.mongo.writes import put
from models.availability import Availability, Busy
from models.base import Model
from models.errors import not_found
from models.identity import PLATFORM, Scope, Tenant
from models.onboarding import registration_key
from models.providers import Clinic, Offering, Practitioner, Provider, TenantRecord
from models.publishing import STANDING

T = TypeVar("T", bound=Model)

DECLARED: Final[Sequence[Declared]] = (
    Declared(
        "providers",
        (
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
    Declared("tenants", (IndexModel([("slug", ASCENDING)], name="slug", unique=True), OUTBOX)),
    Declared(
        "practitioners",
        (
            IndexModel([("registration_key", ASCENDING), ("_id", ASCENDING)], name="registration"),
            IndexModel([("application_id", ASCENDING)], name="application", sparse=True),
        ),
    ),
    Declared("availability"),
)


class MongoDirectory:
    """Implements `models.ports.Directory`, and writes what it reads."""

    def __init__(self, database: Database, search: MongoSearch) -> None:
        """The collections `tenants`, `clinics`, `practitioners`, `providers` and `availability`.

        `search` is the projection that profiles are written into.
        """
        self._search = search
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
        """Write a clinic, which everybody may see once it is live; its providers are found where it is."""
        await put(self._clinics, scope, clinic.id, {**stored_fields(clinic), "clinic_id": clinic.id, "live": live})
        for provider in await self._of_clinic(clinic):
            await self._search.put_profile(scope, provider, clinic)

    @answering
    async def put_practitioner(
        self, scope: Scope, practitioner: Practitioner, application_id: str | None = None
    ) -> None:
        """Write a person, who belongs to no tenant: only the platform or a process of ours may.

        `application_id` is the application that brought them, so that it can be taken back with it.
        """
        registration = practitioner.registration
        key = registration_key(registration.council, registration.number, registration.year)
        document: Document = {"tenant_id": PLATFORM, **stored_fields(practitioner), "registration_key": key}
        if application_id is not None:
            document["application_id"] = application_id
        await put(self._practitioners, scope, practitioner.id, document)

    @answering
    async def put_provider(self, scope: Scope, provider: Provider) -> None:
        """Write a profile with what it is found by. Raises `not_found` where its clinic is not of its tenant."""
        clinic = await self._one(self._clinics, Tenant(provider.tenant_id), {"_id": provider.clinic_id}, Clinic)
        if clinic is None:
            raise not_found()
        await put(self._providers, scope, provider.id, {**stored_fields(provider), "provider_id": provider.id})
        await self._search.put_profile(scope, provider, clinic)

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
        await self._search.look_again(scope, provider.id)

    @answering
    async def walk(self, scope: Scope, after: str, limit: int) -> list[Provider]:
        """Profiles by id, live or not; `after` is the id of the last one, empty at first."""
        found = self._providers.find(
            scoped(scope, {"_id": {"$gt": after}}), sort=[("_id", ASCENDING)], limit=limit, comment=reason_of(scope)
        )
        return [read(Provider, one) for one in await found.to_list(None)]

    async def _of_clinic(self, clinic: Clinic) -> list[Provider]:
        query: Document = {"clinic_id": clinic.id}
        found = await self._providers.find(scoped(Tenant(clinic.tenant_id), query)).to_list(None)
        return [read(Provider, one) for one in found]

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
