"""Tenants' settings with every version of them, and the hosts of their own.

The current settings lie in the tenant's document, where booking reads them; each version before lies in
`settings_versions`. A version never changes, so it is put there before it is replaced: whatever dies in between, the
next change finds it there already, and the one conditional update of the tenant decides who of two was first. The
same update keeps the entry for the audit: what is noted has happened, and what has happened is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id
from adapters.mongo.schema import OUTBOX, Declared
from adapters.mongo.scopes import reason_of, require, scoped
from adapters.mongo.writes import put
from models.compliance import AuditEntry
from models.errors import Code, VisitNowError, not_found
from models.identity import Scope, System
from models.tenancy import Branding, Domain, SettingsVersion, TenantSettings

_RELAY: Final = System("the outbox relay serves all tenants")

DECLARED: Final[Sequence[Declared]] = (
    Declared(
        "settings_versions", (IndexModel([("tenant_id", ASCENDING), ("settings_version", DESCENDING)], name="newest"),)
    ),
    Declared("domains", (OUTBOX,)),
)


class MongoTenancy:
    """Implements `models.ports.Tenancy` on `tenants`, `settings_versions` and `domains`."""

    def __init__(self, database: Database) -> None:
        """The collections of that database."""
        self._tenants: Collection = database["tenants"]
        self._versions: Collection = database["settings_versions"]
        self._domains: Collection = database["domains"]

    @answering
    async def settings(self, scope: Scope, tenant_id: str) -> SettingsVersion:
        """One read by id. Raises `not_found`."""
        found = await self._tenants.find_one(scoped(scope, {"_id": tenant_id}), comment=reason_of(scope))
        if found is None:
            raise not_found()
        return _current(found)

    @answering
    async def replace_settings(
        self, scope: Scope, tenant_id: str, settings: TenantSettings, *, replaces: int, entry: AuditEntry
    ) -> SettingsVersion:
        """The version before goes to the others, then one conditional update. Raises `stale` and `not_found`."""
        before = await self.settings(scope, tenant_id)
        if before.version != replaces:
            raise VisitNowError(Code.STALE)
        try:
            await self._keep(scope, tenant_id, before, entry.at)
        except DuplicateKeyError as error:
            # Somebody else keeps the same version at this moment, so it is kept.
            if not clashes_on_id(error):
                raise
        after = SettingsVersion(version=replaces + 1, settings=settings, changed_by=entry.actor, changed_at=entry.at)
        updated = await self._tenants.update_one(
            scoped(scope, {"_id": tenant_id, "policy_version": replaces}),
            {
                "$set": {**_stored(after), "updated_at": entry.at},
                "$push": {"outbox": entry.model_dump()},
                "$inc": {"version": 1},
            },
            comment=reason_of(scope),
        )
        if updated.matched_count == 0:
            raise VisitNowError(Code.STALE)
        return after

    async def _keep(self, scope: Scope, tenant_id: str, version: SettingsVersion, at: datetime) -> None:
        require(scope, {"tenant_id": tenant_id})
        await self._versions.update_one(
            {"_id": f"{tenant_id}:{version.version}", "tenant_id": tenant_id},
            {
                "$setOnInsert": {
                    **version.model_dump(mode="json", include={"settings"}),
                    **version.model_dump(include={"changed_by", "changed_at"}),
                    "settings_version": version.version,
                    "version": 1,
                    "created_at": at,
                    "updated_at": at,
                }
            },
            upsert=True,
            comment=reason_of(scope),
        )

    @answering
    async def settings_versions(self, scope: Scope, tenant_id: str, before: int, limit: int) -> list[SettingsVersion]:
        """One indexed read of those that were replaced."""
        query: Document = {"tenant_id": tenant_id, "settings_version": {"$lt": before}}
        found = await self._versions.find(
            scoped(scope, query), sort=[("settings_version", DESCENDING)], limit=limit, comment=reason_of(scope)
        ).to_list(None)
        return [SettingsVersion.model_validate({"version": one["settings_version"], **_known(one)}) for one in found]

    @answering
    async def domain(self, scope: Scope, host: str) -> Domain | None:
        """One read by id; the public finds verified ones only."""
        found = await self._domains.find_one(scoped(scope, {"_id": host}, published=True), comment=reason_of(scope))
        return None if found is None else _domain(found)

    @answering
    async def put_domain(self, scope: Scope, domain: Domain, entry: AuditEntry) -> None:
        """An upsert by host, with the entry that tells of it. Raises `not_found` where it is another tenant's."""
        document: Document = {**domain.model_dump(exclude={"host"}), "live": domain.verified}
        await put(self._domains, scope, domain.host, document, noted=entry.model_dump())

    @answering
    async def entries(self, limit: int) -> list[AuditEntry]:
        """Two reads by indexes of documents in which something waits."""
        found: list[AuditEntry] = []
        for collection in (self._tenants, self._domains):
            waiting = await collection.find(
                {"outbox.0": {"$exists": True}},
                {"outbox": 1},
                sort=[("outbox.at", ASCENDING)],
                limit=limit,
                comment=reason_of(_RELAY),
            ).to_list(None)
            found += [AuditEntry.model_validate(entry) for one in waiting for entry in _list(one["outbox"])]
        return sorted(found, key=lambda entry: entry.at)[:limit]

    @answering
    async def carried(self, entries: Sequence[AuditEntry]) -> None:
        """Two updates of the documents in which they wait; an entry that is gone already stays so."""
        for collection in (self._tenants, self._domains):
            await collection.update_many(
                {"outbox.0": {"$exists": True}, "outbox.at": {"$in": [one.at for one in entries]}},
                {"$pull": {"outbox": {"id": {"$in": [one.id for one in entries]}}}},
                comment=reason_of(_RELAY),
            )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _current(tenant: Document) -> SettingsVersion:
    known = {name: tenant[name] for name in TenantSettings.model_fields if name in tenant}
    policy = tenant["policy"]
    branding = Branding.model_validate(tenant.get("branding", {}))
    settings = {**known, **(policy if isinstance(policy, dict) else {}), "branding": branding}
    return SettingsVersion.model_validate(
        {
            "version": tenant["policy_version"],
            "settings": settings,
            "changed_by": tenant.get("settings_changed_by"),
            "changed_at": tenant.get("settings_changed_at"),
        }
    )


def _known(version: Document) -> Document:
    return {name: version[name] for name in ("settings", "changed_by", "changed_at")}


def _stored(version: SettingsVersion) -> Document:
    """As `models.providers.TenantRecord` has them, and who changed them when."""
    settings = version.settings
    return {
        "policy": settings.policy.model_dump(mode="json"),
        "policy_version": version.version,
        "languages": list(settings.languages),
        "branding": settings.branding.model_dump(mode="json"),
        "settings_changed_by": version.changed_by,
        "settings_changed_at": version.changed_at,
    }


def _domain(found: Document) -> Domain:
    known = {name: found[name] for name in Domain.model_fields if name in found}
    return Domain.model_validate({**known, "host": found["_id"]})
