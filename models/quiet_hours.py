"""The hours in which somebody is left in peace, by the clock on their own wall.

A quiet period runs from one wall time to the next; each of them is read as everywhere (`models.wallclock`): skipped by
a change of clocks it moves forward, shown twice it means the first time. Hours that start when they end are none.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from models.policy import QuietHours
from models.wallclock import epoch_seconds

MARGIN: Final = timedelta(minutes=1)
"""What is brought forward comes at least so long before the quiet: it should have arrived when that begins."""

SPREAD_FROM: Final = timedelta(hours=1)
SPREAD_TO: Final = timedelta(minutes=15)
"""And spread between these two before it: what one night brings forward would all fall on one minute, in which only
some hundreds of messages can leave.
"""

_ONE_DAY: Final = timedelta(days=1)


class Period(NamedTuple):
    """A stretch of quiet, half-open (UTC)."""

    begin: datetime
    end: datetime


def quiet_period(instant: datetime, quiet: QuietHours, zone: ZoneInfo) -> Period | None:
    """The quiet period that an instant lies in, if it lies in one."""
    if quiet.start == quiet.end:
        return None
    today = instant.astimezone(zone).date()
    overnight = quiet.end < quiet.start
    for day in (today - _ONE_DAY, today):
        begin = epoch_seconds(day, f"{quiet.start:%H:%M}", zone)
        end = epoch_seconds(day + _ONE_DAY if overnight else day, f"{quiet.end:%H:%M}", zone)
        if begin <= instant.timestamp() < end:
            return Period(datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC))
    return None


def ahead_of(key: str) -> timedelta:
    """How long before the quiet something comes that is brought forward: by its key always the same, whole seconds."""
    spread = int((SPREAD_FROM - SPREAD_TO).total_seconds())
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    return SPREAD_TO + timedelta(seconds=1 + number % spread)


def brought_forward(instant: datetime, quiet: QuietHours, zone: ZoneInfo, ahead: timedelta) -> datetime:
    """The instant itself, or one so long before the quiet hours that it lies in.

    Hardly before them where the time between two of them is not long enough for that.
    """
    while (period := quiet_period(instant, quiet, zone)) is not None:
        early = period.begin - ahead
        instant = early if quiet_period(early, quiet, zone) is None else period.begin - MARGIN
    return instant


def put_off(instant: datetime, quiet: QuietHours, zone: ZoneInfo) -> datetime:
    """The instant itself, or the end of the quiet hours that it lies in."""
    while (period := quiet_period(instant, quiet, zone)) is not None:
        instant = period.end
    return instant
