"""The health check of a worker's container, against workers that poll and queues that nobody serves."""

import asyncio
import os
import sys
from pathlib import Path
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from sandbox.servers.processes import free_port
from sandbox.servers.stack import Addresses

ROOT = Path(__file__).parents[2]


@activity.defn
async def work() -> None:
    """Nothing."""


async def checked(queue: str, address: str, namespace: str) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISITNOW_")}
    environment |= {
        "VISITNOW_TEMPORAL_ADDRESS": address,
        "VISITNOW_TEMPORAL_NAMESPACE": namespace,
        "PYTHONPATH": str(ROOT),
    }
    check = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "deploy/worker_health.py", queue, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    return await asyncio.wait_for(check.wait(), 30)


async def test_a_queue_is_healthy_where_this_host_polls_it(servers: Addresses) -> None:
    queue = f"health-{uuid4().hex[:8]}"
    client = await Client.connect(servers.temporal_address, namespace=servers.temporal_namespace)
    place = (servers.temporal_address, servers.temporal_namespace)
    assert await checked(queue, *place) == 1
    async with Worker(client, task_queue=queue, activities=[work]):
        async with asyncio.timeout(20):
            while await checked(queue, *place) != 0:  # the first poll may be on its way
                pass
        assert await checked(f"{queue}-other", *place) == 1


async def test_another_host_s_worker_does_not_count(servers: Addresses) -> None:
    queue = f"health-{uuid4().hex[:8]}"
    client = await Client.connect(
        servers.temporal_address, namespace=servers.temporal_namespace, identity="1@another-host"
    )
    own = await Client.connect(servers.temporal_address, namespace=servers.temporal_namespace)
    place = (servers.temporal_address, servers.temporal_namespace)
    async with Worker(client, task_queue=queue, activities=[work]):
        assert await checked(queue, *place) == 1
        async with Worker(own, task_queue=queue, activities=[work]):
            async with asyncio.timeout(20):
                while await checked(queue, *place) != 0:
                    pass


async def test_without_a_server_nothing_is_healthy() -> None:
    assert await checked("booking", f"127.0.0.1:{free_port()}", "default") == 1
