"""An installation whose audit is under seals, and everything that may touch it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pymongo import MongoClient
from pymongo.database import Database
from temporalio.testing import ActivityEnvironment

from activities.compliance import AuditActivities, SealEverything, SealTally
from adapters.connections import mongo_addresses
from adapters.mongo import compliance, seals
from adapters.mongo.repositories import Repositories
from adapters.seal_heads import FOLDER, StoredSealHeads
from adapters.settings import Settings
from adapters.tokens import Statements
from cli.audit import verified
from cli.verifying import Report
from models.seals import Fault
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.builders import an_entry
from tests.api.conftest import settings_for

Json = dict[str, Any]
_NUMBERS = itertools.count()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


class Sealed(NamedTuple):
    """An installation with an audit under seals, and everything that may touch it."""

    settings: Settings
    stores: Repositories
    heads: StoredSealHeads
    folder: Path
    root: Database[Json]
    """As the server's superuser sees the database."""

    @property
    def activities(self) -> AuditActivities:
        return AuditActivities(self.stores.seals, self.heads, Statements(self.settings.token_keys))

    async def write(self, tenant: str, count: int) -> list[str]:
        """New entries, noted one after another; their ids."""
        entries = [an_entry(tenant_id=tenant) for _ in range(count)]
        await self.stores.audit.append(entries)
        return [one.id for one in entries]

    async def seal(self) -> SealTally:
        """What the schedule does, without leaving the newest to the next time."""
        return await ActivityEnvironment().run(self.activities.seal, SealEverything(settle_seconds=0))

    async def verify(self) -> Report:
        return await verified(self.settings, None)

    async def faults(self) -> dict[str, Fault]:
        """What verifying finds."""
        return {one.what: one.fault for one in (await self.verify()).findings}


@asynccontextmanager
async def installed(servers: Addresses, database: str, folder: Path) -> AsyncIterator[Sealed]:
    """Nothing is in its audit yet."""
    settings = settings_for(servers, f"{database}_{next(_NUMBERS)}", storage_url=(folder / "objects").as_uri())
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    try:
        with MongoClient[Json](servers.admin_mongodb_url()) as client:
            for declared in (compliance.DECLARED, seals.DECLARED):
                client[settings.database][declared.collection].create_indexes(list(declared.indexes))
            heads = StoredSealHeads(settings.storage_url)
            yield Sealed(settings, stores, heads, folder / "objects" / FOLDER, client[settings.database])
    finally:
        await stores.close()


async def filled(audit: Sealed) -> None:
    """Two tenants whose entries lie under three and one seal."""
    for count in (5, 40, 3):
        await audit.write("tnt_a", count)
        await audit.seal()
    await audit.write("tnt_b", 4)
    assert (await audit.seal()).model_dump() == {"tenants": 2, "seals": 1, "entries": 4}


def ids_of(audit: Sealed, tenant: str = "tnt_a") -> list[str]:
    return [one["_id"] for one in audit.root["audit"].find({"tenant_id": tenant}, sort=[("stamp", 1)])]
