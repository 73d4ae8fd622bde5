"""A time that somebody of the clinic grants by hand: outside the hours or without notice, but never twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from models.availability import Availability, ServiceTiming, Slot, SlotProblem, candidate
from models.cells import CELL

LONGEST_HORIZON: Final = 366
"""Days: as far ahead as any provider can be booked."""


def off_hours(
    availability: Availability, timing: ServiceTiming, zone: ZoneInfo, start: datetime, now: datetime
) -> Slot | SlotProblem:
    """The visit that starts at `start`, whatever hours, leave and notice say; whether it is free, the claims know.

    Where the hours have a place for it, it is that one, a seat in a session included. It must stand on the borders of
    five-minute cells, may have begun but not be over, and is at most a year ahead.
    """
    unbound = availability.model_copy(update={"min_notice_minutes": None, "horizon_days": None})
    duration = timedelta(minutes=timing.duration_minutes)
    slot = candidate(unbound, timing, zone, start, now - duration, min_notice_minutes=0, horizon_days=LONGEST_HORIZON)
    if isinstance(slot, Slot) or slot is not SlotProblem.INVALID:
        return slot
    if start.timestamp() % CELL.total_seconds():
        return SlotProblem.INVALID
    before, after = timedelta(minutes=timing.buffer_before_minutes), timedelta(minutes=timing.buffer_after_minutes)
    return Slot(start, start + duration, None, start - before, start + duration + after, 1)
