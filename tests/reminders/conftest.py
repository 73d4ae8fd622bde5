"""A desk of each module's own: a database, a namespace, and no worker but the tests'."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from adapters.settings import Settings
from sandbox.servers.stack import Addresses
from tests.installation import installed
from tests.reminders.support import Desk


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(servers: Addresses, settings: Settings) -> AsyncIterator[Desk]:
    """The desk."""
    async with installed(servers, settings) as (stores, client):
        yield Desk(stores, client)
