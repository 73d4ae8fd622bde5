"""`visitnow schedules apply`: the periodic work."""

from __future__ import annotations

import asyncio

import typer

from adapters.connections import connect_temporal
from adapters.settings import Settings
from cli.output import console, explained
from cli.running import current_settings
from workers import schedules

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """The schedules of the periodic work."""


@app.command()
def apply() -> None:
    """Create or update every schedule; the second time changes nothing."""
    with explained():
        for name in asyncio.run(_apply(current_settings())):
            console.print(name)


async def _apply(settings: Settings) -> list[str]:
    return await schedules.apply(await connect_temporal(settings))
