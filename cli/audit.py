"""`visitnow audit`: whether anything was touched that is in the audit, and the proof of one entry."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.connections import mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.seals import MongoAuditSeals
from adapters.seal_heads import StoredSealHeads
from adapters.settings import Settings
from adapters.tokens import Statements
from cli.output import CommandError, console, errors, explained
from cli.running import current_settings
from cli.verifying import VERIFYING, Report, Verifier, forget_state, load_state, save_state
from models.seals import Proof, UntrustedSealError, prove

SHOWN: Final = 50
"""Findings that are printed; of more, the number."""

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """The audit, its seals and proofs."""


@app.command()
def verify(
    state: Annotated[
        Path | None, typer.Option(help="Keep here how far it came: a run that was stopped goes on from there.")
    ] = None,
) -> None:
    """Find each entry and seal that was changed, removed, added or moved; exit code 1 where there is one."""
    with explained():
        report = asyncio.run(verified(current_settings(), state))
        for line in told(report):
            console.print(line, markup=False)
        if report.findings:
            raise CommandError("the audit is not what it was")


@app.command(name="prove")
def prove_one(entry_id: Annotated[str, typer.Argument(help="The entry's id.")]) -> None:
    """Print the proof that an entry is under its seal, as JSON."""
    with explained():
        typer.echo(asyncio.run(proved(current_settings(), entry_id)).model_dump_json(indent=2))


async def verified(settings: Settings, path: Path | None) -> Report:
    """Look at everything, with a bar on standard error.

    Raises `CommandError` for a file that is no state, and for a seal that is none.
    """
    addresses = mongo_addresses(settings)
    client = open_client(addresses.audit_url, "visitnow-audit")
    seals = MongoAuditSeals(client[addresses.database])
    verifier = Verifier(seals, StoredSealHeads(settings.storage_url), Statements(settings.token_keys))
    try:
        state = load_state(path)
    except ValueError as error:
        raise CommandError(f"{path} is not what a verification left") from error
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=errors, transient=True) as progress:
            bar = progress.add_task("verifying", total=await verifier.sealed(), completed=state.entries)
            report = await verifier.run(
                state, lambda count: progress.advance(bar, count), lambda now: save_state(path, now)
            )
    except UntrustedSealError as error:
        raise CommandError(str(error)) from error
    finally:
        client.close()
    forget_state(path)
    return report


def told(report: Report) -> list[str]:
    """The report in sentences."""
    lines = [f"{one.fault}: {one.what} (of {one.tenant_id})" for one in report.findings[:SHOWN]]
    if len(report.findings) > SHOWN:
        lines.append(f"… and {len(report.findings) - SHOWN} more")
    lines.append(f"{report.entries:,} entries of {report.tenants} tenants under {report.seals:,} seals were looked at")
    if report.oldest_unsealed is not None:
        since = datetime.fromtimestamp(report.oldest_unsealed, UTC)
        lines.append(f"{report.unsealed:,} are not sealed yet, the oldest since {since:%Y-%m-%d %H:%M:%S} UTC")
    if report.copies_missing:
        lines.append(f"newest seals without a copy in object storage: {', '.join(report.copies_missing)}")
    return lines


async def proved(settings: Settings, entry_id: str) -> Proof:
    """The proof of one entry. Raises `CommandError` where there is none."""
    addresses = mongo_addresses(settings)
    client = open_client(addresses.audit_url, "visitnow-audit")
    seals = MongoAuditSeals(client[addresses.database])
    try:
        found = await seals.entry(VERIFYING, entry_id)
        if found is None:
            raise CommandError(f"there is no entry {entry_id!r}")
        tenant, entry = found
        kept = await seals.covering(VERIFYING, tenant, entry.stamp)
    except UntrustedSealError as error:
        raise CommandError(str(error)) from error
    finally:
        client.close()
    if kept is None:
        raise CommandError(f"{entry_id} is not sealed yet")
    statements = Statements(settings.token_keys)
    if not statements.knows_key_of(kept.signed.signature):
        errors.print("the seal was signed with a key that the setting no longer names: `verify` tells whether it holds")
    elif not statements.is_ours(kept.signed):
        raise CommandError(f"the seal {tenant}:{kept.signed.seal.number} is not what we signed")
    try:
        return prove(entry, kept.signed, kept.leaves)
    except ValueError as error:
        raise CommandError(f"{entry_id}: {error}") from error
