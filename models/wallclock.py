"""Clinic wall-clock times and the instants they stand for.

A wall time that a DST change skips moves forward by what was skipped (02:30 becomes 03:30 where 02:00 jumps to
03:00); one that comes twice means its first occurrence. Both are RFC 5545's reading (section 3.3.5) and Python's
with `fold=0`. Every offset in use since 2000 is a multiple of fifteen minutes, so a wall time on the five-minute
grid is an instant on it too; the odd offsets of earlier decades are not provided for.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, StringConstraints

_GRID_MINUTES = 5


def minute_of_day(wall: str) -> int:
    """`HH:MM` as minutes since midnight."""
    return int(wall[:2]) * 60 + int(wall[3:])


def _on_grid(wall: str) -> str:
    if minute_of_day(wall) % _GRID_MINUTES:
        msg = f"must be a multiple of {_GRID_MINUTES} minutes"
        raise ValueError(msg)
    return wall


WallTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), AfterValidator(_on_grid)]
"""A time of day on the clinic's wall, `HH:MM` from 00:00 to 23:55, on the five-minute grid."""


# Doctors of one city open at the same few wall times: a list of slots asks for the same instants again and again.
@lru_cache(maxsize=16_384)
def epoch_seconds(day: date, wall: str, zone: ZoneInfo) -> int:
    """The instant, in seconds since 1970-01-01T00:00Z, at which the clock in `zone` shows `wall` on `day`."""
    return int(datetime.combine(day, time.fromisoformat(wall), tzinfo=zone).timestamp())


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which `day` begins in `zone`: 01:00 where a DST change skips midnight."""
    return datetime.fromtimestamp(epoch_seconds(day, "00:00", zone), UTC)
