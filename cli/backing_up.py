"""Making a backup: the data at one instant, then the keys that open it, then the files; what has lapsed goes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from adapters.backup.files import InstalledFiles
from adapters.backup.store import BackupStore, part_name
from adapters.connections import mongo_addresses
from adapters.mongo.backups import RESTORING, MongoSnapshot
from adapters.settings import Settings
from cli.backup_places import listed_files, newest_of, places
from cli.pruning import prune
from models.backups import (
    PART_BYTES,
    BackupError,
    BackupKind,
    Contents,
    Manifest,
    Measure,
    Part,
    backup_id,
)

FILES: Final = "files"
Told = Callable[[str, int], None]
"""Hears of each collection and of how many documents of it have been copied."""


class Taken(NamedTuple):
    """A backup, and what went because its time was over."""

    data: Manifest
    vault: Manifest
    removed: tuple[str, ...]
    unreadable: tuple[str, ...]
    """Backups of before that could not be looked at, and why."""


async def back_up(settings: Settings, told: Told, *, accept_loss: bool = False) -> Taken:
    """Make one. Raises `BackupError` or `UnavailableError`; what a failed run has left is removed by a later one.

    With `accept_loss` also where most keys or files of the last backup are gone.
    """
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
    last = await newest_of(stores.data, BackupKind.DATA, addresses.database)
    # After the data too: a file that it names was there before.
    files = None if settings.storage_url is None else await _files(stores.data, last, settings.storage_url, name, told)
    if not accept_loss:
        had = await newest_of(stores.vault, BackupKind.VAULT, addresses.vault_database)
        _refuse_what_shrank(had, vault.documents, had.documents if had else 0, f"keys and notes in {vault.database}")
        _refuse_what_shrank(last, _count(files), _count(last.files if last else None), "files in object storage")
    await stores.vault.finish(vault)
    manifest = Manifest(
        id=name,
        kind=BackupKind.DATA,
        database=addresses.database,
        taken_at=snapshot.taken_at,
        finished_at=datetime.now(UTC),
        contents=tuple(contents),
        files=files,
    )
    await stores.data.finish(manifest)
    pruned = await prune(settings, stores)
    return Taken(manifest, vault, pruned.removed, pruned.unreadable)


def _count(files: Contents | None) -> int:
    return 0 if files is None else files.documents


def _refuse_what_shrank(last: Manifest | None, now: int, before: int, what: str) -> None:
    """Raises `BackupError` where most is gone: what was lost and begun anew would become the newest backup.

    Keys that are destroyed leave notes, and of files only some are ever removed.
    """
    if last is not None and now * 2 < before:
        raise BackupError(
            f"there are {now:,} {what}, and there were {before:,} in backup {last.id}: put back what was lost "
            "(docs/disaster.md); where it is right that so much is gone, say --accept-loss once"
        )


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


async def _files(store: BackupStore, last: Manifest | None, url: str, backup: str, told: Told) -> Contents:
    """Copy what is new, and list everything."""
    before = {} if last is None else {one.path: one for one in await listed_files(store, last)}
    files = await InstalledFiles(url).copy(store, before, lambda count: told(FILES, count))
    parts = _Parts(store, BackupKind.DATA, backup, f"_{FILES}")
    for one in files:
        await parts.add(f"{one.model_dump_json()}\n".encode(), 1)
    return await parts.contents()
