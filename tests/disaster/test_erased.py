"""Whoever was erased after a backup is not brought back by it, neither in words nor in digests of their phone."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from pymongo import MongoClient

from adapters.connections import mongo_addresses
from adapters.erasure_log import StoredErasureLog, object_name
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.sightings import Scanner
from adapters.tokens import Statements
from cli.audit import verified
from cli.backing_up import back_up
from cli.reapplying import logged, reapply
from cli.restoring import Target, restore
from models.backups import BackupError, Manifest
from models.consents import Answer, Purpose
from models.data_classes import RetentionClass
from models.deletions import LogEntry, Retained
from models.dependants import Dependant
from models.disguises import Canaries
from models.identity import System
from models.ids import random_id
from sandbox.servers.stack import Addresses
from tests.disaster.support import Place, Town, a_key, nobody, silent
from tests.stack import Json, Stack, settings_over
from tests.trust.life import Life, at_rest, live, office_of

TESTS = System("a test looks")


def _kept_elsewhere(settings: Settings, folder: Path) -> Settings:
    """An installation's settings with places for backups."""
    urls = {"backup_url": (folder / "backups").as_uri(), "backup_vault_url": (folder / "vault").as_uri()}
    return settings.model_copy(update={**urls, "backup_keys": SecretStr(a_key())})


async def _logged(settings: Settings, life: Life) -> LogEntry:
    """The entry of a deletion by which everything went."""
    now = datetime.now(UTC)
    entry = LogEntry(
        deletion_id=random_id("del"),
        subject_id=life.subject_id,
        requested_at=now - timedelta(days=8),
        confirmed_at=now - timedelta(days=8),
        restricted_at=now,
        erased=dict.fromkeys(RetentionClass, now),
        at=now,
    )
    await StoredErasureLog(settings.storage_url, Statements(settings.token_keys)).keep(entry)
    return entry


async def _restored(servers: Addresses, settings: Settings, manifest: Manifest) -> None:
    owner = servers.owner_mongodb_url(settings.database)
    restored = await restore(settings, Target(owner, owner), manifest, silent)
    assert (restored.differences, restored.broken) == ((), ())
    assert restored.files >= 1


@pytest.mark.timeout(240)
async def test_a_restore_brings_nobody_back(
    shared_stack: Stack, servers: Addresses, database_name: str, tmp_path: Path
) -> None:
    async with office_of(shared_stack) as office:
        life = await live(shared_stack, office.stores)
        await at_rest(shared_stack, office.temporal, life)
    lost = _kept_elsewhere(shared_stack.settings, tmp_path)
    manifest = (await back_up(lost, silent)).data
    # The storage was not lost but for one file, which the restore puts back; there the deletion is written down.
    shutil.copytree(shared_stack.folder / "documents", tmp_path / "storage")
    shutil.rmtree(next((tmp_path / "storage" / "documents").iterdir()))
    fresh = settings_over(
        servers,
        f"{database_name}_f",
        storage_url=(tmp_path / "storage").as_uri(),
        **{name: getattr(lost, name) for name in ("backup_url", "backup_vault_url", "backup_keys")},
    )
    entry = await _logged(fresh, life)
    await _restored(servers, fresh, manifest)
    with MongoClient[Json](servers.admin_mongodb_url(), tz_aware=True) as owner:
        scanner = Scanner(fresh, servers.reader_mongodb_url(fresh.database), redis=False)
        before = await scanner.scan(life.canaries)
        assert {one.place for one in before} >= {"opened users", "opened appointments", "opened files"}
        again = await reapply(fresh, await logged(fresh, manifest.taken_at))
        assert (again.deletions, again.erased > 10) == (1, True)
        assert await scanner.scan(life.canaries) == []
        deletion = owner[fresh.database]["deletions"].find_one({"_id": entry.deletion_id})
    assert deletion is not None
    assert (deletion["subject_id"], deletion["state"]) == (life.subject_id, "erased")
    assert (await verified(fresh, None)).findings == ()
    nothing = await reapply(fresh, await logged(fresh, manifest.taken_at))
    assert nothing.deletions == 1
    assert nothing.erased <= 3, "keys are closed each time, nothing else is left"
    assert await logged(fresh, datetime.now(UTC) + timedelta(days=2)) == []


async def _household(place: Place) -> list[Dependant]:
    """Two children of one account, and an answer about the first."""
    stores = Repositories.connect(mongo_addresses(place.settings), on_time_changed=nobody)
    born = {"date_of_birth": date(2021, 2, 3), "relation": "son"}
    children = [
        Dependant.model_validate({"id": random_id("dep"), "subject_id": "usr_1", "name": name, **born})
        for name in ("Kavi Zqkavi", "Mani Zqmani")
    ]
    answer = Answer(
        subject_id="usr_1",
        about=children[0].id,
        purpose=Purpose.CARE,
        granted=True,
        notice_version=1,
        language="en",
        notice_sha256="0" * 64,
    )
    try:
        for one in children:
            await stores.dependants.put(TESTS, one)
        await stores.consents.record(TESTS, answer)
    finally:
        await stores.close()
    return children


