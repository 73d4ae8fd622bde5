from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes

from bench.measures.history import billable


def _event(kind: EventType.ValueType) -> HistoryEvent:
    return HistoryEvent(event_type=kind)


def _local_step(workflow_task: int, name: str = "core_local_activity") -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_MARKER_RECORDED,
        marker_recorded_event_attributes=MarkerRecordedEventAttributes(
            marker_name=name, workflow_task_completed_event_id=workflow_task
        ),
    )


def test_the_local_steps_of_one_workflow_task_are_one_action() -> None:
    assert billable([_local_step(4), _local_step(4), _local_step(11)]) == 2


def test_workflow_tasks_and_other_markers_are_free() -> None:
    free = (
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
        EventType.EVENT_TYPE_TIMER_CANCELED,
    )
    assert billable([*map(_event, free), _local_step(4, name="core_patch")]) == 0


def test_starts_messages_timers_and_upserts_are_billed() -> None:
    billed = (
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    )
    assert billable(map(_event, billed)) == len(billed)
    assert billable([_event(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)]) == 2
