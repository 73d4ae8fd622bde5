"""`visitnow worker`: one worker process, for one family of task queues or for all."""

from __future__ import annotations

import asyncio
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adapters import logs
from adapters.settings import Settings, load_settings
from cli.output import CommandError, explained
from workers.faults import FaultPoint
from workers.main import Family, run_worker

app = typer.Typer()


class Queue(StrEnum):
    """What a worker process can serve."""

    BOOKING = Family.BOOKING
    GATEWAY = Family.GATEWAY
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
    fault: Annotated[
        str | None, typer.Option(help="Die once at `before:step` or `after:step`; development only.")
    ] = None,
    fault_marker: Annotated[Path | None, typer.Option(help="File that remembers that the fault has struck.")] = None,
) -> None:
    """Serve task queues until SIGINT or SIGTERM, with the settings of the environment."""
    with explained():
        settings = load_settings()
        logs.configure(settings.log_level)
        asyncio.run(_serve(settings, families(queue, relay=relay), _fault_point(settings, fault, fault_marker)))


def families(queue: Queue, *, relay: bool) -> list[Family]:
    """What a process that was asked to serve `queue` runs: the relay goes with the bookings unless refused."""
    chosen = list(Family) if queue is Queue.ALL else [Family(queue)]
    if queue is Queue.BOOKING:
        chosen.append(Family.RELAY)
    return chosen if relay or queue is Queue.RELAY else [one for one in chosen if one is not Family.RELAY]


def _fault_point(settings: Settings, fault: str | None, marker: Path | None) -> FaultPoint | None:
    if fault is None:
        return None
    if not settings.is_development:
        raise CommandError("faults are for the development profile only")
    if marker is None:
        raise typer.BadParameter("--fault needs --fault-marker")
    try:
        return FaultPoint.parse(fault, marker)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


async def _serve(settings: Settings, chosen: list[Family], fault: FaultPoint | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_worker(settings, chosen, fault, stop)
