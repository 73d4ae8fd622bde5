"""`visitnow search rebuild`: what searches read, made anew from profiles, hours, leave and claims."""

from __future__ import annotations

import asyncio

import typer

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.redis.client import connect
from adapters.redis.pages import Pages
from adapters.settings import Settings
from cli.output import console, explained
from cli.running import current_settings
from workers.projector import Projector

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """The projection that searches read."""


@app.command()
def rebuild() -> None:
    """Make every entry anew; searches go on meanwhile, and the second time changes nothing."""
    with explained():
        console.print(f"{asyncio.run(rebuilt(current_settings()))} providers")


async def rebuilt(settings: Settings) -> int:
    """How many entries were made. Raises `UnavailableError`."""
    redis = connect(settings.redis_url.get_secret_value())
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody_listens, appname="visitnow-search")
    try:
        pages = Pages(redis, settings.database)
        projector = Projector(
            stores.search, stores.directory, stores.claims, stores.reviews, stores.leases, pages.drop_all
        )
        return await projector.rebuild()
    finally:
        await stores.close()
        await redis.aclose()


async def _nobody_listens(practitioner_id: str) -> None:
    """Counting free days changes nobody's time."""
