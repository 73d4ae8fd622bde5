"""How commands speak to a person: one console, and expected failures as one clear sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import typer
from rich.console import Console
from rich.markup import escape

from adapters.settings import SettingsError
from models.backups import BackupError
from models.errors import UnavailableError
from sandbox.servers.processes import StartError
from sandbox.servers.provision import ProvisionError

# A log keeps lines whole where a terminal would wrap them.
console: Final = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
errors: Final = Console(highlight=False, stderr=True)


class CommandError(Exception):
    """A command cannot do what it was asked for; the text says why and what would help."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn expected failures into their text on standard error and exit code 1."""
    try:
        yield
    except (CommandError, SettingsError, ProvisionError, StartError, UnavailableError, BackupError) as error:
        sys.stdout.flush()
        errors.print(f"visitnow: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


def show_links(links: Sequence[tuple[str, str]]) -> None:
    """One line per link, never broken: it must survive being copied."""
    width = max(len(name) for name, _ in links)
    for name, link in links:
        console.print(f"  [bold]{escape(name.ljust(width))}[/]  [link={link}]{link}[/link]", soft_wrap=True)
