"""What operators read: what each workflow waits for, until when, and what it has done."""

from __future__ import annotations

from models.base import Model, UtcDatetime
from models.booking import WaitingFor


class WorkflowStatus(Model):
    """The answer of every workflow's `status` query."""

    state: str
    waiting_for: WaitingFor | None
    done: tuple[str, ...]


class WorkflowView(Model):
    """A workflow as operators see it through the API."""

    id: str
    run_id: str
    type: str
    status: str
    started_at: UtcDatetime
    closed_at: UtcDatetime | None
    state: str | None
    waiting_for: WaitingFor | None
    done: tuple[str, ...]
    temporal_ui_url: str


class ReconciliationTally(Model):
    """What one sweep found and set right."""

    webhooks_signalled: int = 0
    orders_asked: int = 0
    payments_found: int = 0
    orders_refused: int = 0
    refunds_revived: int = 0
    bookings_revived: int = 0
