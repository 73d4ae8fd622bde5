"""An installation that was lost is what its backup was, byte for byte, and says what is not."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from adapters.connections import mongo_addresses
from adapters.mongo.backups import MongoSnapshot
from adapters.mongo.client import open_client
from adapters.mongo.encryption import ERASED, VAULT_COLLECTION
from adapters.mongo.indexes import ensure
from adapters.mongo.invariants import MongoInvariants
from cli.audit import verified
from cli.backup_places import places
from cli.output import CommandError
from cli.restoring import chosen, restore
from models.backups import BackupError, BackupKind
from models.data_classes import DataClass
from models.seals import MARKS, Fault
from sandbox.servers.stack import LocalServers
from tests.disaster.support import Place, Town
from tests.stack import Json, eventually

WRITTEN_AT_LEAST: Final = 40


def _bytes(place: Place, collection: str) -> list[bytes]:
    with MongoClient[RawBSONDocument](place.servers.admin_mongodb_url(), document_class=RawBSONDocument) as client:
        return [bytes(one.raw) for one in client[place.data][collection].find(sort=[("_id", 1)])]


async def _name_of(place: Place, person: str) -> object:
    [found] = [one for one in place.all("users") if one["_id"] == person]
    vault = place.vault()
    try:
        [opened] = await vault.open([found["sealed"]["identity"]])
    finally:
        await vault.close()
    return opened


async def _migrated(place: Place) -> None:
    """As `visitnow migrate` leaves an installation: collections without a document."""
    owner = open_client(place.target.owner_url, "tests")
    await ensure(owner[place.data])
    owner.close()


async def test_everything_comes_back_as_it_was(town: Town, lived_in: Place) -> None:
    taken = await lived_in.back_up()
    assert taken.data.taken_at <= datetime.now(UTC)
    assert (taken.vault.documents, taken.removed) == (2, ())
    fresh = town.place()
    restored = await fresh.restore()
    assert (restored.differences, restored.broken, restored.set_aside) == ((), (), ())
    assert (restored.keys, restored.files) == (2, len(await lived_in.files()) + 3)  # and copies of two seals and a mark
    for one in ("users", "audit", "audit_seals"):
        assert _bytes(fresh, one) == _bytes(lived_in, one) != []
    assert await fresh.files() == await lived_in.files()
    assert await _name_of(fresh, "usr_1") == {"name": "Nirmala 1"}
    report = await verified(fresh.settings, None)
    assert (report.findings, report.entries, report.seals) == ((), 35, 2)


async def test_it_is_one_instant_while_the_database_goes_on(lived_in: Place, town: Town) -> None:
    """Whoever writes `users` and then `sessions` has written at most one more of the former at any instant."""
    database, stop, written = lived_in.owner[lived_in.data], threading.Event(), threading.Event()
    filler = "x" * 20_000

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            for name in ("users", "sessions"):
                subject = f"usr_w{number:06}"
                # The later a collection comes in the alphabet, the later it is read.
                database[name].insert_one({"_id": subject, "tenant_id": "platform", "subject_id": subject, "f": filler})
            if number == WRITTEN_AT_LEAST:
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(20)
        taken = await lived_in.back_up()
    finally:
        stop.set()
        writer.join()
    counts = {one.name: one.documents for one in taken.data.contents}
    assert counts["users"] - 2 - counts["sessions"] in {0, 1}
    assert counts["sessions"] >= WRITTEN_AT_LEAST
    assert database["sessions"].count_documents({}) > counts["sessions"], "nothing was written meanwhile"
    assert (await town.place().restore()).differences == ()


async def test_an_installation_that_was_only_migrated_is_filled(town: Town, lived_in: Place) -> None:
    taken = await lived_in.back_up()
    fresh = town.place()
    await _migrated(fresh)
    assert (await fresh.restore()).differences == ()
    names = {one.name for one in taken.data.contents}
    assert names == set(fresh.owner[fresh.data].list_collection_names())


async def test_everybody_signs_in_anew(lived_in: Place, town: Town) -> None:
    lived_in.owner[lived_in.data]["sessions"].insert_one({"_id": "ses_1", "tenant_id": "platform"})
    await lived_in.back_up()
    fresh = town.place()
    assert (await fresh.restore()).differences == ()
    assert fresh.all("sessions") == []


async def test_an_installation_in_which_there_is_anything_is_left_alone(lived_in: Place) -> None:
    await lived_in.back_up()
    before = _bytes(lived_in, "users")
    with pytest.raises(CommandError, match="is not empty"):
        await lived_in.restore()
    assert _bytes(lived_in, "users") == before


async def test_a_vault_that_was_not_lost_is_left_alone(lived_in: Place, town: Town) -> None:
    await lived_in.back_up()
    fresh = town.place(
        vault_database=lived_in.settings.vault_database, vault_mongodb_url=lived_in.settings.vault_mongodb_url
    )
    assert (await fresh.restore()).keys is None
    assert await _name_of(fresh, "usr_2") == {"name": "Nirmala 2"}


async def test_keys_come_from_the_newest_backup_of_the_vault_whatever_the_data_s_age(
    lived_in: Place, town: Town
) -> None:
    older = (await lived_in.back_up()).data.id
    vault = lived_in.vault()
    await vault.destroy(["usr_1"], DataClass.IDENTITY)
    await vault.close()
    await lived_in.back_up()
    fresh = town.place()
    restored = await fresh.restore(older)
    assert restored.manifest.id == older
    assert await _name_of(fresh, "usr_1") is ERASED


@pytest.mark.parametrize("what", ["changed", "gone"])
async def test_a_damaged_backup_is_not_taken_for_a_whole_one(lived_in: Place, town: Town, what: str) -> None:
    manifest = (await lived_in.back_up()).data
    [audit] = [one for one in manifest.contents if one.name == "audit"]
    part = town.folder / "backups" / audit.parts[0].name
    if what == "gone":
        part.unlink()
    else:
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(bytes(content))
    with pytest.raises(BackupError, match=audit.parts[0].name):
        await town.place().restore()


async def test_what_was_changed_after_the_restore_began_is_told(lived_in: Place, town: Town) -> None:
    await lived_in.back_up()
    fresh = town.place()

    def meddle(words: str) -> None:
        if words == "comparing with the backup":
            fresh.owner[fresh.data]["users"].update_one({"_id": "usr_1"}, {"$set": {"tenant_id": "tnt_x"}})

    restored = await restore(fresh.settings, fresh.target, await chosen(fresh.settings, None), meddle)
    assert restored.differences == ("users: what lies in the database is not what the backup holds",)


async def test_seals_of_what_was_lost_are_set_aside_and_the_chain_goes_on(lived_in: Place, town: Town) -> None:
    await lived_in.back_up()
    await lived_in.audit("tnt_a", 3)
    lost = await lived_in.mark()
    # The database is lost; the object storage is not.
    fresh = town.place(storage_url=lived_in.settings.storage_url)
    restored = await fresh.restore()
    assert (sorted(restored.set_aside), restored.files) == ([f"{MARKS}:{lost}", "tnt_a:2"], 0)
    assert (await verified(fresh.settings, None)).findings == ()
    await fresh.audit("tnt_a", 4)
    report = await verified(fresh.settings, None)
    assert (report.findings, report.entries) == ((), 39)


async def test_what_only_calls_itself_a_seal_does_not_hold_up_a_restore(lived_in: Place, town: Town) -> None:
    """The account that adds to the audit can add that: the keys must come back all the same, and it is named."""
    lived_in.owner[lived_in.data]["audit_seals"].insert_one({"_id": "forged", "tenant_id": "tnt_a", "number": 99})
    await lived_in.back_up()
    fresh = town.place(storage_url=lived_in.settings.storage_url)
    restored = await fresh.restore()
    assert (restored.keys, restored.differences, restored.set_aside) == (2, (), ())
    with pytest.raises(CommandError, match="forged in audit_seals is no seal"):
        await verified(fresh.settings, None)


async def test_an_entry_that_was_changed_before_the_backup_is_still_found(lived_in: Place, town: Town) -> None:
    entry = lived_in.all("audit")[0]["_id"]
    lived_in.owner[lived_in.data]["audit"].update_one({"_id": entry}, {"$set": {"actor": "usr_forger"}})
    await lived_in.back_up()
    fresh = town.place()
    assert (await fresh.restore()).differences == ()
    assert {one.what: one.fault for one in (await verified(fresh.settings, None)).findings} == {entry: Fault.CHANGED}


async def test_files_are_read_once_and_copies_that_no_backup_names_go(lived_in: Place, town: Town) -> None:
    first = (await lived_in.back_up()).data
    copies = town.folder / "backups" / "files"
    times = {one: one.stat().st_mtime_ns for one in copies.rglob("*") if one.is_file()}
    await lived_in.put_file("documents/doc_3/0", b"another")
    second = (await lived_in.back_up()).data
    assert first.files is not None
    assert second.files is not None
    assert second.files.documents == first.files.documents + 1
    after = {one: one.stat().st_mtime_ns for one in copies.rglob("*") if one.is_file()}
    assert {one: after[one] for one in times} == times
    assert len(after) == len(times) + 1
    store = places(lived_in.settings).data
    assert await store.copies(datetime.now(UTC) - timedelta(hours=1)) == set()
    assert await store.copies(datetime.now(UTC) + timedelta(days=2)) == {one.name for one in after}


async def test_what_has_lapsed_goes_with_the_next_backup_and_the_vault_sooner(lived_in: Place) -> None:
    first = await lived_in.back_up()
    store = places(lived_in.settings)
    for kind, manifest in ((store.data, first.data), (store.vault, first.vault)):
        await kind.finish(manifest.model_copy(update={"taken_at": manifest.taken_at - timedelta(days=10)}))
    second = await lived_in.back_up()
    assert second.removed == (f"vault/{first.vault.id}",)
    assert await store.vault.finished(BackupKind.VAULT) == [second.vault.id]
    assert await store.data.finished(BackupKind.DATA) == [second.data.id, first.data.id]


async def test_no_personal_word_and_no_key_lies_open_in_a_backup(lived_in: Place, town: Town) -> None:
    lived_in.owner[lived_in.data]["users"].update_one({"_id": "usr_1"}, {"$set": {"note": "CanaryOfTheCoalMine"}})
    await lived_in.back_up()
    stored = [one.read_bytes() for one in town.folder.glob("*backups/**/*") if one.is_file()]
    assert len(stored) > 5
    keys = [one["keyMaterial"] for one in lived_in.owner[lived_in.settings.vault_database][VAULT_COLLECTION].find()]
    for secret in (b"CanaryOfTheCoalMine", b"Nirmala", *keys):
        assert not any(secret in one for one in stored)


async def test_times_money_and_books_that_do_not_hold_are_named(lived_in: Place) -> None:
    database, now = lived_in.owner[lived_in.data], datetime.now(UTC)
    later = now + timedelta(days=1)
    database.command("collMod", "slots", validator={})
    database.command("collMod", "ledger", validator={})
    database["slots"].drop_indexes()
    claim = {"practitioner_id": "prc_1", "cells": [7, 8], "kind": "booked", "expires_at": None, "tenant_id": "tnt_a"}
    database["slots"].insert_many([{"_id": "apt_1", **claim}, {"_id": "apt_2", **claim, "cells": [8, 9]}])
    visit = {"tenant_id": "tnt_a", "practitioner_id": "prc_1", "closes_at": later, "captured": 0, "refund_reserved": 0}
    database["appointments"].insert_many(
        [
            {"_id": "apt_1", "state": "confirmed", **visit, "captured": 500},
            {"_id": "apt_3", "state": "confirmed", **visit},
        ]
    )
    database["payments"].insert_one({"_id": "pay_1", "appointment_id": "apt_1", "amount": 600})
    lines = [{"account": "a", "amount": 600}, {"account": "b", "amount": -599}]
    database["ledger"].insert_one({"_id": "pay_2:capture", "kind": "capture", "lines": lines})
    client = open_client(mongo_addresses(lived_in.settings).url, "tests")
    broken = await MongoInvariants(client[lived_in.data]).broken(now)
    client.close()
    assert broken == [
        "slots: prc_1 at cell 8 is claimed twice",
        "appointments: apt_3 has lost its time",
        "payments: apt_1 says other payments than there are",
        "appointments: captured is 500 paise in all, payments are 600",
        "ledger: pay_2:capture does not balance",
        "payments: pay_1 was never posted",
        "ledger: pay_2:capture was posted for nothing",
    ]


@pytest.mark.fault_matrix
async def test_a_copy_that_takes_longer_than_mongodb_remembers_says_so(own_servers: LocalServers) -> None:
    url = own_servers.addresses.owner_mongodb_url("short")
    with MongoClient[Json](own_servers.addresses.admin_mongodb_url()) as admin:
        admin.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=0)
        admin["short"]["users"].insert_many([{"_id": str(number)} for number in range(10)])
        async with MongoSnapshot.taken(url, "short") as snapshot:

            async def refused() -> str:
                # The window's end moves on with what is written.
                admin["short"]["users"].insert_one({})
                try:
                    return str([batch.documents async for batch in snapshot.documents("users")])
                except BackupError as error:
                    return str(error)

            await eventually(refused, lambda said: "minSnapshotHistoryWindowInSeconds" in said)


async def test_an_installation_of_the_first_day_has_a_backup(town: Town) -> None:
    """Nobody has signed up yet, so there is no vault; what is restored from it is another first day."""
    place = town.place()
    await _migrated(place)
    taken = await place.back_up()
    assert (taken.data.documents, taken.vault.documents) == (0, 0)
    fresh = town.place()
    restored = await fresh.restore()
    assert (restored.differences, restored.broken, restored.keys, restored.files) == ((), (), 0, 0)
    assert set(fresh.owner[fresh.data].list_collection_names()) == {one.name for one in taken.data.contents}
    await fresh.audit("tnt_a", 2)
    assert (await fresh.back_up()).data.documents == 4, "two entries, a seal and a mark, and still nothing sealed"


async def test_a_vault_that_was_lost_is_no_backup(lived_in: Place) -> None:
    """Keys that are gone while there is something that only they open: the older backup must stay the newest."""
    await lived_in.back_up()
    lived_in.owner.drop_database(lived_in.settings.vault_database)
    with pytest.raises(BackupError, match="is empty, but users has what only its keys would open"):
        await lived_in.back_up()
    assert len(await places(lived_in.settings).vault.finished(BackupKind.VAULT)) == 1


async def test_a_database_that_was_lost_is_no_backup(lived_in: Place) -> None:
    await lived_in.back_up()
    lived_in.owner.drop_database(lived_in.data)
    with pytest.raises(BackupError, match="visitnow migrate"):
        await lived_in.back_up()
    await _migrated(lived_in)
    with pytest.raises(BackupError, match=r"is empty, but had [0-9]+ documents in backup"):
        await lived_in.back_up()
