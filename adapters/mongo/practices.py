"""What is made of an approved application, step by step, and taken back where it could not be finished."""

from __future__ import annotations

from typing import Final

from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.providers import MongoDirectory
from adapters.mongo.publishing import WasPublished
from adapters.mongo.scopes import reason_of, scoped
from adapters.mongo.search import MongoSearch
from models.errors import Code, VisitNowError
from models.identity import Scope
from models.onboarding import registration_key
from models.providers import Clinic, Practitioner, Provider, TenantRecord

_NOT_LIVE: Final = {"live": False}


class MongoPractices:
    """Implements `models.onboarding_ports.Practices` over the collections of the directory."""

    def __init__(
        self, database: Database, directory: MongoDirectory, search: MongoSearch, was_published: WasPublished
    ) -> None:
        """`directory` and `search` write what everybody may find; `was_published` hears of who is shown or hidden."""
        self._search = search
        self._tenants: Collection = database["tenants"]
        self._clinics: Collection = database["clinics"]
        self._practitioners: Collection = database["practitioners"]
        self._providers: Collection = database["providers"]
        self._was_published = was_published
        self._directory = directory

    @answering
    async def slug_taken(self, scope: Scope, slug: str, tenant_id: str) -> bool:
        """Two reads by unique indexes."""
        for collection in (self._tenants, self._clinics):
            found = await collection.find_one(scoped(scope, {"slug": slug}), {"tenant_id": 1}, comment=reason_of(scope))
            if found is not None and found["tenant_id"] != tenant_id:
                return True
        return False

    @answering
    async def practitioner_by_registration(self, scope: Scope, key: str) -> Practitioner | None:
        """One read by an index; the one we knew first where there are several."""
        found = await self._practitioners.find(
            scoped(scope, {"registration_key": key}), sort=[("_id", 1)], limit=1, comment=reason_of(scope)
        ).to_list(None)
        return _practitioner(found[0]) if found else None

    @answering
    async def open_tenant(self, scope: Scope, tenant: TenantRecord) -> None:
        """An upsert by id."""
        try:
            await self._directory.put_tenant(scope, tenant)
        except DuplicateKeyError as error:
            raise VisitNowError(Code.SLUG_TAKEN) from error

    @answering
    async def open_clinic(self, scope: Scope, clinic: Clinic) -> None:
        """An upsert by id."""
        try:
            await self._directory.put_clinic(scope, clinic, live=False)
        except DuplicateKeyError as error:
            raise VisitNowError(Code.SLUG_TAKEN) from error

    @answering
    async def open_practitioner(self, scope: Scope, practitioner: Practitioner, application_id: str) -> str:
        """The id follows from the registration, so that two applications at once bring the same person."""
        registration = practitioner.registration
        key = registration_key(registration.council, registration.number, registration.year)
        known = await self.practitioner_by_registration(scope, key)
        if known is not None:
            return known.id
        await self._directory.put_practitioner(scope, practitioner, application_id)
        return practitioner.id

    @answering
    async def open_provider(self, scope: Scope, provider: Provider) -> None:
        """An upsert by id; whether it is live is decided later."""
        await self._directory.put_provider(scope, provider.model_copy(update=_NOT_LIVE))

    @answering
    async def remove_tenant(self, scope: Scope, tenant_id: str) -> None:
        """One delete by id."""
        await self._tenants.delete_one(scoped(scope, {"_id": tenant_id}), comment=reason_of(scope))

    @answering
    async def remove_clinic(self, scope: Scope, clinic_id: str) -> None:
        """One delete by id, never of a clinic that patients can see."""
        await self._clinics.delete_one(scoped(scope, {"_id": clinic_id, **_NOT_LIVE}), comment=reason_of(scope))

    @answering
    async def remove_practitioner(self, scope: Scope, application_id: str) -> None:
        """One delete, only of a person whom this application brought and nobody else has a profile of."""
        found = await self._practitioners.find_one(
            scoped(scope, {"application_id": application_id}), {"_id": 1}, comment=reason_of(scope)
        )
        if found is None:
            return
        profile = await self._providers.find_one(
            scoped(scope, {"practitioner_id": found["_id"]}), {"_id": 1}, comment=reason_of(scope)
        )
        if profile is None:
            await self._practitioners.delete_one(
                scoped(scope, {"_id": found["_id"], "application_id": application_id}), comment=reason_of(scope)
            )

    @answering
    async def remove_provider(self, scope: Scope, provider_id: str) -> None:
        """One delete by id of the profile and its search entry, never of one that patients can see."""
        await self._search.remove(scope, provider_id)
        await self._providers.delete_one(scoped(scope, {"_id": provider_id, **_NOT_LIVE}), comment=reason_of(scope))

    @answering
    async def set_live(self, scope: Scope, tenant_id: str, *, live: bool) -> None:
        """Three updates by the tenant's indexes; doing it again changes nothing."""
        mine: Document = {"tenant_id": tenant_id}
        found = await self._providers.find(
            scoped(scope, mine), {"practitioner_id": 1}, comment=reason_of(scope)
        ).to_list(None)
        for collection in (self._clinics, self._providers):
            await collection.update_many(
                scoped(scope, {**mine, "live": not live}),
                {"$set": {"live": live}, "$inc": {"version": 1}},
                comment=reason_of(scope),
            )
        await self._search.set_live(scope, tenant_id, live=live)
        for one in found:
            await self._was_published(str(one["_id"]), str(one["practitioner_id"]))


def _practitioner(document: Document) -> Practitioner:
    known = {name: document[name] for name in Practitioner.model_fields if name in document}
    return Practitioner.model_validate({**known, "id": document["_id"]})
