"""The gateway's part of exports: their workflows are begun."""

from __future__ import annotations

from temporalio.client import Client

from models.exports import ExportRef
from models.ids import export_workflow_id
from workflows.exports import ExportWorkflow
from workflows.policies import BULK_QUEUE
from workflows.starting import Begin, begin


class ExportsGateway:
    """Starts what makes an export."""

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
