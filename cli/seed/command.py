"""`visitnow seed`: the development data, written again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cli.output import CommandError, console, explained
from cli.policy import parse_policy
from cli.running import current_settings
from cli.seed.catalogues import full
from cli.seed.write import write

app = typer.Typer()


@app.command()
def seed(
    policy: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, a tenant policy's default; may be repeated.")
    ] = None,
) -> None:
    """Write two groups of clinics, their doctors and accounts; development only, and harmless the second time."""
    catalogue = full(parse_policy(policy or []))
    with explained():
        settings = current_settings()
        if not settings.is_development:
            raise CommandError("the seed is made up: it belongs into the development profile only")
        asyncio.run(write(settings, catalogue))
        console.print(f"{len(catalogue.clinics)} clinics and {len(catalogue.profiles)} profiles written")
