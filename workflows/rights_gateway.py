"""The gateway's part of requests by right: their workflows are begun and told."""

from __future__ import annotations

from typing import Final

from temporalio.client import Client

from models.errors import Code, VisitNowError
from models.identity import PLATFORM, System
from models.ids import rights_workflow_id
from models.policy import TenantPolicy
from models.ports import Tenancy
from models.rights import RightsRef
from workflows.policies import NOTIFY_QUEUE
from workflows.rights import RightsWorkflow
from workflows.starting import Begin, begin

PLATFORM_SETTINGS: Final = System("the platform's own settings say how soon requests by right are answered")


class RightsGateway:
    """Starts the clock of a request, and says when it was answered."""

    def __init__(self, client: Client, tenancy: Tenancy) -> None:
        """`tenancy` knows the platform's settings."""
        self._client = client
        self._tenancy = tenancy

    async def begin(self, about: RightsRef) -> None:
        """Start its workflow, once. Raises `UnavailableError`."""
        await begin(self._client, clock_of(about))

    async def answered(self, about: RightsRef) -> None:
        """Tell it that there is an answer; one that was never begun is. Raises `UnavailableError`."""
        await begin(self._client, clock_of(about), signal="answered")

    async def policy(self) -> TenantPolicy:
        """The platform's, which holds for every tenant: the law does."""
        try:
            return (await self._tenancy.settings(PLATFORM_SETTINGS, PLATFORM)).settings
        except VisitNowError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return TenantPolicy()


def clock_of(about: RightsRef) -> Begin[RightsRef, object]:
    """The workflow that stays with a request until it is answered."""
    return Begin(
        RightsWorkflow.run,
        about,
        id=rights_workflow_id(about.request_id),
        queue=NOTIFY_QUEUE,
        summary="a request by right",
        tenant_id=about.tenant_id,
        subject_id=about.subject_id,
    )
