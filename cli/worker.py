"""`visitnow worker`: one worker process, for one family of task queues or for all."""

from __future__ import annotations

import asyncio
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from adapters import logs
from adapters.settings import Settings, load_settings
from cli.output import CommandError, explained
from workers.faults import Faults
from workers.main import Family, run_worker

app = typer.Typer()


class Queue(StrEnum):
    """What a worker process can serve."""

    BOOKING = Family.BOOKING
    GATEWAY = Family.GATEWAY
    NOTIFY = Family.NOTIFY
    BULK = Family.BULK
    RELAY = Family.RELAY
    ALL = "all"


@app.command()
def worker(
    queue: Annotated[
        Queue, typer.Option(help="The task queue to serve; `relay` serves none and only carries the outbox.")
    ],
    *,
    relay: Annotated[bool, typer.Option(help="Carry the outbox too, where `booking` or `all` is served.")] = True,
    faults: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of armed fault points; development only.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="`host:port` at which Prometheus reads the workflow library's figures.")
    ] = None,
) -> None:
    """Serve task queues until SIGINT or SIGTERM, with the settings of the environment."""
    with explained():
        settings = load_settings()
        logs.configure(settings.log_level)
        uvloop.run(_serve(settings, families(queue, relay=relay), _faults(settings, faults), metrics))


def families(queue: Queue, *, relay: bool) -> list[Family]:
    """What a process that was asked to serve `queue` runs: the relay goes with the bookings unless refused."""
    chosen = list(Family) if queue is Queue.ALL else [Family(queue)]
    if queue is Queue.BOOKING:
        chosen.append(Family.RELAY)
    return chosen if relay or queue is Queue.RELAY else [one for one in chosen if one is not Family.RELAY]


def _faults(settings: Settings, folder: Path | None) -> Faults | None:
    if folder is None:
        return None
    if not settings.is_development:
        raise CommandError("faults are for the development profile only")
    return Faults(folder)


async def _serve(settings: Settings, chosen: list[Family], faults: Faults | None, metrics: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_worker(settings, chosen, faults, stop, metrics)
