"""Forgetting somebody in Temporal: the histories of what has ended for them, and what a search finds of it.

Payloads there are ciphertext and hold ids only; they go all the same. A history is deleted by a task of the server's
own, so it is looked for until it is found no more. What the server's database leaves on its disk is the operator's:
the codec's key opens it until it is rotated away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from models.data_classes import RetentionClass
from models.erasure import ErasureReceipt, Store
from models.erasure_ports import Remains
from models.errors import UnavailableError
from models.identity import Subject
from models.ids import (
    booking_workflow_id,
    follow_up_workflow_id,
    message_workflow_id,
    notice_workflow_id,
    refund_workflow_id,
    reminder_workflow_id,
    rights_workflow_id,
)

RPC_TIMEOUT: Final = timedelta(seconds=10)
GONE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.2
_AT_ONCE: Final = 50
_PART: Final = "histories"
_ENDED: Final = 'ExecutionStatus != "Running"'

NAMED_BY: Final = {
    "appointments": (booking_workflow_id, reminder_workflow_id, follow_up_workflow_id),
    "refunds": (refund_workflow_id,),
    "notifications": (message_workflow_id,),
    "notices": (notice_workflow_id,),
    "rights_requests": (rights_workflow_id,),
}
"""Workflows whose ids follow from a document: those that carry no subject to search by are found by these."""


class TemporalEraser:
    """Implements `models.erasure_ports.Eraser` for one namespace."""

    def __init__(self, client: Client, remains: Remains) -> None:
        """`remains` knows what their workflows are called."""
        self._client = client
        self._remains = remains

    @property
    def store(self) -> Store:
        """The workflow service."""
        return Store.TEMPORAL

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """Everything that has ended; every class takes all of it. Raises `UnavailableError`."""
        del data_class
        queries = await self._queries(subject_id)
        with _answering():
            return {_PART: len(await self._found(queries))}

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """Everything that has ended; what still runs for them is counted as kept. Raises `UnavailableError`.

        So it does where the server takes too long to let go: it is asked again then.
        """
        queries = await self._queries(subject_id)
        with _answering():
            erased: set[tuple[str, str]] = set()
            deadline = time.monotonic() + GONE_SECONDS
            while found := await self._found(queries):
                for workflow_id, run_id in found - erased:
                    await self._delete(workflow_id, run_id)
                erased |= found
                if time.monotonic() > deadline:
                    raise UnavailableError("the workflow service has not let go of every history yet")
                await asyncio.sleep(LOOK_SECONDS)
            running = await self._client.count_workflows(
                f'{queries[0]} AND ExecutionStatus = "Running"', rpc_timeout=RPC_TIMEOUT
            )
        return [
            ErasureReceipt(
                store=Store.TEMPORAL,
                part=_PART,
                data_class=data_class,
                erased=len(erased),
                kept=running.count,
                at=at,
            )
        ]

    async def _queries(self, subject_id: str) -> list[str]:
        """What finds their workflows: by themselves first."""
        return [f'SubjectRef = "{subject_id}"', *await self._by_ids(subject_id)]

    async def _by_ids(self, subject_id: str) -> list[str]:
        """Queries for the workflows that are named after documents of theirs, some at a time."""
        names = [
            name(one)
            for collection, named in NAMED_BY.items()
            for one in await self._remains.ids(Subject(subject_id), collection, subject_id)
            for name in named
        ]
        quoted = [f'"{one}"' for one in names]
        portions = (quoted[start : start + _AT_ONCE] for start in range(0, len(quoted), _AT_ONCE))
        return [f"WorkflowId IN ({', '.join(portion)})" for portion in portions]

    async def _found(self, queries: Sequence[str]) -> set[tuple[str, str]]:
        return {one for query in queries async for one in self._ended(query)}

    async def _ended(self, query: str) -> AsyncIterator[tuple[str, str]]:
        async for one in self._client.list_workflows(f"{query} AND {_ENDED}", rpc_timeout=RPC_TIMEOUT):
            yield one.id, one.run_id

    async def _delete(self, workflow_id: str, run_id: str) -> None:
        request = DeleteWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_execution=Execution(workflow_id=workflow_id, run_id=run_id),
        )
        try:
            await self._client.workflow_service.delete_workflow_execution(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        raise UnavailableError("the workflow service does not answer") from error
