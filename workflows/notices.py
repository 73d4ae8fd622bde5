"""How somebody is told something about an appointment: one workflow per notice, whoever asks and however often."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.ids import notice_workflow_id
    from models.notices import Notice, NoticeState
    from workflows.notifying import NotifyWorkflow
    from workflows.policies import NOTIFY_QUEUE
    from workflows.starting import Begin, begin_child


def telling_of(notice: Notice) -> Begin[Notice, NoticeState]:
    """The telling of a notice; nothing of what it says."""
    return Begin(
        NotifyWorkflow.run,
        notice,
        id=notice_workflow_id(notice.id),
        queue=NOTIFY_QUEUE,
        summary=f"tell: {notice.template}",
        tenant_id=notice.tenant_id,
        subject_id=notice.recipient_id,
    )


async def notify(notice: Notice) -> None:
    """Start its telling from within a workflow, once per notice; it goes on by itself when that workflow ends."""
    await begin_child(telling_of(notice))
