"""Where backups lie, and what they say of the installation's files."""

from __future__ import annotations

import json
from typing import NamedTuple

from adapters.backup.store import BackupStore
from adapters.settings import Settings
from adapters.tokens import Statements
from cli.output import CommandError
from models.backups import BackupError, BackupKind, Manifest, Measure, StoredFile


class Places(NamedTuple):
    """Where backups of the data and of the key vault lie."""

    data: BackupStore
    vault: BackupStore


def places(settings: Settings) -> Places:
    """The stores of the settings. Raises `CommandError` where there is none."""
    if settings.backup_url is None:
        raise CommandError("VISITNOW_BACKUP_URL says where backups go; it is not set")
    statements = Statements(settings.token_keys)
    return Places(
        BackupStore(settings.backup_url, settings.sealing_keys, statements),
        BackupStore(settings.backup_vault_url or settings.backup_url, settings.sealing_keys, statements),
    )


async def newest_of(store: BackupStore, kind: BackupKind, database: str) -> Manifest | None:
    """The newest backup of that database that can be looked at; `prune` names the others."""
    for one in await store.finished(kind):
        try:
            manifest = await store.manifest(kind, one)
        except BackupError:
            continue
        if manifest.database == database:
            return manifest
    return None


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
