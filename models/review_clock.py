"""The clock of a review: how much of the promised time is used, and when it will be.

The promise runs on the wall clock, or only in the working hours of a calendar. It stands still while the applicant
must answer. Working days are days of the calendar's zone; a session that ends at or before its start is refused, since
working hours of one day do not reach into the next.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from models.base import Model, UtcDatetime, ZoneName
from models.wallclock import WallTime, epoch_seconds, minute_of_day

MARKS: Final = (50, 80, 100)
"""Percent of the promised time at which somebody is told: twice a warning, then an escalation."""

_LONGEST_WAIT: Final = 3660
"""Days within which a calendar must have enough working time: a promise is at most 60 days of work."""

_ONE_DAY: Final = timedelta(days=1)


def _weekdays(days: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(days)) != len(days) or not all(0 <= day <= 6 for day in days):  # noqa: PLR2004  0 is Monday
        msg = "weekdays go from 0 (Monday) to 6, each once"
        raise ValueError(msg)
    return days


class ReviewCalendar(Model):
    """The hours in which reviewers work, in wall time of a zone."""

    timezone: ZoneName = "Asia/Kolkata"
    weekdays: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_weekdays)] = (0, 1, 2, 3, 4)
    start: WallTime = "09:00"
    end: WallTime = "18:00"
    holidays: Annotated[tuple[date, ...], Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> Self:
        if minute_of_day(self.end) <= minute_of_day(self.start):
            msg = "working hours end after they start, on the same day"
            raise ValueError(msg)
        return self

    def hours_of(self, day: date) -> tuple[datetime, datetime] | None:
        """The working hours of a day (UTC); None on a day off, and where a change of clocks swallows them."""
        if day.weekday() not in self.weekdays or day in self.holidays:
            return None
        zone = ZoneInfo(self.timezone)
        opens, closes = (datetime.fromtimestamp(epoch_seconds(day, at, zone), UTC) for at in (self.start, self.end))
        return (opens, closes) if opens < closes else None


def worked(calendar: ReviewCalendar | None, since: datetime, until: datetime) -> timedelta:
    """The counted time from `since` to `until`; nothing where `until` is not later."""
    if until <= since:
        return timedelta()
    if calendar is None:
        return until - since
    total = timedelta()
    zone = ZoneInfo(calendar.timezone)
    day, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    while day <= last:
        if (hours := calendar.hours_of(day)) is not None:
            total += max(timedelta(), min(hours[1], until) - max(hours[0], since))
        day += _ONE_DAY
    return total


def after_work(calendar: ReviewCalendar | None, since: datetime, amount: timedelta) -> datetime:
    """The first instant (UTC) at which `amount` of counted time has passed since `since`.

    Raises `ValueError` where the calendar has too little working time within ten years.
    """
    if amount <= timedelta() or calendar is None:
        return since + max(amount, timedelta())
    left, day = amount, since.astimezone(ZoneInfo(calendar.timezone)).date()
    for _ in range(_LONGEST_WAIT):
        if (hours := calendar.hours_of(day)) is not None:
            begin = max(hours[0], since)
            if left <= hours[1] - begin:
                return begin + left
            left -= max(timedelta(), hours[1] - begin)
        day += _ONE_DAY
    msg = "the calendar has too little working time"
    raise ValueError(msg)


class ReviewClock(Model):
    """How much of the promised time was used when the clock last stopped, and since when it runs again."""

    allowed: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(days=60))]
    calendar: ReviewCalendar | None = None
    used: timedelta = timedelta()
    running_since: UtcDatetime | None = None

    def used_at(self, now: datetime) -> timedelta:
        """The counted time until now."""
        if self.running_since is None:
            return self.used
        return self.used + worked(self.calendar, self.running_since, now)

    def started(self, now: datetime) -> ReviewClock:
        """The clock running; one that runs is left alone."""
        return self if self.running_since is not None else self.model_copy(update={"running_since": now})

    def stopped(self, now: datetime) -> ReviewClock:
        """The clock standing still, with what was used until now."""
        return self.model_copy(update={"used": self.used_at(now), "running_since": None})

    def reaches(self, percent: int) -> datetime | None:
        """When so much of the promised time will be used (UTC); None while the clock stands still."""
        if self.running_since is None:
            return None
        return after_work(self.calendar, self.running_since, self.allowed * percent / 100 - self.used)

    @property
    def due_at(self) -> datetime | None:
        """When the promised time is over (UTC); None while the clock stands still."""
        return self.reaches(100)
