"""The onboarding's part of the gateway: starts, commands and signals the workflows of applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from models.errors import Code, UnavailableError, VisitNowError
from models.identity import PLATFORM, System
from models.ids import onboarding_workflow_id
from models.onboarding import (
    Answer,
    Application,
    ApplicationState,
    Command,
    Decide,
    OnboardingPolicy,
    StartOnboarding,
    application_of,
)
from models.onboarding_ports import Applications
from models.policy import TenantPolicy
from models.ports import Tenancy
from workflows.onboarding import OnboardingWorkflow
from workflows.policies import BOOKING_QUEUE, RPC_TIMEOUT
from workflows.starting import Begin, begin

PLATFORM_SETTINGS: Final = System("the platform's own settings rule every review")


class OnboardingGateway:
    """Commands to the workflows of applications, with the errors that a person is told."""

    def __init__(self, client: Client, applications: Applications, tenancy: Tenancy) -> None:
        """`tenancy` knows the platform's settings: how long a review may take."""
        self._client = client
        self._applications = applications
        self._tenancy = tenancy

    async def start(self, application: Application) -> None:
        """Start the application's workflow, once. Raises `unavailable`."""
        start = StartOnboarding(application_id=application.id, policy=await self._policy())
        await begin(
            self._client,
            Begin(
                OnboardingWorkflow.run,
                start,
                id=onboarding_workflow_id(application.id),
                queue=BOOKING_QUEUE,
                summary="a practice applies",
                tenant_id=PLATFORM,
            ),
        )

    async def submit(self, application: Application, command: Command) -> ApplicationState:
        """Hand it in. Raises `state_conflict` and `unavailable`."""
        return await self._command(
            application,
            lambda handle: handle.execute_update(OnboardingWorkflow.submit, command, rpc_timeout=RPC_TIMEOUT),
        )

    async def withdraw(self, application: Application, command: Command) -> ApplicationState:
        """Take it back. Raises `state_conflict` and `unavailable`."""
        return await self._command(
            application,
            lambda handle: handle.execute_update(OnboardingWorkflow.withdraw, command, rpc_timeout=RPC_TIMEOUT),
        )

    async def suspend(self, application: Application, command: Command) -> ApplicationState:
        """Hide the practice. Raises `state_conflict` and `unavailable`."""
        return await self._command(
            application,
            lambda handle: handle.execute_update(OnboardingWorkflow.suspend, command, rpc_timeout=RPC_TIMEOUT),
        )

    async def decide(self, application: Application, command: Decide) -> ApplicationState:
        """Decide. Raises `state_conflict`, `checks_failed` and `unavailable`."""
        return await self._command(
            application,
            lambda handle: handle.execute_update(OnboardingWorkflow.decide, command, rpc_timeout=RPC_TIMEOUT),
        )

    async def published(self, provider_id: str) -> None:
        """Tell the practice's onboarding, if it is still open, that there may be something to book."""
        handle = self._client.get_workflow_handle(onboarding_workflow_id(application_of(provider_id)))
        try:
            await handle.signal(OnboardingWorkflow.published, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                msg = "the workflow service does not answer"
                raise UnavailableError(msg) from error

    async def _command(
        self,
        application: Application,
        send: Callable[[WorkflowHandle[OnboardingWorkflow, ApplicationState]], Awaitable[Answer]],
    ) -> ApplicationState:
        handle: WorkflowHandle[OnboardingWorkflow, ApplicationState] = self._client.get_workflow_handle_for(
            OnboardingWorkflow.run, onboarding_workflow_id(application.id)
        )
        try:
            answer = await send(handle)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise VisitNowError(Code.STATE_CONFLICT) from error
            msg = "the command was not answered in time"
            raise UnavailableError(msg) from error
        except (WorkflowUpdateRPCTimeoutOrCancelledError, WorkflowUpdateFailedError) as error:
            msg = "the command was not answered in time"
            raise UnavailableError(msg) from error
        if answer.refusal is not None:
            raise VisitNowError(answer.refusal)
        return answer.state

    async def _policy(self) -> OnboardingPolicy:
        try:
            platform: TenantPolicy = (await self._tenancy.settings(PLATFORM_SETTINGS, PLATFORM)).settings
        except VisitNowError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            platform = TenantPolicy()
        return OnboardingPolicy(
            review=timedelta(hours=platform.sla_hours),
            calendar=platform.review_calendar,
            remind_every=timedelta(hours=platform.not_live_reminder_hours),
        )
