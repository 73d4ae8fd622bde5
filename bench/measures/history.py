"""How long a paid booking's history is when it is confirmed, and what it would be billed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory

from bench.figures import Figure, at_most
from bench.rig import Rig
from models.ids import booking_workflow_id

NUMBER = 7
LOCAL_ACTIVITY = "core_local_activity"
SETTLE_SECONDS = 10.0
POLL_SECONDS = 0.05

_BILLED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 1,
    EventType.EVENT_TYPE_TIMER_STARTED: 1,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: 1,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: 1,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: 2,
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: 1,
}
"""What one event of each type is billed (Temporal Cloud, Actions); all others are free, markers are told apart."""


async def measure(rig: Rig) -> list[Figure]:
    """Row 7, twice: events and actions. The wait for the visit belongs to the confirmed booking, its timer included."""
    rig.tell("history: one booking")
    placed = await rig.product.place()
    await rig.product.pay(placed)
    await rig.product.confirmed(placed)
    settings = rig.stack.settings
    client = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
    history = await _settled(client, booking_workflow_id(placed.appointment_id))
    count, detail = len(history.events), _counted(history.events)
    return [
        Figure(NUMBER, "events in a paid booking's history", count, at_most(24), detail),
        Figure(NUMBER, "billable actions of a paid booking", billable(history.events), at_most(10), _billed(history)),
    ]


async def _settled(client: Client, workflow_id: str) -> WorkflowHistory:
    """The history as soon as the last workflow task is done: the confirmation is told from within it."""
    handle = client.get_workflow_handle(workflow_id)
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            history = await handle.fetch_history()
            types = [event.event_type for event in history.events]
            if types[-1] not in _UNSETTLED and EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES in types:
                return history
            await asyncio.sleep(POLL_SECONDS)


_UNSETTLED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
}


def billable(events: Iterable[HistoryEvent]) -> int:
    """The actions behind a history. The local activities of one workflow task are one action, however many."""
    listed = list(events)
    tasks = {event.marker_recorded_event_attributes.workflow_task_completed_event_id for event in _markers(listed)}
    return len(tasks) + sum(_BILLED.get(event.event_type, 0) for event in listed)


def _markers(events: Iterable[HistoryEvent]) -> list[HistoryEvent]:
    return [
        event
        for event in events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
        and event.marker_recorded_event_attributes.marker_name == LOCAL_ACTIVITY
    ]


def _counted(events: Iterable[HistoryEvent]) -> str:
    counted = Counter(_name(event.event_type) for event in events)
    return ", ".join(f"{number} {name}" for name, number in counted.most_common())


def _billed(history: WorkflowHistory) -> str:
    counted = Counter(_name(event.event_type) for event in history.events if event.event_type in _BILLED)
    parts = [f"{number} {name}" for name, number in counted.most_common()]
    tasks = billable(history.events) - sum(_BILLED.get(event.event_type, 0) for event in history.events)
    return ", ".join([*parts, f"{tasks} workflow tasks with local steps"])


def _name(kind: EventType.ValueType) -> str:
    return EventType.Name(kind).removeprefix("EVENT_TYPE_").lower().replace("_", " ")
