"""A reviewers' office of each module's own: a database, a namespace and a worker in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from sandbox.servers.stack import Addresses
from sandbox.servers.temporal import ensure_namespace
from tests.onboarding.support import Office


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
async def office(servers: Addresses, settings: Settings) -> AsyncIterator[Office]:
    """The office at work."""
    owner = open_client(servers.owner_mongodb_url(settings.database), "tests")
    await ensure(owner[settings.database])
    owner.close()
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    client = await connect_temporal(settings)
    await register_search_attributes(client)
    at_work = Office(stores, client)
    async with at_work.worker():
        yield at_work
    await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""
