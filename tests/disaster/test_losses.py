"""What was lost before a backup or a restore is not taken for what an installation is."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson.binary import Binary
from pydantic import SecretStr

from adapters.erasure_log import object_name
from adapters.mongo.encryption import VAULT_COLLECTION
from cli.backing_up import back_up
from cli.backup_places import places
from cli.output import CommandError
from cli.restoring import chosen, restore
from models.backups import BackupError, BackupKind, Manifest
from models.data_classes import DataClass
from tests.disaster.support import Place, Town, a_key, silent, typed
from tests.stack import Json


async def _keys_for_strangers(place: Place, count: int) -> None:
    vault = place.vault()
    for number in range(count):
        await vault.seal(f"str_{number}", DataClass.IDENTITY, {"name": "nobody"})
    await vault.close()


def _beside(town: Town, place: Place) -> Place:
    """An empty installation with that one's vault."""
    settings = place.settings
    return town.place(vault_database=settings.vault_database, vault_mongodb_url=settings.vault_mongodb_url)


def _lost(place: Place) -> list[Json]:
    """The vault's documents, when they are gone."""
    keys = place.owner[place.settings.vault_database][VAULT_COLLECTION]
    documents = list(keys.find())
    keys.delete_many({})
    return documents


async def test_a_vault_that_was_lost_and_begun_anew_is_no_backup(lived_in: Place) -> None:
    await _keys_for_strangers(lived_in, 8)
    await lived_in.back_up()
    _lost(lived_in)
    await _keys_for_strangers(lived_in, 1)
    with pytest.raises(BackupError, match=r"there are 1 keys .*, and there were 10 in backup .*--accept-loss"):
        await lived_in.back_up()
    assert len(await places(lived_in.settings).vault.finished(BackupKind.VAULT)) == 1
    assert (await back_up(lived_in.settings, silent, accept_loss=True)).vault.documents == 1
    assert (await lived_in.back_up()).vault.documents == 1


async def test_an_older_copy_of_the_vault_can_be_chosen(lived_in: Place, town: Town) -> None:
    older = (await lived_in.back_up()).vault.id
    _lost(lived_in)
    await _keys_for_strangers(lived_in, 1)
    await lived_in.back_up()
    fresh = town.place()
    manifest = await chosen(fresh.settings, None)
    restored = await restore(fresh.settings, fresh.target, manifest, silent, vault_backup=older)
    assert restored.keys == 2
    beside = _beside(town, fresh)
    with pytest.raises(CommandError, match="drop it, or name no backup of it"):
        await restore(beside.settings, beside.target, manifest, silent, vault_backup=older)


async def test_a_vault_in_which_there_is_only_something_new_is_not_left_alone(lived_in: Place, town: Town) -> None:
    """A fresh installation makes keys as soon as anybody signs up."""
    await lived_in.back_up()
    _lost(lived_in)
    await _keys_for_strangers(lived_in, 3)
    fresh = _beside(town, lived_in)
    with pytest.raises(CommandError, match=r"of the 2 keys of its backup .* it lacks 2: it was lost and begun anew"):
        await fresh.restore()
    assert fresh.owner[fresh.data].list_collection_names() == [], "nothing was put back"


async def test_keys_that_a_vault_lacks_are_named_unless_they_are_buried_or_a_stranger_s(
    lived_in: Place, town: Town
) -> None:
    await _keys_for_strangers(lived_in, 3)
    await lived_in.back_up()
    vault = lived_in.vault()
    await vault.bury("usr_1", DataClass.IDENTITY)
    await vault.destroy(["str_1"], DataClass.IDENTITY)
    await vault.close()
    assert (await _beside(town, lived_in).restore()).differences == ()
    lived_in.owner[lived_in.settings.vault_database][VAULT_COLLECTION].delete_one({"keyAltNames": "usr_2:identity"})
    [lost] = (await _beside(town, lived_in).restore()).differences
    assert "lacks 1 keys of 1 accounts" in lost
    assert "(usr_2:identity)" in lost


async def test_a_key_that_was_made_anew_is_another(lived_in: Place, town: Town) -> None:
    await _keys_for_strangers(lived_in, 3)
    await lived_in.back_up()
    keys = lived_in.owner[lived_in.settings.vault_database][VAULT_COLLECTION]
    found = keys.find_one_and_delete({"keyAltNames": "usr_2:identity"})
    assert found is not None
    keys.insert_one({**found, "_id": Binary(os.urandom(16), 4)})
    [lost] = (await _beside(town, lived_in).restore()).differences
    assert "(usr_2:identity)" in lost


async def test_a_storage_that_was_lost_is_no_backup(lived_in: Place) -> None:
    before = await lived_in.back_up()
    unset = lived_in.settings.model_copy(update={"storage_url": None})
    with pytest.raises(BackupError, match="there are 0 files in object storage, and there were 6 in backup"):
        await back_up(unset, silent)
    shutil.rmtree(lived_in.folder)
    with pytest.raises(BackupError, match="there are 0 files in object storage, and there were 6 in backup"):
        await lived_in.back_up()
    store = places(lived_in.settings)
    assert await store.vault.finished(BackupKind.VAULT) == [before.vault.id]
    assert await store.data.finished(BackupKind.DATA) == [before.data.id]


