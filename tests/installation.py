"""An installation without processes: stores with their declared indexes, and a client of its namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from sandbox.servers.stack import Addresses


@asynccontextmanager
async def installed(servers: Addresses, settings: Settings) -> AsyncIterator[tuple[Repositories, Client]]:
    """What activities and workflows of a test's own worker need."""
    owner = open_client(servers.owner_mongodb_url(settings.database), "tests")
    await ensure(owner[settings.database])
    owner.close()
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    client = await connect_temporal(settings)
    await register_search_attributes(client)
    yield stores, client
    await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""
