"""Backups whose time is over go, right after a new one was made, so that there always is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from adapters.backup.store import BackupStore
from adapters.settings import Settings
from cli.backup_places import Places, listed_files
from models.backups import UNFINISHED_KEPT, BackupError, BackupKind, Manifest, UnknownKeyError, lapsed


class Pruned(NamedTuple):
    """What went, and what could not be looked at and why."""

    removed: tuple[str, ...]
    unreadable: tuple[str, ...]


async def prune(settings: Settings, stores: Places) -> Pruned:
    """Data and vault each by itself: what cannot be looked at keeps nothing else. Raises `UnavailableError`."""
    now = datetime.now(UTC)
    data, vault = (
        _Shelf(store, kind, now, timedelta(days=days))
        for store, kind, days in (
            (stores.data, BackupKind.DATA, settings.backup_days),
            (stores.vault, BackupKind.VAULT, settings.backup_vault_days),
        )
    )
    for one in (vault, data):
        await one.clear()
    # Which copies of files an unreadable backup names, nobody knows.
    if data.removed and not data.unreadable:
        await _remove_copies(stores.data, data.kept, now)
    return Pruned((*data.removed, *vault.removed), (*data.unreadable, *vault.unreadable))


class _Shelf:
    """The backups of one kind."""

    def __init__(self, store: BackupStore, kind: BackupKind, now: datetime, keep: timedelta) -> None:
        self._store = store
        self._kind = kind
        self._now = now
        self._keep = keep
        self.kept: list[Manifest] = []
        self.removed: list[str] = []
        self.unreadable: list[str] = []

    async def clear(self) -> None:
        manifests: list[Manifest] = []
        for one in await self._store.finished(self._kind):
            try:
                manifests.append(await self._store.manifest(self._kind, one))
            except BackupError as error:
                await self._clear_unreadable(one, error)
        over = lapsed(manifests, self._now, self._keep)
        for manifest in over:
            await self._store.remove(manifest)
            self.removed.append(f"{self._kind}/{manifest.id}")
        self.kept = [one for one in manifests if one not in over]
        await self._store.remove_unfinished(self._kind, self._now)

    async def _clear_unreadable(self, backup: str, error: BackupError) -> None:
        """One whose key was rotated out goes when nothing of it was written for as long as it is kept."""
        before = self._now - self._keep
        if isinstance(error, UnknownKeyError) and await self._store.remove_untouched(self._kind, backup, before):
            self.removed.append(f"{self._kind}/{backup}")
        else:
            self.unreadable.append(str(error))


async def _remove_copies(store: BackupStore, kept: list[Manifest], now: datetime) -> None:
    """What none of those that are kept names: each list is looked at by itself, and only as long as anything is left.

    Memory is that of the names, however many backups there are; lists that are the same are read once.
    """
    unnamed, seen = await store.copies(now - UNFINISHED_KEPT), set[str]()
    # The newest and then the oldest name nearly everything between them.
    for manifest in (*kept[:1], *reversed(kept[1:])):
        if not unnamed:
            return
        if manifest.files is None or manifest.files.sha256 in seen:
            continue
        seen.add(manifest.files.sha256)
        unnamed.difference_update([one.sha256 for one in await listed_files(store, manifest)])
    await store.remove_copies(unnamed)
