"""Summaries of visits: versions that are only ever added, sealed, and gone with the patient's key."""

from __future__ import annotations

import asyncio

import pytest
from pymongo import MongoClient

from adapters.mongo.encryption import VAULT_COLLECTION
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.errors import Code, VisitNowError
from models.identity import Subject, System, Tenant
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.builders import a_command, new
from tests.adapters.mongo.visit_calls import a_record, a_version

WORLD = System("a test of summaries")


async def test_versions_are_added_one_after_the_other_and_stay(stores: Repositories) -> None:
    command = a_command(subject_id=new("usr"))
    scope, store = Tenant(command.tenant_id), stores.consultations
    assert await store.newest(scope, command.appointment_id) is None
    first, second = a_version(command), a_version(command, 2, record=a_record(patient={"name": "N. Joshi"}))
    await store.add(scope, first)
    await store.add(scope, second)
    assert await store.newest(scope, command.appointment_id) == second
    assert await store.find(scope, command.appointment_id, 1) == first
    assert await store.find(scope, command.appointment_id, 3) is None
    assert await store.before(scope, command.appointment_id, 9, 5) == [second, first]
    assert await store.before(scope, command.appointment_id, 2, 5) == [first]


@pytest.mark.parametrize("number", [1, 3])
async def test_a_version_that_is_not_the_next_one_is_stale(stores: Repositories, number: int) -> None:
    command = a_command()
    scope = Tenant(command.tenant_id)
    await stores.consultations.add(scope, a_version(command))
    with pytest.raises(VisitNowError) as refusal:
        await stores.consultations.add(scope, a_version(command, number))
    assert refusal.value.code is Code.STALE


async def test_of_many_who_write_the_same_version_one_does(stores: Repositories) -> None:
    command = a_command()
    scope = Tenant(command.tenant_id)
    outcomes = await asyncio.gather(
        *(stores.consultations.add(scope, a_version(command, author_id=new("usr"))) for _ in range(12)),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if isinstance(one, VisitNowError)]
    assert len(refused) == 11
    assert {one.code for one in refused} == {Code.STALE}
    assert outcomes.count(None) == 1


async def test_nobody_else_s_scope_writes_or_reads_it(stores: Repositories) -> None:
    command = a_command(subject_id=new("usr"))
    for scope in (Tenant(new("ten")), Subject(new("usr"))):
        with pytest.raises(VisitNowError) as refusal:
            await stores.consultations.add(scope, a_version(command))
        assert refusal.value.code is Code.NOT_FOUND
    await stores.consultations.add(WORLD, a_version(command))
    assert await stores.consultations.newest(Tenant(new("ten")), command.appointment_id) is None
    assert await stores.consultations.newest(Subject(command.subject_id), command.appointment_id) is not None


async def test_it_lies_sealed_and_goes_with_the_patient_s_clinical_key(
    stores: Repositories, servers: Addresses, addresses: MongoAddresses
) -> None:
    command = a_command(subject_id=new("usr"))
    await stores.consultations.add(WORLD, a_version(command))
    raw = await stores.database["consultations"].find_one({"appointment_id": command.appointment_id})
    assert raw is not None
    for secret in ("Nirmala", "Paracetamol", "Rest", "KMC 1", "9812345678"):
        assert secret not in str(raw)
    with MongoClient[dict[str, object]](servers.owner_mongodb_url(addresses.vault_database)) as owner:
        keys = owner[addresses.vault_database][VAULT_COLLECTION]
        assert keys.delete_one({"keyAltNames": f"{command.subject_id}:clinical"}).deleted_count == 1
    found = await stores.consultations.newest(WORLD, command.appointment_id)
    assert found is not None
    assert found.record is None
