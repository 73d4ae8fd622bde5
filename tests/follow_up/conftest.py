"""Aftercare of each module's own: a database, a namespace, and no worker but the tests'."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from sandbox.servers.stack import Addresses
from tests.follow_up.support import Aftercare


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def care(servers: Addresses, settings: Settings) -> AsyncIterator[Aftercare]:
    """What follows visits."""
    owner = open_client(servers.owner_mongodb_url(settings.database), "tests")
    await ensure(owner[settings.database])
    owner.close()
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    client = await connect_temporal(settings)
    await register_search_attributes(client)
    yield Aftercare(stores, client)
    await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""
