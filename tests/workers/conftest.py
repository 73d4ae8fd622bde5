"""The stores of each module's own installation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from adapters.connections import mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from sandbox.servers.stack import Addresses


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
