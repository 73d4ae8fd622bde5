"""What a practice publishes, over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Self

from pydantic import BaseModel, Field, StringConstraints

from api.schemas.values import LeaveBound, Line, Text
from models.availability import Availability, Override, WeeklyRule
from models.base import Model, UtcDatetime
from models.providers import Service
from models.publishing import MAX_SERVICES, Affected, Leave, LeaveState, LeaveTally, ServiceDraft

MAX_LISTED: Final = 100
"""How many affected bookings an answer names; it always counts them all."""


class ServiceInput(ServiceDraft):
    """A service to publish; a new one comes without an id, and absent fields have their defaults."""

    name: Annotated[Line, StringConstraints(max_length=120)]


ServiceInputs = Annotated[list[ServiceInput], Field(max_length=MAX_SERVICES)]


class WithAffected(BaseModel):
    """The bookings that a change has left outside: none of them was touched."""

    affected: list[Affected] = Field(
        description="Open bookings that no longer fit what is published, soonest first; at most 100."
    )
    affected_total: int = Field(description="How many there are.")


class ServiceList(WithAffected):
    """All services of a provider."""

    items: list[Service]
    next_cursor: None = None

    @classmethod
    def of(cls, services: Sequence[Service], affected: Sequence[Affected] = ()) -> Self:
        """What is published now."""
        listed = list(affected[:MAX_LISTED])
        return cls(items=list(services), affected=listed, affected_total=len(affected))


class LeaveInput(Model):
    """Time in which the provider does not work at this clinic; a date stands for that whole day on its clock."""

    start: LeaveBound
    end: LeaveBound = Field(description="An instant (exclusive), or the last date (inclusive).")
    reason: Annotated[Text, StringConstraints(max_length=300)] | None = Field(
        default=None, description="Stored encrypted; only the practice sees it."
    )


class LeaveView(WithAffected):
    """A leave that was asked for."""

    id: str
    start: UtcDatetime
    end: UtcDatetime
    timezone: str = Field(description="The clinic's IANA zone.")
    state: LeaveState = Field(description="`taking` while free time is still being blocked.")
    tally: LeaveTally

    @classmethod
    def of(cls, leave: Leave, timezone: str, affected: Sequence[Affected]) -> Self:
        """The leave with the bookings that lie within it."""
        listed = list(affected[:MAX_LISTED])
        tally = leave.tally.model_copy(update={"appointments": len(affected)})
        fields = leave.model_dump(include={"id", "start", "end", "state"})
        return cls(timezone=timezone, affected=listed, affected_total=len(affected), tally=tally, **fields)


class LeaveEntry(BaseModel):
    """A leave in a list."""

    id: str
    start: UtcDatetime
    end: UtcDatetime
    state: LeaveState
    reason: str | None
    tally: LeaveTally = Field(description="What it had met when its time was blocked.")

    @classmethod
    def of(cls, leave: Leave, reason: str | None) -> Self:
        """What the practice sees of it."""
        return cls(reason=reason, **leave.model_dump(include={"id", "start", "end", "state"}), tally=leave.tally)


class LeavePage(BaseModel):
    """One page of leaves, the latest first."""

    items: list[LeaveEntry]
    next_cursor: str | None
    timezone: str


class AvailabilityView(WithAffected):
    """A provider's published hours, in the clinic's wall time."""

    timezone: str = Field(description="The clinic's IANA zone.")
    weekly: tuple[WeeklyRule, ...]
    overrides: tuple[Override, ...]
    min_notice_minutes: int | None = Field(description="Null: the tenant's.")
    horizon_days: int | None = Field(description="Null: the tenant's.")

    @classmethod
    def of(cls, availability: Availability, timezone: str, affected: Sequence[Affected] = ()) -> Self:
        """What is published now."""
        listed = list(affected[:MAX_LISTED])
        fields = dict(availability)
        return cls(timezone=timezone, affected=listed, affected_total=len(affected), **fields)
