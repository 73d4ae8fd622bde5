"""The gateway's part of deletions: their workflows are begun, told and found again."""

from __future__ import annotations

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.deletions import platform_policy
from models.deletions import DeletionRef, DeletionState
from models.errors import UnavailableError
from models.ids import deletion_workflow_id
from models.policy import TenantPolicy
from models.ports import Tenancy
from workflows.deletions import DeletionWorkflow
from workflows.policies import BULK_QUEUE, RPC_TIMEOUT, TASK_TIMEOUT
from workflows.starting import Begin, begin_and_ask


class DeletionGateway:
    """Starts what was confirmed, and says when it was taken back or a hold has changed."""

    def __init__(self, client: Client, tenancy: Tenancy) -> None:
        """`tenancy` knows the platform's settings."""
        self._client = client
        self._tenancy = tenancy

    async def begin(self, about: DeletionRef) -> DeletionState | None:
        """Start it, once, and wait until the account serves only to take it back; None where it has ended.

        Raises `UnavailableError`; it goes on all the same, and may be asked for again.
        """
        what = deletion(about)
        start = WithStartWorkflowOperation(
            what.run,
            what.arg,
            id=what.id,
            task_queue=what.queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            task_timeout=TASK_TIMEOUT,
            static_summary=what.summary,
        )
        return await begin_and_ask(self._client, start, DeletionWorkflow.begun, "the deletion")

    async def cancelled(self, deletion_id: str) -> None:
        """Say that it was taken back; a word that is lost costs only time. Raises `UnavailableError`."""
        await self._signal(deletion_id, "cancelled")

    async def changed(self, deletion_id: str) -> None:
        """Say that a hold has changed. Raises `UnavailableError`."""
        await self._signal(deletion_id, "changed")

    async def _signal(self, deletion_id: str, name: str) -> None:
        handle = self._client.get_workflow_handle(deletion_workflow_id(deletion_id))
        try:
            await handle.signal(name, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                msg = "the workflow service does not answer"
                raise UnavailableError(msg) from error

    async def policy(self) -> TenantPolicy:
        """The platform's, which holds for every tenant: the law does."""
        return await platform_policy(self._tenancy)


def deletion(about: DeletionRef) -> Begin[DeletionRef, object]:
    """The workflow of a deletion; it carries no subject to search by, since what does is erased."""
    return Begin(
        DeletionWorkflow.run,
        about,
        id=deletion_workflow_id(about.deletion_id),
        queue=BULK_QUEUE,
        summary="somebody is to be forgotten",
    )
