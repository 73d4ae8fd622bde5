"""Settings change one after the other, and nothing that once held is lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from adapters.mongo.client import Database
from adapters.mongo.repositories import Repositories
from models.errors import Code, VisitNowError
from models.identity import Public, System, Tenant
from models.providers import TenantRecord
from models.tenancy import Branding, Domain, TenantSettings
from tests.adapters.mongo.builders import an_entry, new

PROVISIONING = System("a test provisions a tenant")


async def a_tenant(stores: Repositories) -> TenantRecord:
    tenant_id = new("ten")
    record = TenantRecord(id=tenant_id, slug=tenant_id.replace("_", "-").lower()[:40], name="Arogya")
    await stores.directory.put_tenant(PROVISIONING, record)
    return record


async def change(stores: Repositories, tenant_id: str, replaces: int, seconds: int) -> int:
    changed = await stores.tenancy.replace_settings(
        Tenant(tenant_id),
        tenant_id,
        TenantSettings(payment_window_seconds=seconds),
        replaces=replaces,
        entry=an_entry(actor=f"usr_{seconds}", at=datetime.now(UTC), tenant_id=tenant_id),
    )
    return changed.version


async def test_a_tenant_begins_with_the_defaults_that_nobody_set(stores: Repositories) -> None:
    tenant = await a_tenant(stores)
    found = await stores.tenancy.settings(Tenant(tenant.id), tenant.id)
    assert (found.version, found.settings, found.changed_by, found.changed_at) == (1, TenantSettings(), None, None)


async def test_every_version_is_kept_with_who_and_when(stores: Repositories) -> None:
    tenant = await a_tenant(stores)
    scope = Tenant(tenant.id)
    for version in range(1, 5):
        assert await change(stores, tenant.id, version, 100 + version) == version + 1
    current = await stores.tenancy.settings(scope, tenant.id)
    assert (current.version, current.settings.payment_window_seconds, current.changed_by) == (5, 104, "usr_104")
    assert current.changed_at is not None
    before = await stores.tenancy.settings_versions(scope, tenant.id, 5, 10)
    assert [(one.version, one.settings.payment_window_seconds, one.changed_by) for one in before] == [
        (4, 103, "usr_103"),
        (3, 102, "usr_102"),
        (2, 101, "usr_101"),
        (1, 600, None),
    ]
    assert [one.version for one in await stores.tenancy.settings_versions(scope, tenant.id, 4, 1)] == [3]


async def test_of_many_who_change_the_same_version_one_does(stores: Repositories) -> None:
    tenant = await a_tenant(stores)

    async def attempt(seconds: int) -> bool:
        try:
            await change(stores, tenant.id, 1, seconds)
        except VisitNowError as error:
            if error.code is not Code.STALE:
                raise
            return False
        return True

    won = await asyncio.gather(*(attempt(number) for number in range(100, 120)))
    assert sum(won) == 1
    current = await stores.tenancy.settings(Tenant(tenant.id), tenant.id)
    assert (current.version, current.settings.payment_window_seconds) == (2, 100 + won.index(True))


async def test_a_change_that_died_halfway_is_made_by_the_next(stores: Repositories, owner: Database) -> None:
    tenant = await a_tenant(stores)
    assert await change(stores, tenant.id, 1, 111) == 2
    halfway = await owner["settings_versions"].find_one({"_id": f"{tenant.id}:1"})
    assert halfway is not None
    # As if the process had kept version 2 and died before it replaced it.
    await owner["settings_versions"].insert_one(
        {**halfway, "_id": f"{tenant.id}:2", "settings_version": 2, "changed_by": "usr_111"}
    )
    assert await change(stores, tenant.id, 2, 222) == 3
    kept = await stores.tenancy.settings_versions(Tenant(tenant.id), tenant.id, 3, 10)
    assert [one.version for one in kept] == [2, 1]


async def test_who_provisions_again_does_not_undo_what_the_admin_set(stores: Repositories) -> None:
    tenant = await a_tenant(stores)
    await change(stores, tenant.id, 1, 321)
    await stores.directory.put_tenant(PROVISIONING, tenant.model_copy(update={"name": "Arogya Two"}))
    found = await stores.tenancy.settings(Tenant(tenant.id), tenant.id)
    assert (found.version, found.settings.payment_window_seconds) == (2, 321)


async def test_another_tenant_neither_sees_nor_changes_them(stores: Repositories) -> None:
    tenant, other = await a_tenant(stores), Tenant(new("ten"))
    await change(stores, tenant.id, 1, 111)
    with pytest.raises(VisitNowError) as reading:
        await stores.tenancy.settings(other, tenant.id)
    with pytest.raises(VisitNowError) as writing:
        await stores.tenancy.replace_settings(
            other,
            tenant.id,
            TenantSettings(branding=Branding(color="#000000")),
            replaces=2,
            entry=an_entry(),
        )
    assert reading.value.code is writing.value.code is Code.NOT_FOUND
    assert await stores.tenancy.settings_versions(other, tenant.id, 9, 9) == []


async def test_the_public_sees_a_domain_once_it_is_verified(stores: Repositories) -> None:
    tenant = await a_tenant(stores)
    domain = Domain(host=f"{tenant.slug}.example", tenant_id=tenant.id, clinic_id="cln_a")
    await stores.tenancy.put_domain(PROVISIONING, domain, an_entry())
    assert await stores.tenancy.domain(Public(), domain.host) is None
    assert await stores.tenancy.domain(Tenant(tenant.id), domain.host) == domain
    verified = domain.model_copy(update={"verified": True})
    await stores.tenancy.put_domain(PROVISIONING, verified, an_entry())
    assert await stores.tenancy.domain(Public(), domain.host) == verified
    taken = verified.model_copy(update={"tenant_id": "ten_other"})
    with pytest.raises(VisitNowError):
        await stores.tenancy.put_domain(Tenant("ten_other"), taken, an_entry())
