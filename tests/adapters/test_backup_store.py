"""Backups in a folder and in S3: what is put there is found, read, put back and removed alike."""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import UTC, datetime, timedelta

import obstore

from adapters.backup.files import InstalledFiles
from adapters.backup.store import BackupStore, part_name
from adapters.seal_heads import FOLDER, StoredSealHeads, object_name
from adapters.settings import parse_keys
from adapters.storage import open_store
from adapters.tokens import Statements
from models.backups import BackupKind, Contents, Manifest, StoredFile, backup_id

KEYS = parse_keys(f"one:{base64.b64encode(secrets.token_bytes(32)).decode()}", "key")
NOW = datetime.now(UTC)


def _store(url: str, place: str) -> BackupStore:
    return BackupStore(f"{url}/{place}", KEYS, Statements(KEYS))


async def _made(store: BackupStore, content: bytes) -> Manifest:
    name = backup_id(datetime.now(UTC), secrets.token_hex(3))
    part = await store.put(part_name(BackupKind.DATA, name, "users", 1), content)
    sha256 = hashlib.sha256(content).hexdigest()
    contents = Contents(name="users", documents=1, size=len(content), sha256=sha256, parts=(part,))
    made = Manifest(
        id=name, kind=BackupKind.DATA, database="visitnow", taken_at=NOW, finished_at=NOW, contents=(contents,)
    )
    await store.finish(made)
    return made


async def test_a_backup_is_found_read_and_removed(storage_url: str) -> None:
    store = _store(storage_url, "backups")
    first, second = await _made(store, b"first" * 1_000_000), await _made(store, b"second")
    assert await store.finished(BackupKind.DATA) == [second.id, first.id]
    assert await store.manifest(BackupKind.DATA, first.id) == first
    [part] = first.parts
    assert await store.get(part.name, part.sha256) == b"first" * 1_000_000
    await store.remove(first)
    assert await store.finished(BackupKind.DATA) == [second.id]
    assert await store.remove_unfinished(BackupKind.DATA, NOW + timedelta(days=9)) == 0
    assert await store.manifest(BackupKind.DATA, second.id) == second


async def test_files_are_copied_once_and_put_back_where_they_are_missing(storage_url: str) -> None:
    backups, lost = _store(storage_url, "copies"), f"{storage_url}/lost"
    for number in range(3):
        await obstore.put_async(open_store(lost), f"documents/doc_{number}/0", f"content {number}".encode())
    await obstore.put_async(open_store(lost), "exports/exp_1.zip", b"made anew at any time")
    before: dict[str, StoredFile] = {}
    files = await InstalledFiles(lost).copy(backups, before, _silent)
    assert sorted(one.path for one in files) == [f"documents/doc_{number}/0" for number in range(3)]
    assert await InstalledFiles(lost).copy(backups, {one.path: one for one in files}, _silent) == files
    fresh = f"{storage_url}/fresh"
    await obstore.put_async(open_store(fresh), "documents/doc_0/0", b"newer")
    put_back = [await InstalledFiles(fresh).restore(backups, one) for one in sorted(files, key=lambda one: one.path)]
    assert put_back == [False, True, True]
    contents = [bytes(obstore.get(open_store(fresh), f"documents/doc_{number}/0").bytes()) for number in range(3)]
    assert contents == [b"newer", b"content 1", b"content 2"]


async def test_copies_of_seals_are_set_aside(storage_url: str) -> None:
    place = f"{storage_url}/seals"
    for number in (1, 2, 3):
        await obstore.put_async(open_store(place), object_name("tnt_a", number), b"a seal")
    await obstore.put_async(open_store(place), object_name("tnt_ab", 9), b"another tenant's")
    heads = StoredSealHeads(place)
    assert await heads.set_aside("tnt_a", 1, "aside/one") == [2, 3]
    assert await heads.newest() == {"tnt_a": 1, "tnt_ab": 9}
    moved = [one["path"] for one in await obstore.list(open_store(place), prefix="aside/").collect_async()]
    assert sorted(moved) == [object_name("tnt_a", number).replace(FOLDER, "aside/one") for number in (2, 3)]


def _silent(count: int) -> None:
    """Nobody watches."""
    del count
