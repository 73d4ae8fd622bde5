"""The sandbox that workflows run in, spared of questions that nobody here asks."""

from __future__ import annotations

from typing import Final

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info

NOWHERE: Final = StorageDriverStoreContext(target=None)

PASSED_THROUGH: Final = ("models", "activities", "pydantic", "pydantic_core")
"""Pure packages of ours and the validation library: loading them anew for each workflow costs 99 instead of 2 ms."""


class ContextFreeRunner(SandboxedWorkflowRunner):
    """Runs each workflow in a sandbox of its own, and payloads are converted without knowing whose they are.

    Our converter and its codec never look at the workflow or the step that a payload belongs to. The library finds
    that out for every payload all the same, each time by compiling and running a line within the sandbox.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """One workflow's sandbox."""
        return _ContextFree(super().create_instance(det))


class _ContextFree(WorkflowInstance):
    """Hands everything on but the questions about contexts."""

    def __init__(self, instance: WorkflowInstance) -> None:
        self._instance = instance

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._instance.activate(act)

    def get_serialization_context(self, command_info: object) -> SerializationContext | None:
        del command_info
        return None

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        del command_info
        return NOWHERE

    def get_info(self) -> Info:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()


def workflow_runner() -> ContextFreeRunner:
    """The sandbox that workflows run in, here and where their histories are replayed."""
    return ContextFreeRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
