"""Bookings that are under way survive a new release: the histories of every path replay on today's code.

Where a replay fails, the change needs `workflow.patched`; `make histories` adds what a new path looks like.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from adapters.settings import Settings
from adapters.temporal.codec import data_converter
from tests.workflows.changed import ChangedBookingWorkflow
from workers.main import BOOKING_WORKFLOWS, BULK_WORKFLOWS, NOTIFY_WORKFLOWS
from workers.runner import workflow_runner

HISTORIES: Final = sorted((Path(__file__).parents[1] / "histories").glob("*.json"))
PATHS: Final = frozenset(
    {
        "account_closed",
        "at_clinic",
        "affected",
        "away",
        "cancelled_free",
        "cancelled_held",
        "cancelled_paid",
        "cancelled_while_preparing",
        "captured_by_bank",
        "day_over",
        "deletion_held",
        "deletion_taken_back",
        "expired",
        "followed_up",
        "followed_up_low",
        "followed_up_unwanted",
        "forgotten",
        "free",
        "kept_up",
        "kept_its_time",
        "nothing_over",
        "late_authorized",
        "late_captured",
        "missed",
        "moved",
        "order_preparing",
        "paid",
        "refund_unknown",
        "refused",
        "reminded",
        "reminder_called_off",
        "reminder_moved",
        "practice_goes_live",
        "practice_is_rejected_late",
        "practice_is_suspended",
        "practice_is_taken_back",
        "practice_is_withdrawn",
        "sealed",
        "exported",
        "exported_late",
        "export_stopped",
        "right_answered",
        "right_answered_late",
        "seat",
        "seat_moved",
        "sent_at_once",
        "sent_in_vain",
        "sent_later",
        "swept",
        "told_at_once",
        "told_by_mail",
        "told_by_mail_later",
        "told_nobody",
        "told_with_receipt",
        "visited",
    }
)
MOST_EVENTS: Final = 24
"""Up to the confirmation; what a booking costs at the workflow service is counted in events."""


def _replayer(workflows: Sequence[type]) -> Replayer:
    return Replayer(
        workflows=workflows,
        data_converter=data_converter(Settings().payload_keys),
        workflow_runner=workflow_runner(),
    )


def _history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_history_replays(path: Path) -> None:
    await _replayer([*BOOKING_WORKFLOWS, *NOTIFY_WORKFLOWS, *BULK_WORKFLOWS]).replay_workflow(_history(path))


def test_every_path_and_every_workflow_has_a_history() -> None:
    assert {path.stem.partition(".")[0] for path in HISTORIES} == PATHS
    kinds = Counter(_workflow_type(path) for path in HISTORIES)
    assert set(kinds) == {one.__name__ for one in (*BOOKING_WORKFLOWS, *NOTIFY_WORKFLOWS, *BULK_WORKFLOWS)}


def _workflow_type(path: Path) -> str:
    started = json.loads(path.read_text())["events"][0]["workflowExecutionStartedEventAttributes"]
    return str(started["workflowType"]["name"])


async def test_a_careless_change_does_not_replay() -> None:
    paid = next(path for path in HISTORIES if path.stem == "paid.booking")
    with pytest.raises(NondeterminismError):
        await _replayer([ChangedBookingWorkflow]).replay_workflow(_history(paid))


@pytest.mark.parametrize("name", ["paid", "captured_by_bank", "seat"])
def test_a_paid_booking_stays_short(name: str) -> None:
    path = next(path for path in HISTORIES if path.stem == f"{name}.booking")
    events = json.loads(path.read_text())["events"]
    confirmed = [event for event in events if '"confirmed"' in _booking_state(event)]
    assert len(confirmed) == 1
    assert int(confirmed[0]["eventId"]) <= MOST_EVENTS


def _booking_state(event: dict[str, object]) -> str:
    """The booking's state that an event shows to searches, as JSON; empty where it shows none."""
    upsert = event.get("upsertWorkflowSearchAttributesEventAttributes")
    if not isinstance(upsert, dict):
        return ""
    shown = upsert["searchAttributes"]["indexedFields"].get("BookingState")
    return "" if shown is None else base64.b64decode(shown["data"]).decode()
