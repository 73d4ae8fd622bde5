"""The baselines' worker: a process of its own, like the product's, with the product's worker settings."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from pathlib import Path

import uvloop
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from bench.noop import NoopWorkflow, noop
from bench.skeleton import SkeletonBooking, SkeletonSteps
from workers.main import CACHED_WORKFLOWS
from workers.runner import workflow_runner

QUEUE = "bench"


class Bell:
    """Tells the bench which bookings are confirmed, one datagram each, over a local socket that loses none."""

    def __init__(self, path: Path) -> None:
        """The bench listens at `path`."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(path))

    def ring(self, appointment_id: str) -> None:
        """Say that this one is confirmed."""
        self._socket.send(appointment_id.encode())


async def serve(address: str, namespace: str, bell: Bell, ready: Path) -> None:
    """Serve the skeleton and the no-op until told to stop; `ready` exists from then on."""
    client = await Client.connect(address, namespace=namespace, data_converter=pydantic_data_converter)
    steps = SkeletonSteps(bell.ring)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[SkeletonBooking, NoopWorkflow],
        activities=[steps.hold, steps.open_order, steps.ask, steps.book, steps.capture, steps.confirm, noop],
        workflow_runner=workflow_runner(),
        max_cached_workflows=CACHED_WORKFLOWS,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with worker:
        await asyncio.to_thread(ready.touch)
        await stop.wait()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker")
    parser.add_argument("--address", required=True, help="Temporal's host:port")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--bell", type=Path, required=True, help="socket of the bench")
    parser.add_argument("--ready", type=Path, required=True, help="file to make when serving")
    options = parser.parse_args()
    uvloop.run(serve(options.address, options.namespace, Bell(options.bell), options.ready))


if __name__ == "__main__":
    main()
