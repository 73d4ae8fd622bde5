"""Making a backup: the data at one instant, then the keys that open it, then the files; what has lapsed goes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from adapters.backup.files import InstalledFiles
from adapters.backup.store import BackupStore, part_name
from adapters.connections import mongo_addresses
from adapters.mongo.backups import RESTORING, MongoSnapshot
from adapters.settings import Settings
from adapters.tokens import Statements
from cli.output import CommandError
from models.backups import (
    PART_BYTES,
    BackupError,
    BackupKind,
    Contents,
    Manifest,
    Measure,
    Part,
    StoredFile,
    backup_id,
    lapsed,
)

FILES: Final = "files"
Told = Callable[[str, int], None]
"""Hears of each collection and of how many documents of it have been copied."""


class Places(NamedTuple):
    """Where backups of the data and of the key vault lie."""

    data: BackupStore
    vault: BackupStore


class Taken(NamedTuple):
    """A backup, and what went because its time was over."""

    data: Manifest
    vault: Manifest
    removed: tuple[str, ...]


def places(settings: Settings) -> Places:
    """The stores of the settings. Raises `CommandError` where there is none."""
    if settings.backup_url is None:
        raise CommandError("VISITNOW_BACKUP_URL says where backups go; it is not set")
    statements = Statements(settings.token_keys)
    return Places(
        BackupStore(settings.backup_url, settings.sealing_keys, statements),
        BackupStore(settings.backup_vault_url or settings.backup_url, settings.sealing_keys, statements),
    )


async def back_up(settings: Settings, told: Told) -> Taken:
    """Make one. Raises `BackupError` or `UnavailableError`; what a failed run has left is removed by a later one."""
    stores, addresses = places(settings), mongo_addresses(settings)
    reader = settings.backup_mongodb_url.get_secret_value() if settings.backup_mongodb_url is not None else None
    name = backup_id(datetime.now(UTC), secrets.token_hex(3))
    async with MongoSnapshot.taken(reader or addresses.url, addresses.database) as snapshot:
        there = await _whole(snapshot, addresses.database)
        contents = [await _copied(snapshot, stores.data, name, one, told) for one in there]
        await _refuse_what_was_lost(stores.data, addresses.database, contents)
        # After the data: a key that opens any of it was there before.
        vault = await _copied_vault(stores.vault, reader or addresses.vault_url, addresses.vault_database, name, told)
        if not vault.documents and (where := await snapshot.sealed()) is not None:
            raise BackupError(f"the vault {vault.database} is empty, but {where} has what only its keys would open")
    await stores.vault.finish(vault)
    manifest = Manifest(
        id=name,
        kind=BackupKind.DATA,
        database=addresses.database,
        taken_at=snapshot.taken_at,
        finished_at=datetime.now(UTC),
        contents=tuple(contents),
        # After the data too: a file that it names was there before.
        files=None if settings.storage_url is None else await _files(stores.data, settings.storage_url, name, told),
    )
    await stores.data.finish(manifest)
    return Taken(manifest, vault, tuple(await _remove_lapsed(settings, stores)))


async def _whole(snapshot: MongoSnapshot, database: str) -> list[str]:
    """Its collections. Raises `BackupError` for half of a restore: as the newest backup it would be restored."""
    found = await snapshot.collections()
    if RESTORING in found:
        raise BackupError(f"{database} is being restored, or was and not to its end: there is half of it only")
    return found


async def _refuse_what_was_lost(store: BackupStore, database: str, contents: Sequence[Contents]) -> None:
    """An installation may be empty on its first day only, and is never without collections. Raises `BackupError`."""
    if not contents:
        raise BackupError(f"there is no database {database}, or nobody has made its collections (visitnow migrate)")
    if any(one.documents for one in contents):
        return
    for before in await store.finished(BackupKind.DATA):
        manifest = await store.manifest(BackupKind.DATA, before)
        if manifest.database == database and manifest.documents:
            had = f"had {manifest.documents:,} documents in backup {before}"
            raise BackupError(f"the database {database} is empty, but {had}")


async def _copied_vault(store: BackupStore, url: str, database: str, name: str, told: Told) -> Manifest:
    """The keys, and what is to be signed of them."""
    async with MongoSnapshot.taken(url, database) as snapshot:
        there = await _whole(snapshot, database)
        contents = [await _copied(snapshot, store, name, one, told, BackupKind.VAULT) for one in there]
    return Manifest(
        id=name,
        kind=BackupKind.VAULT,
        database=database,
        taken_at=snapshot.taken_at,
        finished_at=datetime.now(UTC),
        contents=tuple(contents),
    )


class _Parts:
    """Gathers what is copied into parts of one size and stores them."""

    def __init__(self, store: BackupStore, kind: BackupKind, backup: str, name: str) -> None:
        self._store = store
        self._place = (kind, backup, name)
        self._gathered = bytearray()
        self._parts: list[Part] = []
        self._measure = Measure()

    async def add(self, content: bytes, documents: int) -> None:
        self._measure.add(content, documents)
        self._gathered += content
        if len(self._gathered) >= PART_BYTES:
            await self._flush()

    async def contents(self) -> Contents:
        if self._gathered:
            await self._flush()
        seen = self._measure
        name = self._place[2]
        return Contents(
            name=name, documents=seen.documents, size=seen.size, sha256=seen.sha256, parts=tuple(self._parts)
        )

    async def _flush(self) -> None:
        name = part_name(*self._place, len(self._parts) + 1)
        self._parts.append(await self._store.put(name, bytes(self._gathered)))
        self._gathered.clear()


async def _copied(
    snapshot: MongoSnapshot,
    store: BackupStore,
    backup: str,
    collection: str,
    told: Told,
    kind: BackupKind = BackupKind.DATA,
) -> Contents:
    parts = _Parts(store, kind, backup, collection)
    async for batch in snapshot.documents(collection):
        await parts.add(batch.content, batch.documents)
        told(collection, batch.documents)
    return await parts.contents()


async def _files(store: BackupStore, url: str, backup: str, told: Told) -> Contents:
    """Copy what is new, and list everything."""
    before = await _newest_list(store)
    files = await InstalledFiles(url).copy(store, before, lambda count: told(FILES, count))
    parts = _Parts(store, BackupKind.DATA, backup, f"_{FILES}")
    for one in files:
        await parts.add(f"{one.model_dump_json()}\n".encode(), 1)
    return await parts.contents()


async def _newest_list(store: BackupStore) -> Mapping[str, StoredFile]:
    finished = await store.finished(BackupKind.DATA)
    if not finished:
        return {}
    return {one.path: one for one in await listed_files(store, await store.manifest(BackupKind.DATA, finished[0]))}


async def listed_files(store: BackupStore, manifest: Manifest) -> list[StoredFile]:
    """The files of a backup. Raises `BackupError` where the list is not what it was."""
    if manifest.files is None:
        return []
    measure, lines = Measure(), list[bytes]()
    for part in manifest.files.parts:
        content = await store.get(part.name, part.sha256)
        found = content.splitlines()
        measure.add(content, len(found))
        lines += found
    if not measure.is_that_of(manifest.files):
        raise BackupError(f"the list of files of {manifest.id} is not what it was")
    return [StoredFile.model_validate(json.loads(one)) for one in lines]


async def _remove_lapsed(settings: Settings, stores: Places) -> list[str]:
    """Right after a new backup was made, so that there always is one."""
    now, removed = datetime.now(UTC), list[str]()
    kept: list[Manifest] = []
    for store, kind, days in (
        (stores.data, BackupKind.DATA, settings.backup_days),
        (stores.vault, BackupKind.VAULT, settings.backup_vault_days),
    ):
        manifests = [await store.manifest(kind, one) for one in await store.finished(kind)]
        over = lapsed(manifests, now, timedelta(days=days))
        for one in over:
            await store.remove(one)
            removed.append(f"{kind}/{one.id}")
        await store.remove_unfinished(kind, now)
        kept += [one for one in manifests if one not in over and kind is BackupKind.DATA]
    named = frozenset([file.sha256 for one in kept for file in await listed_files(stores.data, one)])
    await stores.data.remove_files(named, now)
    return removed
