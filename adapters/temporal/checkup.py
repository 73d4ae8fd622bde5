"""Looks a Temporal namespace over: its search attributes, its schedules, and who works on its task queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal.search_attributes import SEARCH_ATTRIBUTES
from models.errors import UnavailableError

TIMEOUT: Final = timedelta(seconds=5)
_KINDS: Final[Mapping[str, TaskQueueType.ValueType]] = {
    "workflows": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activities": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}


async def search_attribute_problems(client: Client) -> list[str]:
    """One line for each search attribute that is missing or of another type. Raises `UnavailableError`."""
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=TIMEOUT
        )
    except RPCError as error:
        raise UnavailableError("temporal") from error
    known = dict(listed.custom_attributes)
    missing = [f"{name} is missing" for name in SEARCH_ATTRIBUTES if name not in known]
    other = [
        f"{name} is a {IndexedValueType.Name(known[name]).removeprefix('INDEXED_VALUE_TYPE_').lower()}"
        for name, kind in SEARCH_ATTRIBUTES.items()
        if known.get(name, kind) != kind
    ]
    return missing + other


async def schedule_problems(client: Client, names: Iterable[str]) -> list[str]:
    """One line for each schedule that is missing or paused. Raises `UnavailableError`."""
    problems = []
    for name in names:
        try:
            described = await client.get_schedule_handle(name).describe(rpc_timeout=TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise UnavailableError("temporal") from error
            problems.append(f"{name} is missing")
        else:
            if described.schedule.state.paused:
                problems.append(f"{name} is paused")
    return problems


async def idle_queues(client: Client, work: Iterable[tuple[str, str]]) -> list[str]:
    """Of these task queues and kinds of tasks those on which nobody works. Raises `UnavailableError`."""
    idle = []
    for queue, kind in work:
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=_KINDS[kind]
        )
        try:
            answer = await client.workflow_service.describe_task_queue(request, timeout=TIMEOUT)
        except RPCError as error:
            raise UnavailableError("temporal") from error
        if not answer.pollers:
            idle.append(f"{queue} ({kind})")
    return idle
