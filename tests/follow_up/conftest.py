"""Aftercare of each module's own: a database, a namespace, and no worker but the tests'."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from adapters.settings import Settings
from sandbox.servers.stack import Addresses
from tests.follow_up.support import Aftercare
from tests.installation import installed


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def care(servers: Addresses, settings: Settings) -> AsyncIterator[Aftercare]:
    """What follows visits."""
    async with installed(servers, settings) as (stores, client):
        yield Aftercare(stores, client)
