"""`visitnow migrate`: indexes, validators and search attributes, as the code declares them."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from temporalio.client import Client

from adapters.connections import connect_temporal
from adapters.mongo import indexes
from adapters.mongo.client import open_client
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from cli.output import console, explained
from cli.running import current_settings
from workers import schedules

app = typer.Typer()


@app.command()
def migrate(
    owner_url: Annotated[
        str | None,
        typer.Option(
            envvar="VISITNOW_MONGODB_OWNER_URL",
            help="MongoDB as a user who may make collections and indexes; absent: MONGODB_URL.",
        ),
    ] = None,
) -> None:
    """Make what is missing: MongoDB's collections, validators and indexes, and Temporal's search attributes."""
    with explained():
        settings = current_settings()
        asyncio.run(prepare_stores(settings, owner_url or settings.mongodb_url.get_secret_value()))
        console.print("MongoDB and Temporal are as declared")


async def prepare_stores(settings: Settings, owner_url: str) -> Client:
    """Indexes, validators and search attributes; the second time changes nothing. The connection to Temporal."""
    client = open_client(owner_url, "visitnow-migrate")
    try:
        await indexes.ensure(client[settings.database])
    finally:
        client.close()
    temporal = await connect_temporal(settings)
    await register_search_attributes(temporal)
    return temporal


async def prepare(settings: Settings, owner_url: str) -> None:
    """Everything that has to be there before the first request: stores and schedules."""
    await schedules.apply(await prepare_stores(settings, owner_url))