async def _logged_since(place: Place, **said: object) -> LogEntry:
    """The entry of a deletion of the first account, made after the backup."""
    now = datetime.now(UTC)
    times = dict.fromkeys(("requested_at", "confirmed_at", "restricted_at", "at"), now)
    entry = LogEntry.model_validate({"deletion_id": random_id("del"), "subject_id": "usr_1", **times, **said})
    await StoredErasureLog(place.settings.storage_url, Statements(place.settings.token_keys)).keep(entry)
    return entry


async def test_a_child_that_was_forgotten_alone_is_not_brought_back(town: Town, lived_in: Place) -> None:
    child, sibling = await _household(lived_in)
    manifest = (await lived_in.back_up()).data
    fresh = town.place(storage_url=lived_in.settings.storage_url)
    entry = await _logged_since(fresh, dependant_id=child.id, erased={RetentionClass.NONE: datetime.now(UTC)})
    await fresh.restore()
    canaries = Canaries(fresh.settings.index_key)
    canaries.word(child.name)
    scanner = Scanner(fresh.settings, fresh.servers.reader_mongodb_url(fresh.data), redis=False)
    assert {one.place for one in await scanner.scan(canaries)} == {"opened dependants"}
    again = await reapply(fresh.settings, await logged(fresh.settings, manifest.taken_at))
    assert (again.deletions, again.erased) == (1, 2), "who they were, and one answer about them"
    assert await scanner.scan(canaries) == []
    assert fresh.all("consents") == []
    assert [one["_id"] for one in fresh.all("dependants")] == [sibling.id]
    [row] = fresh.all("deletions")
    assert (row["_id"], row["subject_id"], row["about"]) == (entry.deletion_id, "usr_1", child.id)
    assert (row["state"], row["open"], row["next_due"]) == ("erased", False, None)
    assert all("removed_at" not in one for one in fresh.all("users")), "who answers for them stays"
    assert (await reapply(fresh.settings, [entry])).erased == 0


async def test_an_account_whose_identity_stays_is_closed_again(town: Town, lived_in: Place) -> None:
    """What a law keeps comes back locked away: nobody signs in with it, and its number is free."""
    users = lived_in.owner[lived_in.data]["users"]
    users.update_many({}, [{"$set": {"phone_index": {"$concat": ["digest of ", "$_id"]}, "removed_at": None}}])
    manifest = (await lived_in.back_up()).data
    fresh = town.place(storage_url=lived_in.settings.storage_url)
    until = datetime.now(UTC) + timedelta(days=365)
    stays = Retained(retained_under=RetentionClass.IDENTITY, rule="a rule", until=until)
    await _logged_since(fresh, erased={RetentionClass.NONE: datetime.now(UTC)}, retained=[stays])
    await fresh.restore()
    await reapply(fresh.settings, await logged(fresh.settings, manifest.taken_at))
    assert [one["phone_index"] for one in fresh.all("users")] == [None, "digest of usr_2"]
    assert [one["removed_at"] is None for one in fresh.all("users")] == [False, True]
    [row] = fresh.all("deletions")
    assert (row["state"], row["next_due"] is None) == ("erased", False)


async def test_where_the_log_was_changed_nothing_is_put_back(town: Town) -> None:
    place = town.place()
    await place.put_file(object_name("del_1"), b"not what we wrote")
    with pytest.raises(BackupError, match="cannot be told"):
        await logged(place.settings, datetime.now(UTC))


async def test_an_entry_whose_key_was_rotated_out_is_in_the_way_only_where_it_may_count(town: Town) -> None:
    """Nothing was written before its own time; and the key that is missing is named, so that it can be put back."""
    place, now = town.place(), datetime.now(UTC)
    entry = await _logged_since(place)
    name, rotated = object_name(entry.deletion_id), {"signing_keys": SecretStr(a_key("2031-02"))}
    key = place.settings.token_keys[0].id
    settings = place.settings.model_copy(update=rotated)
    with pytest.raises(BackupError, match=f"{name} was signed with the key '{key}', .* name it there again"):
        await logged(settings, now)
    long_ago = (now - timedelta(days=30)).timestamp()
    os.utime(place.folder / name, (long_ago, long_ago))
    newer = await _logged_since(place._replace(settings=settings))
    assert [one.deletion_id for one in await logged(settings, now - timedelta(days=7))] == [newer.deletion_id]
    with pytest.raises(BackupError, match="was signed with the key"):
        await logged(settings, now - timedelta(days=60))