async def _of_before(place: Place, days: int) -> Manifest:
    """A backup whose time is over, all of it."""
    taken, store = await place.back_up(), places(place.settings)
    older = {"taken_at": taken.data.taken_at - timedelta(days=days)}
    await store.data.finish(taken.data.model_copy(update=older))
    await store.vault.finish(taken.vault.model_copy(update=older))
    return taken.data


def _rotated(place: Place) -> Place:
    """Whoever signed is forgotten."""
    return place._replace(settings=place.settings.model_copy(update={"signing_keys": SecretStr(a_key("2031-02"))}))


def _untouched(folder: Path, days: int) -> None:
    then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for one in folder.rglob("*"):
        os.utime(one, (then, then))


async def test_backups_go_when_their_time_is_over_whoever_signed_them(lived_in: Place, town: Town) -> None:
    """Keys that were destroyed live on in a copy of the vault: what cannot be read goes by its age."""
    first = await lived_in.back_up()
    rotated = _rotated(lived_in)
    second = await rotated.back_up()
    assert second.removed == ()
    key = f"the key {lived_in.settings.token_keys[0].id!r}"
    assert [(first.data.id in one, key in one) for one in second.unreadable] == [(True, True)] * 2
    told = await asyncio.to_thread(typed, rotated, "backup", "list", "--within", "1")
    assert (told.exit_code, "which VISITNOW_SIGNING_KEYS no longer names" in told.output) == (0, True), told.output
    _untouched(town.folder / "vault-backups" / "vault" / first.vault.id, 8)
    third = await rotated.back_up()
    assert third.removed == (f"vault/{first.vault.id}",)
    assert len(third.unreadable) == 1, "the data's time is not over yet"
    made = await asyncio.to_thread(typed, rotated, "backup")
    assert (made.exit_code, "which VISITNOW_SIGNING_KEYS no longer names" in made.output) == (0, True), made.output


async def test_a_changed_manifest_keeps_no_other_backup(lived_in: Place, town: Town) -> None:
    changed = await lived_in.back_up()
    path = town.folder / "backups" / "data" / changed.data.id / "manifest.json"
    path.write_bytes(path.read_bytes() + b" ")
    over = await _of_before(lived_in, 40)
    await lived_in.put_file("documents/doc_9/0", b"new")
    taken = await lived_in.back_up()
    assert set(taken.removed) == {f"data/{over.id}", f"vault/{over.id}"}
    assert [changed.data.id in one and "not what we signed" in one for one in taken.unreadable] == [True]


async def test_copies_of_files_go_with_the_last_backup_that_names_them(lived_in: Place, town: Town) -> None:
    assert lived_in.settings.storage_url is not None
    await lived_in.put_file("documents/gone/0", b"of the first backup only")
    await lived_in.put_file("documents/stays/0", b"of the second backup too")
    over = await _of_before(lived_in, 40)
    (lived_in.folder / "documents" / "gone" / "0").unlink()
    await lived_in.back_up()
    copies = town.folder / "backups" / "files"
    assert len([one for one in copies.rglob("*") if one.is_file()]) == 8, "what was just put may be named soon"
    _untouched(copies, 2)
    again = await _of_before(lived_in, 41)
    (lived_in.folder / "documents" / "stays" / "0").unlink()
    taken = await lived_in.back_up()
    assert {over.id, again.id}.isdisjoint(await places(lived_in.settings).data.finished(BackupKind.DATA))
    assert taken.data.files is not None
    left = [one.name for one in copies.rglob("*") if one.is_file()]
    assert len(left) == taken.data.files.documents + 1, "one that only the second backup names"


async def test_where_no_storage_is_set_no_files_are_left_behind(lived_in: Place, town: Town) -> None:
    await lived_in.back_up()
    fresh = town.place(storage_url=None)
    with pytest.raises(CommandError, match=r"VISITNOW_STORAGE_URL is not set, and .* has 6 files"):
        await fresh.restore()
    assert fresh.owner[fresh.data].list_collection_names() == []


async def test_what_is_lost_in_storage_is_named(lived_in: Place, town: Town) -> None:
    """Who was erased is known from the storage only: an entry that is missing is not the only one."""
    database = lived_in.owner[lived_in.data]
    database["documents"].insert_many(
        [{"_id": f"doc_{number}", "tenant_id": "tnt_a", "state": "stored", "digest": str(number)} for number in (1, 7)]
    )
    database["deletions"].insert_many(
        [{"_id": f"del_{number}", "about": f"usr_{number}", "state": "erased", "open": False} for number in (1, 2)]
    )
    await lived_in.put_file(object_name("del_1"), b"of long ago")
    _untouched(lived_in.folder, 3)
    await lived_in.back_up()
    fresh = town.place(storage_url=lived_in.settings.storage_url)
    owner = {"VISITNOW_MONGODB_OWNER_URL": fresh.target.owner_url}
    told = await asyncio.to_thread(typed, fresh, "restore", **owner)
    assert told.exit_code == 1, told.output
    assert "1 documents have no file in object storage (doc_7)" in told.output
    assert "1 deletions are not in their log, where others may be missing too (del_2)" in told.output
    assert "the object storage was lost too" not in told.output
