"""A reviewers' office of each module's own: a database, a namespace and a worker in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from adapters.settings import Settings
from sandbox.servers.stack import Addresses
from tests.installation import installed
from tests.onboarding.support import Office


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def office(servers: Addresses, settings: Settings) -> AsyncIterator[Office]:
    """The office at work."""
    async with installed(servers, settings) as (stores, client):
        at_work = Office(stores, client)
        async with at_work.worker():
            yield at_work
