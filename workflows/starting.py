"""How workflows are begun, by processes and by other workflows: once per id, however often somebody asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import uuid4

from temporalio import workflow
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError
from temporalio.workflow import ParentClosePolicy, UpdateMethodMultiParam

from models.errors import UnavailableError
from workflows import attributes
from workflows.policies import RPC_TIMEOUT, TASK_TIMEOUT

A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Begin(Generic[A, R]):
    """What is begun: the workflow's `run` with its argument, under an id that says what it is about."""

    run: Callable[[Any, A], Awaitable[R]]
    arg: A
    id: str
    queue: str
    summary: str
    again: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE
    """Whether it may run anew once it has ended."""
    tenant_id: str | None = None
    subject_id: str | None = None

    @property
    def name(self) -> str:
        """Its class's, under which each is known; whoever begins a child by it does not care how that ends."""
        return self.run.__qualname__.partition(".")[0]

    @property
    def search_attributes(self) -> TypedSearchAttributes | None:
        """What it is found by from its first moment on."""
        known = ((attributes.TENANT_ID, self.tenant_id), (attributes.SUBJECT_REF, self.subject_id))
        pairs = [SearchAttributePair(key, value) for key, value in known if value is not None]
        return TypedSearchAttributes(pairs) if pairs else None


async def begin(
    client: Client, what: Begin[A, R], *, signal: str | None = None, told: Sequence[object] = ()
) -> WorkflowHandle[Any, R]:
    """Start it where it is not there, and tell it `signal` with what is `told`; the one that there is.

    Raises `UnavailableError`; it may be asked for again then.
    """
    try:
        return await client.start_workflow(
            what.run,
            what.arg,
            id=what.id,
            task_queue=what.queue,
            task_timeout=TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=what.again,
            search_attributes=what.search_attributes,
            start_signal=signal,
            start_signal_args=told,
            static_summary=what.summary,
            rpc_timeout=RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        return client.get_workflow_handle(what.id)
    except RPCError as error:
        msg = "the workflow service does not answer"
        raise UnavailableError(msg) from error


async def begin_and_ask(
    client: Client,
    start: WithStartWorkflowOperation[S, R],
    update: UpdateMethodMultiParam[[S], T],
    what: str,
) -> T | None:
    """Start it where it is not there, and wait for what its update answers; None where it may not begin again.

    The update is to read only, since each attempt is a new one. Raises `UnavailableError`, naming `what` was asked
    for; it may be asked for again then.
    """
    try:
        return await client.execute_update_with_start_workflow(
            update, start_workflow_operation=start, id=str(uuid4()), rpc_timeout=RPC_TIMEOUT
        )
    except WorkflowAlreadyStartedError:
        # Unawaited, the operation's own failure would be logged as never retrieved.
        with suppress(WorkflowAlreadyStartedError):
            await start.workflow_handle()
        return None
    except (WorkflowUpdateRPCTimeoutOrCancelledError, WorkflowUpdateFailedError, RPCError) as error:
        with suppress(RPCError, WorkflowUpdateRPCTimeoutOrCancelledError):
            await start.workflow_handle()
        msg = f"{what} was not answered in time; the same request may be sent again"
        raise UnavailableError(msg) from error


async def begin_child(what: Begin[A, R]) -> None:
    """Start it from within a workflow, which it outlives; one that is there already goes on by itself."""
    try:
        child = await workflow.start_child_workflow(
            what.name,
            what.arg,
            id=what.id,
            task_queue=what.queue,
            task_timeout=TASK_TIMEOUT,
            parent_close_policy=ParentClosePolicy.ABANDON,
            id_reuse_policy=what.again,
            search_attributes=what.search_attributes,
            static_summary=what.summary,
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("%s is there already", what.id)
    else:
        workflow.logger.debug("%s started as run %s", what.id, child.first_execution_run_id)
