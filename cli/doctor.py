"""`visitnow doctor`: whether the database is what the code declares."""

from __future__ import annotations

import asyncio

import typer

from adapters.connections import mongo_addresses
from adapters.mongo import indexes
from adapters.mongo.client import open_client
from adapters.settings import Settings
from cli.output import CommandError, console, explained
from cli.running import current_settings

app = typer.Typer()


@app.command()
def doctor() -> None:
    """Compare collections, validators and indexes with what is declared; exit code 1 where they differ."""
    with explained():
        differences = asyncio.run(compared(current_settings()))
        if differences:
            raise CommandError("\n".join([*differences, "`visitnow migrate` makes what is missing"]))
        console.print("MongoDB is as declared")


async def compared(settings: Settings) -> list[str]:
    """One line for each difference. Raises `UnavailableError`."""
    addresses = mongo_addresses(settings)
    client = open_client(addresses.url, "visitnow-doctor")
    try:
        return await indexes.compare(client[addresses.database])
    finally:
        client.close()
