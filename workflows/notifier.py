"""How whoever is no workflow has somebody told something, and how a receipt reaches the telling."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from models.errors import UnavailableError
from models.ids import notice_workflow_id
from models.notices import Notice
from workflows.notices import telling_of
from workflows.notifying import NotifyWorkflow
from workflows.policies import RPC_TIMEOUT
from workflows.starting import begin


class DurableNotifier:
    """Implements `models.notice_ports.Notifier`: once per notice, whoever asks and however often."""

    def __init__(self, client: Client) -> None:
        """The process's client."""
        self._client = client

    async def notify(self, notice: Notice) -> None:
        """Start its telling. Raises `UnavailableError`; the same notice may be given again then."""
        await begin(self._client, telling_of(notice))

    async def receipt(self, notice_id: str) -> None:
        """The provider has said something of a try. Raises `UnavailableError`; whose telling has ended needs none."""
        handle = self._client.get_workflow_handle(notice_workflow_id(notice_id))
        try:
            await handle.signal(NotifyWorkflow.receipt, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                msg = "the workflow service does not answer"
                raise UnavailableError(msg) from error
