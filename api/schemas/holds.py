"""Legal holds over the wire."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from models.base import Id, Model, UtcDatetime
from models.data_classes import RetentionClass
from models.holds import HoldReason, LegalHold, Reference


class PlaceHold(Model):
    """What may not be erased, and why."""

    subject_id: Id
    retained_under: RetentionClass | None = Field(default=None, description="One class of data; absent: everything.")
    reason: HoldReason
    reference: Reference = Field(description="The matter's own number; never a person's name.")
    until: UtcDatetime


class HoldView(BaseModel):
    """A hold as the platform's admins see it."""

    id: str
    subject_id: str
    retained_under: RetentionClass | None
    reason: HoldReason
    reference: str
    placed_by: str
    placed_at: UtcDatetime
    until: UtcDatetime
    lifted_at: UtcDatetime | None

    @classmethod
    def of(cls, hold: LegalHold) -> Self:
        """As it stands now."""
        return cls(**hold.model_dump(include=set(cls.model_fields)))


class HoldPage(BaseModel):
    """The holds on a person."""

    items: list[HoldView]
    next_cursor: str | None = None
