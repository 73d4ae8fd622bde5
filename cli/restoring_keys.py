"""The keys of an installation that is restored: put back where they were lost, held against their backup elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapters.backup.store import BackupStore
from adapters.mongo.backups import MongoTarget
from adapters.mongo.encryption import VAULT_COLLECTION
from cli.backup_places import newest_of
from cli.output import CommandError
from models.backups import BackupError, BackupKind, Manifest


class Lacking(NamedTuple):
    """The keys of the newest backup, by their names, that a vault neither has nor knows to be buried."""

    backup: str
    names: Sequence[str]
    of: int


async def keys_for(store: BackupStore, vault: MongoTarget, backup: str | None) -> Manifest | None:
    """The newest backup of the vault, or the one of that id: the younger, the fewer destroyed keys come back.

    None where the vault is there. Raises `BackupError` where there is neither, `CommandError` where there are both.
    """
    if await vault.occupied():
        if backup is not None:
            raise CommandError(f"the vault {vault.name} is there: drop it, or name no backup of it")
        return None
    finished = [backup] if backup is not None else await store.finished(BackupKind.VAULT)
    if not finished:
        raise BackupError("the vault is empty and there is no backup of it: nothing that is sealed could be read")
    return await store.manifest(BackupKind.VAULT, finished[0])


async def lacking(store: BackupStore, vault: MongoTarget) -> Lacking:
    """What a vault that is left alone lacks. Raises `CommandError` where it is most: then it is not the one it was."""
    manifest = await newest_of(store, BackupKind.VAULT, vault.name)
    if manifest is None:
        return Lacking("", (), 0)
    names, count = list[str](), 0
    for contents in (one for one in manifest.contents if one.name == VAULT_COLLECTION):
        for part in contents.parts:
            keys = await vault.keys_of(await store.get(part.name, part.sha256))
            names += keys.lacking
            count += keys.all
    if len(names) * 2 > count:
        raise CommandError(
            f"the vault {vault.name} is not empty, but of the {count:,} keys of its backup {manifest.id} it lacks "
            f"{len(names):,}: it was lost and begun anew; drop {vault.name}, and its keys are put back"
        )
    return Lacking(manifest.id, names, count)


async def faults_of(lacks: Lacking, data: MongoTarget) -> list[str]:
    """What follows for the data: keys of strangers, who never became accounts, are destroyed without a trace."""
    known = await data.accounts([name.rpartition(":")[0] for name in lacks.names])
    needed = [name for name in lacks.names if name.rpartition(":")[0] in known]
    if not needed:
        return []
    lost = (
        f"the vault, which was left alone, lacks {len(needed):,} keys of {len(known):,} accounts that its backup "
        f"{lacks.backup} has ({', '.join(needed[:5])}{'…' if needed[5:] else ''}): what they sealed does not open"
    )
    return [lost]
