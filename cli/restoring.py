"""Putting a backup back into an empty installation, and looking whether everything is as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from adapters.backup.files import InstalledFiles
from adapters.backup.store import BackupStore
from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.backups import MongoTarget
from adapters.mongo.client import open_client
from adapters.mongo.invariants import MongoInvariants
from adapters.mongo.promises import MongoPromises
from adapters.mongo.repositories import Repositories
from adapters.mongo.seals import MongoAuditSeals
from adapters.seal_heads import StoredSealHeads
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from cli.backing_up import listed_files, places
from cli.output import CommandError
from cli.verifying import VERIFYING
from models.backups import BackupError, BackupKind, Contents, Manifest, Measure
from models.deletions import GONE, DeletionRef
from models.identity import System
from models.promises import Kept, Promise, PromiseKind, compared
from workflows import attributes
from workflows.reviving import Reviver

ASIDE: Final = "audit-seals-set-aside"
"""Where copies of seals go whose entries are lost: nobody may take them for seals of the restored chain."""

SIGNED_IN: Final = "sessions"
"""Not kept: one that was ended after the backup would be open again, so everybody signs in anew."""

_REVIVING: Final = System("visits and deletions whose workflows were lost are taken up again")
_TAKEN_UP: Final = frozenset({PromiseKind.APPOINTMENT, PromiseKind.DELETION})
_CLOCKS: Final = timedelta(seconds=5)
"""How far a new server's clock may be behind: its stamps must come after those that are restored."""

Tell = Callable[[str], None]


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


async def restore(settings: Settings, target: Target, manifest: Manifest, tell: Tell) -> Restored:
    """Put it back: data, indexes, files, and the keys last. Raises `CommandError` where there is anything already.

    Without keys nothing that is sealed opens: whoever is interrupted leaves nothing that anybody could read.
    """
    addresses, stores = mongo_addresses(settings), places(settings)
    data = MongoTarget(target.owner_url, addresses.database)
    vault = MongoTarget(target.vault_owner_url, addresses.vault_database)
    try:
        await _refuse_unless_empty(data, addresses.database, manifest)
        opening = await _keys_for(stores.vault, vault)
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
        await data.empty(SIGNED_IN)
        tell("putting files back")
        files = await _restore_files(settings, stores.data, manifest)
        aside = await _set_seals_aside(settings, manifest)
        tell("looking at times, money and books")
        broken = await MongoInvariants(data.database).broken(datetime.now(UTC))
        tell("putting the keys back")
        keys = None if opening is None else await _restore_keys(stores.vault, vault, opening)
    finally:
        data.close()
        vault.close()
    return Restored(manifest, keys, files, tuple(aside), tuple(differences), tuple(broken))


async def _refuse_unless_empty(data: MongoTarget, database: str, manifest: Manifest) -> None:
    occupied = await data.occupied()
    if occupied:
        raise CommandError(
            f"the database {database} is not empty ({', '.join(occupied[:5])}{'…' if occupied[5:] else ''}): "
            "a restore only ever fills an empty one; name another by VISITNOW_DATABASE, or drop it yourself"
        )
    if await data.clock() < manifest.taken_at - _CLOCKS:
        raise CommandError("the database's clock is behind the backup: new audit entries would come before old ones")


async def _keys_for(store: BackupStore, vault: MongoTarget) -> Manifest | None:
    """The newest backup of the vault: the younger it is, the fewer keys come back that were destroyed since.

    None where the vault is there. Raises `BackupError` where there is neither.
    """
    if await vault.occupied():
        return None
    finished = await store.finished(BackupKind.VAULT)
    if not finished:
        raise BackupError("the vault is empty and there is no backup of it: nothing that is sealed could be read")
    return await store.manifest(BackupKind.VAULT, finished[0])


async def _restore_keys(store: BackupStore, vault: MongoTarget, manifest: Manifest) -> int:
    for one in manifest.contents:
        await _restored(store, vault, one)
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
            last = await seals.last(VERIFYING, tenant)
            number = 0 if last is None else last.seal.number
            if newest > number:
                moved = await heads.set_aside(tenant, number, f"{ASIDE}/{manifest.id}")
                aside += [f"{tenant}:{one}" for one in moved]
    finally:
        client.close()
    return aside


async def promises_kept(settings: Settings) -> Kept:
    """What is open in the database against the workflows that run; lost ones of visits and deletions begin anew.

    Raises `UnavailableError`.
    """
    addresses, temporal = mongo_addresses(settings), await connect_temporal(settings)
    stores = Repositories.connect(addresses, on_time_changed=_nobody, appname="visitnow-promises")
    known = MongoPromises(stores.database)
    try:
        await register_search_attributes(temporal)  # a new Temporal knows none
        running: Mapping[str, str | None] = {
            one.id: one.typed_search_attributes.get(attributes.BOOKING_STATE)
            async for one in temporal.list_workflows('ExecutionStatus = "Running"')
        }
        unknown = [
            one
            for one in running
            if one.startswith("booking:") and not await known.has_appointment(one.removeprefix("booking:"))
        ]
        promises = [one async for one in known.each(datetime.now(UTC))]
        lost = [one for one in promises if one.kind in _TAKEN_UP and one.workflow_id not in running]
        reviver = Reviver(temporal)
        revived = [one.workflow_id for one in lost if await _revived(reviver, stores, one)]
        return compared(promises, running, unknown, frozenset(revived))
    finally:
        await stores.close()


async def _revived(reviver: Reviver, stores: Repositories, lost: Promise) -> bool:
    if lost.kind is PromiseKind.DELETION:
        deletion = await stores.deletions.find(_REVIVING, lost.id)
        # One that has not taken effect may have been taken back since.
        return deletion is not None and deletion.state in GONE and await reviver.resume(DeletionRef.of(deletion))
    found = await stores.appointments.find(_REVIVING, lost.id, open_sealed=False)
    return found is not None and await reviver.revive(found)


async def _nobody(practitioner_id: str) -> None:
    """Looking changes nobody's time."""
