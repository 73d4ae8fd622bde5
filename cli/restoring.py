"""Putting a backup back into an empty installation, and looking whether everything is as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from adapters.backup.files import InstalledFiles
from adapters.backup.store import BackupStore
from adapters.connections import mongo_addresses
from adapters.mongo.backups import MongoTarget
from adapters.mongo.client import open_client
from adapters.mongo.invariants import MongoInvariants
from adapters.mongo.seals import MongoAuditSeals
from adapters.seal_heads import StoredSealHeads
from adapters.settings import Settings
from cli.backup_places import listed_files, places
from cli.outcome import Outcome, Tell
from cli.output import CommandError
from cli.restoring_keys import faults_of, keys_for, lacking
from cli.verifying import VERIFYING
from models.backups import BackupError, BackupKind, Contents, Manifest, Measure
from models.seals import UntrustedSealError

ASIDE: Final = "audit-seals-set-aside"
"""Where copies of seals go whose entries are lost: nobody may take them for seals of the restored chain."""

SIGNED_IN: Final = "sessions"
"""Not kept: one that was ended after the backup would be open again, so everybody signs in anew."""

_CLOCKS: Final = timedelta(seconds=5)
"""How far a new server's clock may be behind: its stamps must come after those that are restored."""


class Target(NamedTuple):
    """Where to restore to: MongoDB as a user who may make collections and indexes."""

    owner_url: str
    vault_owner_url: str


class Restored(NamedTuple):
    """What was put back and what was found."""

    manifest: Manifest
    keys: int | None
    """None where the vault was there and was left alone."""
    files: int
    """Those that were missing."""
    set_aside: tuple[str, ...]
    """Seals whose entries are lost with what came after the backup, as `tenant:number`."""
    differences: tuple[str, ...]
    """Where the database is not what the backup holds, or not what the code declares."""
    broken: tuple[str, ...]
    """What does not hold of times, money and books."""


async def chosen(settings: Settings, backup: str | None) -> Manifest:
    """The backup of that id, or the newest. Raises `BackupError` where there is none."""
    store = places(settings).data
    if backup is None:
        finished = await store.finished(BackupKind.DATA)
        if not finished:
            raise BackupError("there is no whole backup")
        backup = finished[0]
    return await store.manifest(BackupKind.DATA, backup)


async def restore(
    settings: Settings,
    target: Target,
    manifest: Manifest,
    tell: Tell,
    outcome: Outcome | None = None,
    vault_backup: str | None = None,
) -> Restored:
    """Put it back: data, indexes, files, and the keys last. Raises `CommandError` where there is anything already.

    Without keys nothing that is sealed opens: whoever is interrupted leaves nothing that anybody could read.
    `outcome` hears what is found when it is; `vault_backup` is that of the keys, absent: the newest.
    """
    outcome = outcome or Outcome()
    if manifest.files is not None and manifest.files.documents and settings.storage_url is None:
        raise CommandError(f"VISITNOW_STORAGE_URL is not set, and {manifest.id} has {manifest.files.documents:,} files")
    await refuse_half(settings, target)
    stores, (data, vault) = places(settings), _targets(settings, target)
    try:
        await _refuse_unless_empty(data, manifest)
        opening = await keys_for(stores.vault, vault, vault_backup)
        lacks = await lacking(stores.vault, vault) if opening is None else None
        await data.begin(manifest.id)
        for one in manifest.contents:
            tell(f"putting back {one.name}")
            await _restored(stores.data, data, one)
        tell("comparing with the backup")
        differences = [
            f"{one.name}: what lies in the database is not what the backup holds"
            for one in manifest.contents
            if not (await data.measure(one.name)).is_that_of(one)
        ]
        tell("making indexes")
        differences += await data.ensure_indexes()
        differences += [] if lacks is None else await faults_of(lacks, data)
        outcome.blame(*differences)
        await data.empty(SIGNED_IN)
        tell("putting files back")
        files = await _restore_files(settings, stores.data, manifest)
        aside = await _set_seals_aside(settings, manifest)
        if aside:
            outcome.tell(f"seals whose entries are lost were set aside: {', '.join(aside)}")
        tell("looking at times, money and books")
        broken = await MongoInvariants(data.database).broken(datetime.now(UTC))
        outcome.blame(*broken)
        tell("putting the keys back")
        keys = None if opening is None else await _restore_keys(stores.vault, vault, opening)
        await data.end()
    finally:
        data.close()
        vault.close()
    return Restored(manifest, keys, files, tuple(aside), tuple(differences), tuple(broken))


async def refuse_half(settings: Settings, target: Target) -> None:
    """Raises `CommandError` where a restore began and did not come to its end."""
    halves = []
    for one in _targets(settings, target):
        try:
            halves += [one.name] if await one.restoring() is not None else []
        finally:
            one.close()
    if halves:
        half = " and ".join(halves)
        raise CommandError(
            f"a restore into {half} began and did not come to its end: drop {half}, nothing else, and begin again"
        )


def _targets(settings: Settings, target: Target) -> tuple[MongoTarget, MongoTarget]:
    """The data's and the vault's."""
    addresses = mongo_addresses(settings)
    return (
        MongoTarget(target.owner_url, addresses.database),
        MongoTarget(target.vault_owner_url, addresses.vault_database),
    )


async def _refuse_unless_empty(data: MongoTarget, manifest: Manifest) -> None:
    occupied = await data.occupied()
    if occupied:
        raise CommandError(
            f"the database {data.name} is not empty ({', '.join(occupied[:5])}{'…' if occupied[5:] else ''}): "
            "a restore only ever fills an empty one; name another by VISITNOW_DATABASE, or drop it yourself"
        )
    if await data.clock() < manifest.taken_at - _CLOCKS:
        raise CommandError("the database's clock is behind the backup: new audit entries would come before old ones")


async def _restore_keys(store: BackupStore, vault: MongoTarget, manifest: Manifest) -> int:
    await vault.begin(manifest.id)
    for one in manifest.contents:
        await _restored(store, vault, one)
    await vault.end()
    return manifest.documents


async def _restored(store: BackupStore, data: MongoTarget, contents: Contents) -> None:
    await data.create(contents.name)
    measure = Measure()
    for part in contents.parts:
        content = await store.get(part.name, part.sha256)
        measure.add(content, await data.insert(contents.name, content))
    if not measure.is_that_of(contents):
        raise BackupError(f"the parts of {contents.name} are not what the manifest says")


async def _restore_files(settings: Settings, store: BackupStore, manifest: Manifest) -> int:
    if settings.storage_url is None:
        return 0
    installed, files = InstalledFiles(settings.storage_url), 0
    for one in await listed_files(store, manifest):
        files += await installed.restore(store, one)
    return files


async def _set_seals_aside(settings: Settings, manifest: Manifest) -> list[str]:
    """Copies of seals that are newer than the restored chain."""
    heads, addresses = StoredSealHeads(settings.storage_url), mongo_addresses(settings)
    client = open_client(addresses.audit_url, "visitnow-restore-audit")
    seals, aside = MongoAuditSeals(client[addresses.database]), list[str]()
    try:
        for tenant, newest in (await heads.newest()).items():
            try:
                last = await seals.last(VERIFYING, tenant)
            except UntrustedSealError:
                continue  # whoever may add put it there: verifying names it, and nothing else is held up by it
            number = 0 if last is None else last.seal.number
            if newest > number:
                moved = await heads.set_aside(tenant, number, f"{ASIDE}/{manifest.id}")
                aside += [f"{tenant}:{one}" for one in moved]
    finally:
        client.close()
    return aside
