"""A database of its own for each module, with the declared indexes, and the repositories over it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.mongo.client import Database, open_client
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import MongoAddresses, Repositories
from sandbox.servers.stack import Addresses


class Heard(list[str]):
    """The practitioners whose time has changed."""

    async def note(self, practitioner_id: str) -> None:
        self.append(practitioner_id)


@pytest.fixture(scope="module")
def addresses(servers: Addresses, module_database_name: str) -> MongoAddresses:
    name = module_database_name
    return MongoAddresses(
        url=servers.mongodb_url(name),
        database=name,
        audit_url=servers.audit_mongodb_url(name),
        vault_url=servers.vault_mongodb_url(f"{name}_vault"),
        vault_database=f"{name}_vault",
        kms_url="local:",
        index_key=b"made up" * 4,
    )


@pytest.fixture(scope="module")
def time_changed() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
async def owner(servers: Addresses, addresses: MongoAddresses) -> AsyncIterator[Database]:
    """The database as its owner sees it: for indexes, and for what the application itself may not do."""
    client = open_client(servers.owner_mongodb_url(addresses.database), "tests")
    yield client[addresses.database]
    client.close()


@pytest.fixture(scope="module")
async def stores(addresses: MongoAddresses, owner: Database, time_changed: Heard) -> AsyncIterator[Repositories]:
    await ensure(owner)
    repositories = Repositories.connect(addresses, on_time_changed=time_changed.note)
    yield repositories
    await repositories.close()
