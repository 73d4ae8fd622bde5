"""Accounts: found within their scope, who they are only as long as their key exists."""

from __future__ import annotations

import pytest
from pymongo import MongoClient

from adapters.mongo.client import Document
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.errors import VisitNowError
from models.identity import PLATFORM, Account, Role, Subject, System, Tenant
from tests.adapters.mongo.builders import new

SEED = System("tests")


def a_doctor(**changes: object) -> Account:
    fields: dict[str, object] = {
        "id": new("usr"),
        "tenant_id": "ten_a",
        "roles": {Role.DOCTOR, Role.ADMIN},
        "provider_id": "prv_a",
        "clinic_ids": {"cli_a", "cli_b"},
        "name": "Dr. Ananya Rao",
        "email": f"{new('ananya')}@example.com",
    }
    return Account.model_validate({**fields, **changes})


async def test_an_account_is_found_as_it_was_put(stores: Repositories) -> None:
    account = a_doctor()
    await stores.users.put(SEED, account)
    renamed = account.model_copy(update={"name": "Dr. A. Rao", "roles": frozenset({Role.DOCTOR})})
    await stores.users.put(Tenant("ten_a"), renamed)
    assert await stores.users.find(Tenant("ten_a"), account.id) == renamed
    assert await stores.users.find(Subject(account.id), account.id) == renamed
    assert await stores.users.find(Tenant("ten_b"), account.id) is None
    assert await stores.users.find(Subject(new("usr")), account.id) is None
    assert await stores.users.find(SEED, new("usr")) is None
    document = await stores.database["users"].find_one({"_id": account.id})
    assert document is not None
    assert document["version"] == 2
    assert "Rao" not in str(document)


async def test_nobody_puts_an_account_into_another_tenant(stores: Repositories) -> None:
    account = a_doctor()
    await stores.users.put(SEED, account)
    with pytest.raises(VisitNowError):
        await stores.users.put(Tenant("ten_b"), account)
    moved = account.model_copy(update={"tenant_id": "ten_b"})
    with pytest.raises(VisitNowError):
        await stores.users.put(Tenant("ten_b"), moved)
    assert await stores.users.find(SEED, account.id) == account


async def test_an_erased_account_has_no_name(stores: Repositories, addresses: MongoAddresses) -> None:
    account = Account(
        id=new("usr"), tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), name="Savitri", phone="+919800000001"
    )
    await stores.users.put(SEED, account)
    with MongoClient[Document](addresses.vault_url) as client:
        keys = client[addresses.vault_database]["__keyVault"]
        assert keys.delete_one({"keyAltNames": f"{account.id}:identity"}).deleted_count == 1
    assert await stores.users.find(SEED, account.id) == account.model_copy(update={"name": None, "phone": None})
