"""`visitnow restore`: an empty installation becomes what a backup holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import typer

from adapters.connections import mongo_addresses
from adapters.mongo.backups import SECONDS
from adapters.mongo.client import open_client
from adapters.mongo.compliance import MongoAuditTrail
from adapters.settings import Settings
from cli.audit import told as told_of_audit
from cli.audit import verified
from cli.backup import note
from cli.lost_objects import lost_objects
from cli.moved_money import moved_money
from cli.outcome import Outcome, Tell
from cli.output import CommandError, console, explained
from cli.promises import promises_kept
from cli.reapplying import logged, reapply
from cli.restoring import Target, chosen, refuse_half, restore
from cli.running import current_settings
from models.backups import BackupError, Manifest
from models.compliance import OPERATOR, AuditAction, AuditQuery
from models.errors import UnavailableError
from models.identity import PLATFORM, Tenant

SHOWN: Final = 50
"""Things for a person that are printed; of more, the number."""

GOES_ON: Final = "`visitnow restore --finish` goes on from here"
_EXPECTED: Final = (CommandError, BackupError, UnavailableError)

app = typer.Typer()


class Chosen(NamedTuple):
    """Which backups, by their ids; None: the newest."""

    data: str | None = None
    vault: str | None = None


@app.command(name="restore")
def restore_command(
    *,
    backup: Annotated[str | None, typer.Option(help="The backup's id; absent: the newest.")] = None,
    vault_backup: Annotated[
        str | None, typer.Option(help="The id of the vault's backup, which may be another one's; absent: the newest.")
    ] = None,
    owner_url: Annotated[
        str | None,
        typer.Option(
            envvar="VISITNOW_MONGODB_OWNER_URL",
            help="MongoDB as a user who may make collections and indexes; absent: MONGODB_URL.",
        ),
    ] = None,
    vault_owner_url: Annotated[
        str | None,
        typer.Option(envvar="VISITNOW_VAULT_OWNER_URL", help="The vault's MongoDB likewise; absent: the same user."),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Put nothing back: only what follows it, once more, as often as you like.")
    ] = False,
) -> None:
    """Fill an empty database, vault and storage from a backup, erase again who was erased since, and verify all of it.

    Exit code 1 where something is not as it was.
    """
    with explained():
        settings = current_settings()
        owner = owner_url or settings.mongodb_url.get_secret_value()
        target = Target(owner, vault_owner_url or owner)
        outcome = Outcome(lambda line: console.print(line, markup=False))
        with console.status("restoring") as status:
            chosen_ones = Chosen(backup, vault_backup)
            work = finished if finish else restored
            asyncio.run(work(settings, target, chosen_ones, status.update, outcome))
        if outcome.faults:
            raise CommandError("\n".join(["not everything is as it was:", *outcome.faults]))


async def restored(settings: Settings, target: Target, backup: Chosen, tell: Tell, outcome: Outcome) -> None:
    """Restore, note it, then all that follows. Raises `BackupError`, `CommandError` or `UnavailableError`."""
    manifest = await chosen(settings, backup.data)
    await logged(settings, manifest.taken_at)  # nothing is put back where it cannot be told who is to be erased
    found = await restore(settings, target, manifest, tell, outcome, backup.vault)
    keys = "the vault was there and was left alone" if found.keys is None else f"{found.keys:,} keys"
    outcome.tell(
        f"{manifest.documents:,} documents ({manifest.size / 1e6:,.1f} MB) as they were at "
        f"{manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC; {keys}; {found.files:,} files that were missing"
    )
    if found.files and found.files == (manifest.files.documents if manifest.files else 0):
        outcome.tell(
            "  the object storage was lost too, and with it the log of deletions since then: whoever was erased "
            "is back, look into the certificates that were sent"
        )
    aside = f"; seals set aside: {', '.join(found.set_aside)}" if found.set_aside else ""
    why = f"as it was at {manifest.taken_at:%Y-%m-%dT%H:%M:%SZ}{aside}"
    await note(settings, AuditAction.RESTORED, f"backup:{manifest.id}", why)
    await _followed(settings, manifest, tell, outcome)


async def finished(settings: Settings, target: Target, backup: Chosen, tell: Tell, outcome: Outcome) -> None:
    """What follows the restore of that backup, or of the one that was restored last. Raises as `restored` does."""
    await refuse_half(settings, target)
    manifest = await chosen(settings, backup.data or await _restored_last(settings))
    outcome.tell(f"what follows the restore of {manifest.id}, once more")
    await note(settings, AuditAction.RESTORED, f"backup:{manifest.id}", "what follows it, once more")
    await _followed(settings, manifest, tell, outcome)


async def _followed(settings: Settings, manifest: Manifest, tell: Tell, outcome: Outcome) -> None:
    """Erase again, book again, take up again, verify: each as good a second time. Raises `CommandError`."""
    try:
        tell("erasing again who was erased since")
        # Read once more: where the storage was lost, it is back only now.
        again = await reapply(settings, await logged(settings, manifest.taken_at))
        outcome.tell(f"{again.deletions:,} deletions since then were made again: {again.erased:,} things had come back")
        _tell_cancelled(outcome, again.cancelled)
        tell("looking for what is lost in object storage")
        outcome.blame(*await lost_objects(settings))
        tell("asking the payment gateway what moved since")
        # Before any visit is taken up again: what went back already is not to be promised once more.
        money = await moved_money(settings, manifest.taken_at)
        outcome.tell(*([f"{money.refunds:,} refunds since then were booked again"] if money.refunds else []))
        _tell_cancelled(outcome, money.cancelled)
        _tell_people(outcome, money.for_a_person)
        tell("comparing with Temporal")
        kept = await promises_kept(settings)
        _tell_cancelled(outcome, kept.cancelled)
        outcome.tell(
            f"{sum(kept.kept.values()):,} open things have their workflow, {sum(kept.begun_again.values()):,} are "
            f"begun again, {len(kept.for_a_person) + len(money.for_a_person):,} need a person"
        )
        _tell_people(outcome, kept.for_a_person)
        tell("verifying the audit")
        audit = await verified(settings, None)
        outcome.tell(*told_of_audit(audit))
        outcome.blame(*(f"{one.fault}: {one.what} (of {one.tenant_id})" for one in audit.findings))
    except _EXPECTED as error:
        faults = ["and not everything is as it was:", *outcome.faults] if outcome.faults else []
        raise CommandError("\n".join([f"{error}; {GOES_ON}", *faults])) from error


def _tell_cancelled(outcome: Outcome, visits: Sequence[str]) -> None:
    """Nobody has to do anything; the patient may ask."""
    _tell_people(outcome, [f"{one} was cancelled after the backup, and is cancelled again" for one in visits])


def _tell_people(outcome: Outcome, people: Sequence[str]) -> None:
    outcome.tell(*(f"  {one}" for one in people[:SHOWN]))
    outcome.tell(*([f"  … and {len(people) - SHOWN} more"] if len(people) > SHOWN else []))


async def _restored_last(settings: Settings) -> str:
    """Which backup this installation was restored from, by its audit."""
    addresses = mongo_addresses(settings)
    client = open_client(addresses.audit_url, "visitnow-restore-audit", within=SECONDS)
    try:
        query = AuditQuery(actor=OPERATOR, action=AuditAction.RESTORED, limit=1)
        found = await MongoAuditTrail(client[addresses.database]).page(Tenant(PLATFORM), query, None)
    finally:
        client.close()
    if not found.items:
        raise CommandError("nothing was restored here, as far as the audit tells; name the backup by --backup")
    return found.items[0].target.removeprefix("backup:")
