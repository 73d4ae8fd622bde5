"""Requests by right: a grievance, or the wish to have something corrected; answered in time, by a person.

Digital Personal Data Protection Act 2023, sections 12 and 13; Rules 2025, rule 14(3): within ninety days at most.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime
from models.due_clock import reaches
from models.policy import TenantPolicy

MOST_OPEN: Final = 20
"""So many requests of one person may wait at once."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class RightsKind(StrEnum):
    """What is asked for."""

    GRIEVANCE = "grievance"
    CORRECTION = "correction"


class RightsState(StrEnum):
    """Whether it was answered."""

    RECEIVED = "received"
    ANSWERED = "answered"


class RightsOutcome(StrEnum):
    """What the answer says."""

    GRANTED = "granted"
    REFUSED = "refused"


class RightsRequest(Model):
    """One request; `tenant_id` is who answers it: the clinic that it is about, else the platform.

    Its words and the answer's are sealed under the person's identity key; None where that was destroyed.
    """

    id: Id
    kind: RightsKind
    tenant_id: Id
    subject_id: Id
    appointment_id: Id | None = None
    text: str | None
    state: RightsState = RightsState.RECEIVED
    received_at: UtcDatetime
    due_at: UtcDatetime
    reached: int = Field(default=0, ge=0, le=100)
    """The highest mark of the clock that was reached."""
    outcome: RightsOutcome | None = None
    answer: str | None = None
    answered_at: UtcDatetime | None = None
    version: int = 1

    def overdue(self, now: datetime) -> bool:
        """Whether it waits for longer than the law allows."""
        return self.state is RightsState.RECEIVED and now >= self.due_at


class RightsRef(Model):
    """What a workflow knows of a request."""

    request_id: Id
    tenant_id: Id
    subject_id: Id
    received_at: UtcDatetime
    due_at: UtcDatetime

    @classmethod
    def of(cls, request: RightsRequest) -> RightsRef:
        """Its ids and times."""
        return cls(
            request_id=request.id,
            tenant_id=request.tenant_id,
            subject_id=request.subject_id,
            received_at=request.received_at,
            due_at=request.due_at,
        )

    def reaches(self, percent: int) -> datetime:
        """When so much of the time is used (UTC)."""
        return reaches(self.received_at, self.due_at, percent)


def due_at(policy: TenantPolicy, kind: RightsKind, received_at: datetime) -> datetime:
    """By when a request of that kind is answered (UTC)."""
    days = policy.grievance_days if kind is RightsKind.GRIEVANCE else policy.correction_days
    return received_at + timedelta(days=days)
