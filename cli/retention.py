"""`visitnow retention`: what was kept for its time goes now, or is only shown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from temporalio.service import RPCError

from activities.retention import Ages
from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from cli.output import CommandError, console, explained
from cli.running import current_settings
from models.retention import Line
from workers.schedules import RETENTION

app = typer.Typer()


@app.command()
def retention(
    *, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go, tenant by tenant.")] = False
) -> None:
    """Have the daily schedule remove what is too old now, or show what it would remove."""
    with explained():
        if not dry_run:
            asyncio.run(trigger(current_settings()))
            console.print("begun: `visitnow ps` shows how far it is")
            return
        console.print(table_of(asyncio.run(planned(current_settings()))))


async def trigger(settings: Settings) -> None:
    """Have the schedule run now. Raises `CommandError` where there is none."""
    client = await connect_temporal(settings)
    try:
        await client.get_schedule_handle(RETENTION).trigger()
    except RPCError as error:
        raise CommandError("there is no schedule for it yet: run `visitnow schedules apply`") from error


async def planned(settings: Settings) -> list[Line]:
    """What would go at this moment. Raises `UnavailableError`."""
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody_asks, appname="visitnow-retention")
    try:
        return await Ages(stores.outdated, stores.tenancy).plan(datetime.now(UTC))
    finally:
        await stores.close()


async def _nobody_asks(_: str) -> None:
    """Nobody's free times change."""


def table_of(lines: list[Line]) -> Table:
    """The lines, as they are shown."""
    table = Table("tenant", "collection", "kept as", "older than", "records", caption=f"{len(lines)} lines")
    for one in lines:
        table.add_row(
            one.tenant_id, one.collection, one.retained_under, f"{one.before:%Y-%m-%d %H:%M} UTC", str(one.records)
        )
    return table
