"""Whoever is forgotten in these tests, and who forgets them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.stack import Stack
from tests.trust.life import Office, office_of


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def office(shared_stack: Stack) -> AsyncIterator[Office]:
    """Over the shared stack: erasing touches one person at a time."""
    async with office_of(shared_stack) as opened:
        yield opened
