"""`visitnow backup`: a consistent, sealed copy of everything, and which ones there are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.connections import mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.compliance import MongoAuditTrail
from adapters.settings import Settings
from cli.backing_up import Taken, back_up
from cli.backup_places import places
from cli.output import CommandError, console, errors, explained
from cli.running import current_settings
from models.backups import BackupKind, Manifest, UnknownKeyError
from models.compliance import AuditAction, audit_of_operator

app = typer.Typer()


@app.callback(invoke_without_command=True)
def backup(
    context: typer.Context,
    *,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Also where most keys or files of the last backup are gone.")
    ] = False,
) -> None:
    """Copy database, key vault and files to BACKUP_URL; backups whose time is over are removed after it."""
    if context.invoked_subcommand is not None:
        return
    with explained():
        taken = asyncio.run(taken_and_noted(current_settings(), accept_loss=accept_loss))
        for line in told(taken):
            console.print(line, markup=False)
        _warn(taken.unreadable)


@app.command(name="list")
def list_all(
    within: Annotated[
        float | None, typer.Option(help="Exit code 1 unless data and vault were backed up within so many hours.")
    ] = None,
) -> None:
    """Show every backup that is whole, newest first."""
    with explained():
        manifests, unreadable = asyncio.run(_manifests(current_settings()))
        console.print(_table(manifests))
        _warn(unreadable)
        if within is not None:
            _insist_on(manifests, datetime.now(UTC) - timedelta(hours=within))


async def taken_and_noted(settings: Settings, *, accept_loss: bool = False) -> Taken:
    """Make one, with a line that moves on standard error, and note it in the audit."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        line = progress.add_task("backing up")
        count = 0

        def told_of(what: str, documents: int) -> None:
            nonlocal count
            count += documents
            progress.update(line, description=f"backing up: {what}, {count:,} in all")

        taken = await back_up(settings, told_of, accept_loss=accept_loss)
    await note(settings, AuditAction.BACKED_UP, f"backup:{taken.data.id}")
    for one in taken.removed:
        await note(settings, AuditAction.BACKUPS_REMOVED, f"backup:{one.replace('/', ':')}")
    return taken


async def note(settings: Settings, action: AuditAction, target: str, why: str | None = None) -> None:
    """Write what an operator did into the audit. Raises `UnavailableError`."""
    addresses = mongo_addresses(settings)
    client = open_client(addresses.audit_url, "visitnow-backup-audit")
    try:
        trail = MongoAuditTrail(client[addresses.database])
        await trail.append([audit_of_operator(action, target, datetime.now(UTC), why)])
    finally:
        client.close()


def told(taken: Taken) -> list[str]:
    """What was made, in sentences."""
    data, vault = taken.data, taken.vault
    seconds = (data.finished_at - data.taken_at).total_seconds()
    made = (
        f"{data.id}: {data.documents:,} documents ({data.size / 1e6:,.1f} MB) as they were at "
        f"{data.taken_at:%Y-%m-%d %H:%M:%S} UTC, {vault.documents:,} keys, "
        f"{data.files.documents if data.files else 0:,} files, in {seconds:.0f} s"
    )
    return [made, *(f"removed, since its time is over: {one}" for one in taken.removed)]


async def _manifests(settings: Settings) -> tuple[list[Manifest], list[str]]:
    """Those that can be looked at, and why others cannot."""
    stores, manifests, unreadable = places(settings), list[Manifest](), list[str]()
    for store, kind in ((stores.data, BackupKind.DATA), (stores.vault, BackupKind.VAULT)):
        for one in await store.finished(kind):
            try:
                manifests.append(await store.manifest(kind, one))
            except UnknownKeyError as error:
                unreadable.append(str(error))
    return manifests, unreadable


def _warn(unreadable: Sequence[str]) -> None:
    for one in unreadable:
        errors.print(f"visitnow: {one}", style="red", markup=False, soft_wrap=True)


def _insist_on(manifests: list[Manifest], since: datetime) -> None:
    late = [kind for kind in BackupKind if not any(one.kind is kind and one.taken_at >= since for one in manifests)]
    if late:
        raise CommandError(f"no backup of the {' and the '.join(late)} since {since:%Y-%m-%d %H:%M} UTC")


def _table(manifests: list[Manifest]) -> Table:
    table = Table(title=f"{len(manifests)} backups", title_justify="left")
    for heading in ("backup", "of", "as it was at (UTC)", "documents", "MB", "files"):
        table.add_column(heading)
    for one in manifests:
        files = f"{one.files.documents:,}" if one.files else "-"
        size = f"{one.size / 1e6:,.1f}"
        table.add_row(one.id, one.kind, f"{one.taken_at:%Y-%m-%d %H:%M:%S}", f"{one.documents:,}", size, files)
    return table
