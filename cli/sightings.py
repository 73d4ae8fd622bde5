"""`visitnow sightings`: whether anything is left of somebody, in any store and any disguise."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from adapters.carriers import carriers
from adapters.connections import connect_temporal
from adapters.settings import Settings
from adapters.sightings import Scanner
from cli.output import CommandError, console, errors, explained
from cli.running import current_settings
from models.disguises import Canaries, Sighting

app = typer.Typer()


@app.command()
def sightings(
    words: Annotated[
        Path, typer.Argument(help="A file with a name, phone (+91…) or e-mail on each line; - reads them from stdin.")
    ],
    logs: Annotated[list[Path] | None, typer.Option(help="Log files or folders to look into too.")] = None,
) -> None:
    """Look for somebody in every store of ours, in logs and at the carrier of texts; exit code 1 where found.

    Words come from a file, since what is typed after a command stays in a shell's history. What is printed says
    where and in which form, never the words themselves.
    """
    with explained():
        settings = current_settings()
        canaries = _canaries(settings, sys.stdin.read() if str(words) == "-" else _text(words))
        if settings.twilio_account_sid is None or not canaries.phones:
            why = "no credentials are set" if settings.twilio_account_sid is None else "no number is among the words"
            errors.print(f"carrier: was not asked, since {why}")
        scanner, found = asyncio.run(_looked(settings, canaries, logs or []))
        for kind, size in scanner.looked_at.items():
            errors.print(f"{kind}: {size:,} bytes were looked at")
        for place, form in dict.fromkeys((one.place, one.form) for one in found):
            console.print(f"{place} ({form})", markup=False)
        if found:
            raise CommandError("somebody is there")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {type(error).__name__}") from error


def _canaries(settings: Settings, text: str) -> Canaries:
    canaries = Canaries(settings.index_key)
    try:
        for word in filter(None, map(str.strip, text.splitlines())):
            _ = canaries.phone(word) if word.startswith("+") else canaries.word(word)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if not (canaries.words or canaries.phones):
        raise CommandError("there is nobody to look for")
    return canaries


async def _looked(settings: Settings, canaries: Canaries, logs: list[Path]) -> tuple[Scanner, list[Sighting]]:
    if settings.backup_mongodb_url is None:
        raise CommandError("VISITNOW_BACKUP_MONGODB_URL names the account that may read everything; it is not set")
    reader = settings.backup_mongodb_url.get_secret_value()
    with carriers(settings) as carrier:
        temporal = await connect_temporal(settings)
        scanner = Scanner(settings, reader, logs=logs, temporal=temporal, texts=carrier.texts)
        return scanner, await scanner.scan(canaries)
