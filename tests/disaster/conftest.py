"""Installations to back up and to restore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from adapters.mongo.client import open_client
from adapters.mongo.indexes import ensure
from models.data_classes import DataClass
from sandbox.servers.stack import Addresses
from tests.disaster.support import Place, Town
from tests.stack import Json


@pytest.fixture
def town(servers: Addresses, database_name: str, tmp_path: Path) -> Iterator[Town]:
    with MongoClient[Json](servers.admin_mongodb_url(), tz_aware=True) as owner:
        yield Town(servers, database_name, tmp_path, owner)


@pytest.fixture
async def lived_in(town: Town) -> Place:
    """Sealed words of two people, entries of two tenants under seals, three files."""
    place = town.place()
    owner = open_client(place.target.owner_url, "tests")
    await ensure(owner[place.data])
    owner.close()
    vault = place.vault()
    for number in (1, 2):
        sealed = await vault.seal(f"usr_{number}", DataClass.IDENTITY, {"name": f"Nirmala {number}"})
        person = {"_id": f"usr_{number}", "tenant_id": "platform", "subject_id": f"usr_{number}"}
        place.owner[place.data]["users"].insert_one({**person, "sealed": {"identity": sealed}})
    await vault.close()
    await place.audit("tnt_a", 30)
    await place.audit("tnt_b", 5)
    for name in ("documents/doc_1/0", "documents/doc_1/1", "usr_1/doc_2"):
        await place.put_file(name, name.encode() * 1000)
    return place
