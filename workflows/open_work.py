"""What is still going on for somebody, as the workflow service knows it; and the end of what need not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from models.errors import UnavailableError
from workflows.policies import RPC_TIMEOUT

AT_ONCE: Final = 8
"""How many are asked about at the same time."""
REASON: Final = "its subject is to be forgotten"


class RunningWork:
    """Implements `models.deletions_ports.OpenWork` over one client."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def running(self, workflow_ids: Sequence[str]) -> list[str]:
        """Each is asked about itself, which is never behind. Raises `UnavailableError`."""
        places = asyncio.Semaphore(AT_ONCE)

        async def is_running(workflow_id: str) -> bool:
            async with places:
                return await self._is_running(workflow_id)

        answers = await asyncio.gather(*(is_running(one) for one in workflow_ids))
        return [one for one, runs in zip(workflow_ids, answers, strict=True) if runs]

    async def _is_running(self, workflow_id: str) -> bool:
        try:
            found = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise _unavailable() from error
        return found.status is WorkflowExecutionStatus.RUNNING

    async def of_subject(self, subject_id: str) -> list[str]:
        """One listing, which may be a moment behind. Raises `UnavailableError`."""
        query = f'SubjectRef = "{subject_id}" and ExecutionStatus = "Running"'
        try:
            return [one.id async for one in self._client.list_workflows(query, rpc_timeout=RPC_TIMEOUT)]
        except RPCError as error:
            raise _unavailable() from error

    async def end(self, workflow_id: str) -> None:
        """It has no last word: what it was for is of no use to anybody any more. Raises `UnavailableError`."""
        try:
            await self._client.get_workflow_handle(workflow_id).terminate(reason=REASON, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise _unavailable() from error


def _unavailable() -> UnavailableError:
    return UnavailableError("the workflow service does not answer")
