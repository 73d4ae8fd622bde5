"""Requests by right over the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from models.base import Id, Model, UtcDatetime
from models.rights import RightsKind, RightsOutcome, RightsRequest, RightsState, Words


class ClaimRight(Model):
    """What somebody asks for."""

    text: Words
    appointment_id: Id | None = Field(default=None, description="The visit that it is about: then its clinic answers.")


class AnswerRight(Model):
    """An answer to it."""

    outcome: RightsOutcome
    text: Words


class RightView(BaseModel):
    """A request as both sides see it."""

    id: str
    kind: RightsKind
    state: RightsState
    appointment_id: str | None
    text: str | None = Field(description="Null once it was erased.")
    received_at: UtcDatetime
    due_at: UtcDatetime = Field(description="By when the law wants an answer.")
    overdue: bool
    outcome: RightsOutcome | None
    answer: str | None
    answered_at: UtcDatetime | None

    @classmethod
    def of(cls, request: RightsRequest) -> RightView:
        """As it stands now."""
        shown = request.model_dump(include=set(cls.model_fields))
        return cls(**shown, overdue=request.overdue(datetime.now(UTC)))


class RightPage(BaseModel):
    """A page of requests."""

    items: list[RightView]
    next_cursor: str | None
