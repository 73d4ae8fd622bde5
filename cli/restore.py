"""`visitnow restore`: an empty installation becomes what a backup holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from adapters.settings import Settings
from cli.audit import told as told_of_audit
from cli.audit import verified
from cli.backup import note
from cli.moved_money import MovedMoney, moved_money
from cli.output import CommandError, console, explained
from cli.reapplying import Reapplied, logged, reapply
from cli.restoring import Restored, Target, Tell, chosen, promises_kept, restore
from cli.running import current_settings
from cli.verifying import Report
from models.compliance import AuditAction
from models.promises import Kept

SHOWN: Final = 50
"""Things for a person that are printed; of more, the number."""

app = typer.Typer()


@dataclass(frozen=True)
class Outcome:
    """Everything that came of a restore, and the sentences about it."""

    restored: Restored
    reapplied: Reapplied
    audit: Report
    kept: Kept
    money: MovedMoney

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        found = [f"{one.fault}: {one.what} (of {one.tenant_id})" for one in self.audit.findings]
        return [*self.restored.differences, *self.restored.broken, *found]

    @property
    def lines(self) -> list[str]:
        """What was done, and what is left to do."""
        restored, manifest, kept = self.restored, self.restored.manifest, self.kept
        keys = "the vault was there and was left alone" if restored.keys is None else f"{restored.keys:,} keys"
        aside = ", ".join(restored.set_aside)
        people = [*kept.for_a_person, *self.money.for_a_person]
        back = (
            f"{manifest.documents:,} documents ({manifest.size / 1e6:,.1f} MB) as they were at "
            f"{manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC; {keys}; {restored.files:,} files that were missing"
        )
        open_things = (
            f"{sum(kept.kept.values()):,} open things have their workflow, "
            f"{sum(kept.begun_again.values()):,} are begun again, {len(people):,} need a person"
        )
        again = self.reapplied
        return [
            back,
            f"{again.deletions:,} deletions since then were made again: {again.erased:,} things had come back",
            *([f"{self.money.refunds:,} refunds since then were booked again"] if self.money.refunds else []),
            *([f"seals whose entries are lost were set aside: {aside}"] if aside else []),
            *told_of_audit(self.audit),
            open_things,
            *(f"  {one}" for one in people[:SHOWN]),
            *([f"  … and {len(people) - SHOWN} more"] if len(people) > SHOWN else []),
        ]


@app.command(name="restore")
def restore_command(
    backup: Annotated[str | None, typer.Option(help="The backup's id; absent: the newest.")] = None,
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
) -> None:
    """Fill an empty database, vault and storage from a backup, erase again who was erased since, and verify all of it.

    Exit code 1 where something is not as it was.
    """
    with explained():
        settings = current_settings()
        owner = owner_url or settings.mongodb_url.get_secret_value()
        with console.status("restoring") as status:
            outcome = asyncio.run(restored(settings, Target(owner, vault_owner_url or owner), backup, status.update))
        for line in outcome.lines:
            console.print(line, markup=False)
        if outcome.faults:
            raise CommandError("\n".join(["not everything is as it was:", *outcome.faults]))


async def restored(settings: Settings, target: Target, backup: str | None, tell: Tell) -> Outcome:
    """Restore, erase again, note it, verify, compare. Raises `BackupError`, `CommandError` or `UnavailableError`."""
    manifest = await chosen(settings, backup)
    await logged(settings, manifest.taken_at)  # nothing is put back where it cannot be told who is to be erased
    found = await restore(settings, target, manifest, tell)
    tell("erasing again who was erased since")
    # Read once more: where the storage was lost, it is back only now.
    reapplied = await reapply(settings, await logged(settings, manifest.taken_at))
    aside = f"; seals set aside: {', '.join(found.set_aside)}" if found.set_aside else ""
    why = f"as it was at {manifest.taken_at:%Y-%m-%dT%H:%M:%SZ}{aside}"
    await note(settings, AuditAction.RESTORED, f"backup:{manifest.id}", why)
    tell("verifying the audit")
    audit = await verified(settings, None)
    tell("asking the payment gateway what moved since")
    # Before any visit is taken up again: what went back already is not to be promised once more.
    money = await moved_money(settings, manifest.taken_at)
    tell("comparing with Temporal")
    return Outcome(found, reapplied, audit, await promises_kept(settings), money)
