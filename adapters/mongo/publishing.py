"""What a practice publishes: services and hours, each changed by one write that knows which version it replaces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id
from adapters.mongo.providers import read, stored_fields
from adapters.mongo.scopes import reason_of, require, scoped
from adapters.mongo.search import MongoSearch
from models.availability import Availability
from models.errors import Code, VisitNowError, not_found
from models.identity import Scope, Tenant
from models.providers import Clinic, Provider, Service
from models.publishing import Published

WasPublished = Callable[[str, str], Awaitable[None]]
"""Called with a provider's and its practitioner's id after a change; it deals with its own failures."""


async def nobody_asked(provider_id: str, practitioner_id: str) -> None:
    """Hears of a change in a process that keeps nothing of it and tells nobody."""
    del provider_id, practitioner_id


class MongoPublications:
    """Implements `models.ports.Publications` on the collections `providers` and `availability`.

    The scopes are those of records: what a practice has published is everybody's to read elsewhere, to change it is
    the practice's own.
    """

    def __init__(self, database: Database, search: MongoSearch, was_published: WasPublished) -> None:
        """`search` is the projection that follows every change, of which `was_published` hears."""
        self._search = search
        self._providers: Collection = database["providers"]
        self._availability: Collection = database["availability"]
        self._clinics: Collection = database["clinics"]
        self._was_published = was_published

    @answering
    async def find(self, scope: Scope, provider_id: str) -> Published:
        """Three reads by id; profiles that are not live yet are found too. Raises `not_found`."""
        query = scoped(scope, {"_id": provider_id})
        provider, hours = await asyncio.gather(
            self._providers.find_one(query, comment=reason_of(scope)),
            self._availability.find_one(query, comment=reason_of(scope)),
        )
        if provider is None:
            raise not_found()
        profile = read(Provider, provider)
        clinic = await self._clinic(profile)
        if clinic is None:
            raise not_found()
        return Published(
            profile,
            _version(provider),
            Availability() if hours is None else read(Availability, hours),
            0 if hours is None else _version(hours),
            str(clinic["timezone"]),
        )

    @answering
    async def set_services(self, scope: Scope, provider: Provider, services: Sequence[Service], replaces: int) -> int:
        """One conditional update; the new version. Raises `stale` and `not_found`."""
        changed = provider.model_copy(update={"services": tuple(services)})
        fields: Document = {"services": stored_fields(changed)["services"], "updated_at": datetime.now(UTC)}
        after = await self._providers.find_one_and_update(
            scoped(scope, {"_id": provider.id, "version": replaces}),
            {"$set": fields, "$inc": {"version": 1}},
            {"version": 1},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        if not after:
            raise await self._refusal(scope, provider.id)
        clinic = await self._clinic(provider)
        if clinic is not None:
            await self._search.put_profile(scope, changed, read(Clinic, clinic))
        await self._was_published(provider.id, provider.practitioner_id)
        return _version(after)

    @answering
    async def set_availability(
        self, scope: Scope, provider: Provider, availability: Availability, replaces: int
    ) -> int:
        """One conditional update, or the insert where nothing was published; the new version. Raises `stale`."""
        owner: Document = {
            "tenant_id": provider.tenant_id,
            "clinic_id": provider.clinic_id,
            "provider_id": provider.id,
        }
        require(scope, owner)
        now = datetime.now(UTC)
        fields: Document = {**owner, **stored_fields(availability), "updated_at": now}
        try:
            after = await self._availability.find_one_and_update(
                scoped(scope, {"_id": provider.id, "version": replaces}),
                {"$set": fields, "$setOnInsert": {"created_at": now}, "$inc": {"version": 1}},
                {"version": 1},
                # Version 0 is that of hours that do not exist: with any other nothing may be made.
                upsert=replaces == 0,
                return_document=ReturnDocument.AFTER,
                comment=reason_of(scope),
            )
        except DuplicateKeyError as error:
            if clashes_on_id(error):
                raise VisitNowError(Code.STALE) from error
            raise
        if not after:
            raise VisitNowError(Code.STALE)
        await self._search.look_again(scope, provider.id)
        await self._was_published(provider.id, provider.practitioner_id)
        return _version(after)

    async def _clinic(self, provider: Provider) -> Document | None:
        return await self._clinics.find_one(scoped(Tenant(provider.tenant_id), {"_id": provider.clinic_id}))

    async def _refusal(self, scope: Scope, provider_id: str) -> VisitNowError:
        found = await self._providers.find_one(scoped(scope, {"_id": provider_id}), {"_id": 1})
        return not_found() if found is None else VisitNowError(Code.STALE)


def _version(document: Document) -> int:
    version = document["version"]
    if not isinstance(version, int):
        msg = "a document without a version"
        raise TypeError(msg)
    return version
