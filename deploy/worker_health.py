"""Health check of a worker's container: `python worker_health.py QUEUE`.

Ends with 0 where a worker of this host has asked Temporal for that queue's work within the last 90 seconds (a poll
waits for 60), else with 1.
"""

import asyncio
import os
import socket
import sys
import traceback
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.converter import DataConverter

from adapters.settings import load_settings
from adapters.temporal.client import TlsFiles, connect

LATELY = timedelta(seconds=90)
TIMEOUT = timedelta(seconds=5)


async def is_polled(queue: str) -> bool:
    """Whether the server has lately heard of a poller of that queue whose identity ends in this host's name."""
    settings = load_settings()
    tls = TlsFiles(
        server_ca=settings.temporal_tls_ca,
        client_cert=settings.temporal_tls_cert,
        client_key=settings.temporal_tls_key,
        server_name=settings.temporal_tls_server_name,
    )
    client = await connect(
        settings.temporal_address,
        settings.temporal_namespace,
        DataConverter.default,
        tls=tls,
        ready_within=timedelta(0),
    )
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=settings.temporal_namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        ),
        timeout=TIMEOUT,
    )
    since = datetime.now(UTC) - LATELY
    return any(
        poller.identity.endswith(f"@{socket.gethostname()}") and poller.last_access_time.ToDatetime(tzinfo=UTC) >= since
        for poller in described.pollers
    )


def main() -> None:
    """Check, and end at once: the SDK's threads may abort an interpreter that takes its time to end."""
    healthy = False
    try:
        healthy = asyncio.run(is_polled(sys.argv[1]))
    except Exception:  # noqa: BLE001  whatever went wrong, the answer is "not healthy" and the log says why
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0 if healthy else 1)


if __name__ == "__main__":
    main()
