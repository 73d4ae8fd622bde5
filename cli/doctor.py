"""`visitnow doctor`: whether an installation is well, and what to do where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import typer
from rich.markup import escape

from adapters.settings import SettingsError
from cli.checks import Finding, examine
from cli.output import console, explained
from cli.running import current_settings

app = typer.Typer()


@app.command()
def doctor() -> None:
    """Look at settings, stores, accounts, keys, clocks, schedules and workers; exit code 1 where anything is BAD.

    Nothing is changed; object storage is given one small object, which is removed again.
    """
    with explained():
        try:
            settings = current_settings()
        except SettingsError as error:
            findings = [Finding("settings", one, "correct the variable") for one in str(error).splitlines()]
        else:
            findings = asyncio.run(examine(settings))
    show(findings)
    if any(one.problem is not None for one in findings):
        raise typer.Exit(1)


def show(findings: Sequence[Finding]) -> None:
    """One line each: what is well, what is not, and what to do."""
    for one in findings:
        if one.problem is None:
            console.print(f"[green]OK [/]  {escape(one.what)}", soft_wrap=True)
        else:
            console.print(f"[red bold]BAD[/]  {escape(one.what)}: {escape(one.problem)}", soft_wrap=True)
            console.print(f"       → {escape(one.remedy)}", soft_wrap=True)
