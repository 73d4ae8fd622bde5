"""A database of its own for each module of these tests, and the settings with which a worker process finds it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from adapters.connections import mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from sandbox.servers.stack import Addresses
from sandbox.servers.temporal import ensure_namespace


@pytest.fixture(scope="module")
def settings(servers: Addresses, module_database_name: str) -> Settings:
    """An installation of its own on the run's servers."""
    name = module_database_name
    namespace = name.replace("_", "-")
    ensure_namespace(servers.temporal_address, namespace)
    return Settings(
        database=name,
        vault_database=f"{name}_vault",
        mongodb_url=SecretStr(servers.mongodb_url(name)),
        audit_mongodb_url=SecretStr(servers.audit_mongodb_url(name)),
        vault_mongodb_url=SecretStr(servers.vault_mongodb_url(f"{name}_vault")),
        redis_url=SecretStr(servers.redis_url),
        temporal_address=servers.temporal_address,
        temporal_namespace=namespace,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stores(servers: Addresses, settings: Settings) -> AsyncIterator[Repositories]:
    """The repositories, with the declared collections and indexes."""
    owner = open_client(servers.owner_mongodb_url(settings.database), "tests")
    await ensure(owner[settings.database])
    owner.close()
    repositories = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    yield repositories
    await repositories.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""
