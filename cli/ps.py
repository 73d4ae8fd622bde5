"""`visitnow ps`: every open workflow, what it waits for and until when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from cli.output import console, explained
from cli.running import current_settings
from models.operations import WorkflowView
from workflows.gateway import Stores, WorkflowGateway

app = typer.Typer()


@app.command()
def ps(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many workflows.")] = 200,
) -> None:
    """Show each open workflow with what it waits for and until when, and a link to its history."""
    with explained():
        views = asyncio.run(_open_workflows(current_settings(), limit))
        console.print(_table(views, datetime.now(UTC)))


async def _open_workflows(settings: Settings, limit: int) -> list[WorkflowView]:
    client = await connect_temporal(settings)
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody_listens, appname="visitnow-ps")
    try:
        ports = Stores(
            stores.directory,
            stores.claims,
            stores.appointments,
            stores.payments,
            stores.inbox,
            stores.applications,
            stores.tenancy,
        )
        workflows = WorkflowGateway(client, ports, id_secret=settings.id_secret, ui_url=settings.temporal_ui_url)
        return [view async for view in workflows.open_workflows(limit)]
    finally:
        await stores.close()


async def _nobody_listens(practitioner_id: str) -> None:
    """Looking changes nobody's time."""


def _table(views: list[WorkflowView], now: datetime) -> Table:
    table = Table(title=f"{len(views)} open workflows", title_justify="left")
    for heading in ("workflow", "state", "waits for", "until (UTC)", "in"):
        table.add_column(heading)
    for view in sorted(views, key=_urgency):
        waiting = view.waiting_for
        table.add_row(
            f"[link={view.temporal_ui_url}]{view.id}[/link]",
            view.state or "does not answer",
            waiting.event if waiting else "-",
            f"{waiting.until:%Y-%m-%d %H:%M:%S}" if waiting else "-",
            _left(waiting.until - now) if waiting else "-",
        )
    return table


def _urgency(view: WorkflowView) -> datetime:
    return view.waiting_for.until if view.waiting_for else view.started_at


def _left(left: timedelta) -> str:
    """A length of time in its two largest units; a minus sign where it is over."""
    sign = "-" if left < timedelta() else ""
    seconds = int(abs(left).total_seconds())
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    return sign + " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])
