"""The audit: written once, and by an account that cannot touch what is written."""

from __future__ import annotations

import asyncio

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from adapters.mongo.client import Document
from adapters.mongo.compliance import MongoAuditTrail
from adapters.mongo.repositories import MongoAddresses, Repositories
from tests.adapters.mongo.builders import DAY, an_entry


async def test_entries_are_written_once_and_never_changed(stores: Repositories) -> None:
    entries = [an_entry() for _ in range(5)]
    await stores.audit.append(entries[:2])
    changed = entries[0].model_copy(update={"actor": "usr_forger"})
    await asyncio.gather(*(stores.audit.append([changed, *entries[1:]]) for _ in range(5)))
    await stores.audit.append([])
    found = await stores.database["audit"].find({"_id": {"$in": [one.id for one in entries]}}).to_list(None)
    assert {one["_id"]: one["actor"] for one in found} == {one.id: "usr_staff" for one in entries}
    assert {one["at"] for one in found} == {DAY}


def _update(audit: Collection[Document]) -> object:
    return audit.update_one({}, {"$set": {"actor": "x"}})


def _upsert(audit: Collection[Document]) -> object:
    return audit.update_one({"_id": "new"}, {"$set": {"actor": "x"}}, upsert=True)


def _replace(audit: Collection[Document]) -> object:
    return audit.replace_one({}, {"actor": "x"})


def _delete(audit: Collection[Document]) -> object:
    return audit.delete_many({})


def _expire(audit: Collection[Document]) -> object:
    return audit.create_index("at", expireAfterSeconds=1)


def _drop(audit: Collection[Document]) -> object:
    audit.drop()
    return None


@pytest.mark.parametrize("attempt", [_update, _upsert, _replace, _delete, _expire, _drop])
async def test_the_audit_writer_changes_nothing_and_the_application_writes_nothing(
    stores: Repositories, addresses: MongoAddresses, attempt: object
) -> None:
    assert callable(attempt)
    entry = an_entry()
    await stores.audit.append([entry])
    for url in (addresses.audit_url, addresses.url):
        with MongoClient[Document](url) as client, pytest.raises(OperationFailure) as refused:
            attempt(client[addresses.database]["audit"])
        assert refused.value.code == 13, "unauthorized"
    assert await stores.database["audit"].count_documents({"_id": entry.id}) == 1


async def test_whatever_else_fails_is_raised(stores: Repositories) -> None:
    with pytest.raises(OperationFailure):
        await MongoAuditTrail(stores.database).append([an_entry()])
    too_large = an_entry(why="x" * 17_000_000)
    with pytest.raises(OperationFailure, match="is invalid"):
        await stores.audit.append([an_entry(), too_large])
