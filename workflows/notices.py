"""How a workflow has somebody told something about an appointment."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from models.ids import notice_workflow_id
    from models.notices import Notice
    from workflows import attributes
    from workflows.policies import NOTIFY_QUEUE, TASK_TIMEOUT

NOTIFY_WORKFLOW = "NotifyWorkflow"


async def notify(notice: Notice) -> None:
    """Start its telling, once per notice; it goes on by itself when this workflow ends."""
    try:
        child = await workflow.start_child_workflow(
            NOTIFY_WORKFLOW,
            notice,
            id=notice_workflow_id(notice.id),
            task_queue=NOTIFY_QUEUE,
            task_timeout=TASK_TIMEOUT,
            parent_close_policy=ParentClosePolicy.ABANDON,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(attributes.TENANT_ID, notice.tenant_id),
                    SearchAttributePair(attributes.SUBJECT_REF, notice.recipient_id),
                ]
            ),
            static_summary=f"tell: {notice.template}",
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("this is already being told")
    else:
        workflow.logger.debug("telling started as run %s", child.first_execution_run_id)
