"""The gateway's part of exports: their workflows are begun and stopped."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from models.errors import UnavailableError
from models.exports import ExportRef
from models.ids import export_workflow_id
from workflows.exports import ExportWorkflow
from workflows.policies import BULK_QUEUE, RPC_TIMEOUT
from workflows.starting import Begin, begin


class ExportsGateway:
    """Starts what makes an export, and ends it before its time."""

    def __init__(self, client: Client) -> None:
        """Where workflows run."""
        self._client = client

    async def begin_export(self, about: ExportRef) -> None:
        """Start its workflow, once. Raises `UnavailableError`."""
        await begin(
            self._client,
            Begin(
                ExportWorkflow.run,
                about,
                id=export_workflow_id(about.export_id),
                queue=BULK_QUEUE,
                summary="an export",
                tenant_id=about.tenant_id,
                subject_id=about.subject_id,
            ),
        )

    async def stop(self, export_id: str) -> None:
        """Tell it that its record was stopped; one that has ended is left alone. Raises `UnavailableError`."""
        handle = self._client.get_workflow_handle(export_workflow_id(export_id))
        try:
            await handle.signal(ExportWorkflow.stop, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise UnavailableError("the workflow service does not answer") from error
