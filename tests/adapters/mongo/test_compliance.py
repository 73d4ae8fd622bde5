"""The audit: written once, and by an account that cannot touch what is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from adapters.mongo.client import Document
from adapters.mongo.compliance import MongoAuditTrail
from adapters.mongo.encryption import ERASED, KeyUse, Vault
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.compliance import AuditAction, AuditQuery, NotedEntry
from models.cursor import encode_cursor
from models.data_classes import DataClass
from models.errors import UnavailableError
from models.identity import Subject, System, Tenant
from tests.adapters.mongo.builders import DAY, an_entry, minutes, new


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


# Reading


async def test_entries_are_listed_as_they_were_noted_whatever_they_say_of_the_time(stores: Repositories) -> None:
    tenant, scope = new("ten"), System("a test")
    written = [an_entry(tenant_id=tenant, at=DAY - minutes(number)) for number in range(5)]
    for entry in written:
        await stores.audit.append([entry])
    query, cursor = AuditQuery(limit=2), None
    seen: list[NotedEntry] = []
    while True:
        page = await stores.audit.page(Tenant(tenant), query, cursor)
        seen += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert [one.id for one in seen] == [one.id for one in reversed(written)]
    assert all(datetime.now(UTC) - one.noted_at < timedelta(minutes=5) for one in seen)
    assert (await stores.audit.page(Tenant(new("ten")), query, None)).items == []
    with pytest.raises(ValueError, match="cursor"):
        await stores.audit.page(scope, query, encode_cursor("another list's"))


async def test_entries_are_filtered(stores: Repositories) -> None:
    tenant = new("ten")
    wanted = an_entry(tenant_id=tenant, actor="usr_a", target="apt_a", subject_id="usr_p", action="record.read")
    other = an_entry(tenant_id=tenant, actor="usr_b", target="apt_b", subject_id="usr_q", action="session.begun")
    await stores.audit.append([wanted, other])
    now = int(datetime.now(UTC).timestamp())
    for asked, count in (
        ({"actor": "usr_a"}, 1), ({"target": "apt_a"}, 1), ({"subject_id": "usr_p"}, 1), ({"action": "record.read"}, 1),
        ({"actor": "usr_a", "target": "apt_b"}, 0), ({"noted_from": now - 600}, 2), ({"noted_to": now - 600}, 0),
        ({"noted_from": now + 600}, 0), ({"noted_from": now - 600, "noted_to": now + 600}, 2),
    ):  # fmt: skip
        page = await stores.audit.page(Tenant(tenant), AuditQuery.model_validate(asked), None)
        assert len(page.items) == count, asked
        assert count != 1 or page.items[0].id == wanted.id


async def test_a_patient_sees_only_looks_of_others_at_their_own_record(stores: Repositories) -> None:
    patient = new("usr")
    looks = [an_entry(subject_id=patient, tenant_id=new("ten")) for _ in range(3)]
    noise = [an_entry(subject_id=patient, action="consent.given"), an_entry(subject_id=new("usr"))]
    await stores.audit.append([*looks, *noise])
    page = await stores.audit.looks(Subject(patient), patient, 2, None)
    rest = await stores.audit.looks(Subject(patient), patient, 2, page.next_cursor)
    assert {one.id for one in (*page.items, *rest.items)} == {one.id for one in looks}
    assert rest.next_cursor is None
    assert (await stores.audit.looks(Subject(new("usr")), patient, 2, None)).items == []


async def test_a_data_key_is_noted_before_it_is_made_and_before_it_is_destroyed(stores: Repositories) -> None:
    subject = new("usr")

    async def noted() -> list[tuple[str, str]]:
        found = await stores.audit.page(System("a test"), AuditQuery(subject_id=subject), None)
        return [(one.action, one.target) for one in found.items]

    sealed = await stores.vault.seal(subject, DataClass.CLINICAL, {"a": 1})
    await stores.vault.seal(subject, DataClass.CLINICAL, {"a": 2})
    made = (AuditAction.KEY_MADE, f"key:{subject}:clinical")
    assert await noted() == [made], "once, with its first use"
    await stores.vault.destroy([subject, new("usr")], DataClass.CLINICAL)
    assert await stores.vault.open([sealed]) == [ERASED]
    assert await noted() == [(AuditAction.KEY_DESTROYED, f"key:{subject}:clinical"), made]
    await stores.vault.destroy([subject], DataClass.CLINICAL)
    assert len(await noted()) == 2, "there was none any more"
    assert await stores.vault.open([await stores.vault.seal(subject, DataClass.CLINICAL, {"a": 3})]) == [{"a": 3}]
    assert len(await noted()) == 3


async def test_no_key_is_made_that_could_not_be_noted(addresses: MongoAddresses) -> None:
    subject = new("usr")

    async def refuse(use: KeyUse, subject_ids: Sequence[str], data_class: DataClass) -> None:
        raise UnavailableError(f"{use} {subject_ids} {data_class}")

    vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url, refuse)
    try:
        with pytest.raises(UnavailableError):
            await vault.seal(subject, DataClass.CLINICAL, {"a": 1})
    finally:
        await vault.close()
    with MongoClient[Document](addresses.vault_url) as client:
        assert client[addresses.vault_database]["__keyVault"].find_one({"keyAltNames": f"{subject}:clinical"}) is None
