"""When a doctor can be booked: published hours, and the free slots that follow from them.

A slot is computed from the rules and from the claims on the doctor's time; computing writes nothing. The rules:

- A session runs in the clinic's wall time, from `start` to `end`; `end <= start` means the next day, so that
  `00:00` to `00:00` is a whole day. It belongs to the date it starts on: a date's override replaces the weekly
  sessions that start on it, never the tail of the night before.
- Visits start at the session's start and every step after it. Lengths are elapsed time, also across a DST change.
- A visit with its buffers lies wholly inside its session. With a buffer before, the session's own start is
  therefore no visit's start; the first is the first step that leaves room.
- A visit belongs to the date that the clinic's clock shows at its start.
- Two sessions that offer the same start offer it once; the earlier session's capacity counts.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import accumulate, combinations
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from models.base import Id, Model
from models.cells import CELL
from models.wallclock import WallTime, epoch_seconds, midnight, minute_of_day

MAX_SESSIONS_PER_DAY = 24
MAX_OVERRIDES = 400
MAX_CAPACITY = 500
MAX_SERVICES_PER_SESSION = 100

_DAY_MINUTES = 24 * 60
_ONE_DAY = timedelta(days=1)
_ONE_SECOND = timedelta(seconds=1)


def _distinct(service_ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(service_ids)) != len(service_ids):
        msg = "a service is named twice"
        raise ValueError(msg)
    return service_ids


ServiceIds = Annotated[
    tuple[Id, ...], Field(min_length=1, max_length=MAX_SERVICES_PER_SESSION), AfterValidator(_distinct)
]


class Session(Model):
    """A stretch of consulting hours, in the clinic's wall time; `end <= start` means the next day."""

    start: WallTime
    end: WallTime
    service_ids: ServiceIds | None = Field(default=None, description="The services offered; absent: all.")
    capacity: int | None = Field(
        default=None, ge=1, le=MAX_CAPACITY, description="Patients per slot, from 2 on a group; absent: one."
    )

    def offers(self, service_id: str) -> bool:
        """Whether the service can be booked in this session."""
        return self.service_ids is None or service_id in self.service_ids

    def overlaps(self, other: Session) -> bool:
        """Whether both, starting on the same date, offer some service at the same wall time."""
        shared = self.service_ids is None or other.service_ids is None or set(self.service_ids) & set(other.service_ids)
        (start, end), (other_start, other_end) = self._minutes(), other._minutes()
        return bool(shared) and start < other_end and other_start < end

    def _minutes(self) -> tuple[int, int]:
        start, end = minute_of_day(self.start), minute_of_day(self.end)
        return start, end if end > start else end + _DAY_MINUTES


class WeeklyRule(Session):
    """A session that recurs each week."""

    weekday: int = Field(ge=0, le=6, description="0 is Monday.")


def _fit_in_one_day(sessions: Sequence[Session]) -> None:
    if len(sessions) > MAX_SESSIONS_PER_DAY:
        msg = f"at most {MAX_SESSIONS_PER_DAY} sessions start on one day"
        raise ValueError(msg)
    for one, other in combinations(sessions, 2):
        if one.overlaps(other):
            msg = f"the sessions {one.start}-{one.end} and {other.start}-{other.end} overlap for the same service"
            raise ValueError(msg)


def _coherent_day(sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    _fit_in_one_day(sessions)
    return sessions


class Override(Model):
    """What a date has in place of its weekly sessions; none at all means closed."""

    date: date
    sessions: Annotated[tuple[Session, ...], AfterValidator(_coherent_day)]


def _coherent_week(weekly: tuple[WeeklyRule, ...]) -> tuple[WeeklyRule, ...]:
    for weekday in range(7):
        _fit_in_one_day([rule for rule in weekly if rule.weekday == weekday])
    return weekly


def _one_per_date(overrides: tuple[Override, ...]) -> tuple[Override, ...]:
    if len({override.date for override in overrides}) != len(overrides):
        msg = "a date is overridden twice"
        raise ValueError(msg)
    return overrides


class Availability(Model):
    """A provider's published hours, with how soon and how far ahead they can be booked."""

    weekly: Annotated[
        tuple[WeeklyRule, ...], Field(max_length=7 * MAX_SESSIONS_PER_DAY), AfterValidator(_coherent_week)
    ] = ()
    overrides: Annotated[tuple[Override, ...], Field(max_length=MAX_OVERRIDES), AfterValidator(_one_per_date)] = ()
    min_notice_minutes: int | None = Field(
        default=None, ge=0, le=30 * _DAY_MINUTES, description="Notice before the visit; absent: the tenant's."
    )
    horizon_days: int | None = Field(
        default=None, ge=1, le=366, description="Bookable calendar days after today; absent: the tenant's."
    )


class ServiceTiming(NamedTuple):
    """How long a service takes, in minutes, each a multiple of five; without a step, visits stand back to back."""

    service_id: str
    duration_minutes: int
    buffer_before_minutes: int = 0
    buffer_after_minutes: int = 0
    slot_step_minutes: int | None = None


class Busy(NamedTuple):
    """Time `[start, end)` that a live claim or a leave takes from the doctor, buffers included, at any clinic.

    A group claim (`capacity` of 2 or more) also names its service and how many of its seats are taken: further
    patients may join exactly that slot. Leave out claims whose hold has expired.
    """

    start: datetime
    end: datetime
    service_id: str | None = None
    capacity: int = 1
    seats_taken: int = 1


class Slot(NamedTuple):
    """A visit that can be booked, all instants in UTC.

    The visit is `[start, end)`; with its buffers it claims `[claim_start, claim_end)`. `seats_left` is None where
    only one patient fits.
    """

    start: datetime
    end: datetime
    seats_left: int | None
    claim_start: datetime
    claim_end: datetime
    capacity: int


class SlotProblem(StrEnum):
    """Why a start cannot be booked, whatever the claims say."""

    INVALID = "invalid"
    TOO_SOON = "too_soon"
    TOO_FAR = "too_far"


def slots(  # noqa: PLR0913  rules, question and circumstances; a bundle of them would have this one user
    availability: Availability,
    timing: ServiceTiming,
    zone: ZoneInfo,
    first: date,
    last: date,
    now: datetime,
    *,
    busy: Sequence[Busy],
    min_notice_minutes: int,
    horizon_days: int,
) -> list[Slot]:
    """The free slots of a service whose visits start on the dates `first` to `last` (inclusive, in `zone`).

    Ordered by start, each start once, without a cap on their number. `min_notice_minutes` and `horizon_days` are
    the tenant's, used where `availability` sets none: a visit starts at least the notice after `now`, and at the
    latest on the calendar day (in `zone`) that many days after today. `busy` may come in any order.
    """
    starts = _offered(
        availability, timing, zone, (first, last), _window(availability, zone, now, min_notice_minutes, horizon_days)
    )
    return _free(starts, timing, busy)


def first_slots(  # noqa: PLR0913  as of `slots`
    availability: Availability,
    timing: ServiceTiming,
    zone: ZoneInfo,
    first: date,
    last: date,
    now: datetime,
    *,
    busy: Sequence[Busy],
    min_notice_minutes: int,
    horizon_days: int,
) -> dict[date, datetime]:
    """The start of the first of the `slots` of each date that has one, without making the others."""
    starts = _offered(
        availability, timing, zone, (first, last), _window(availability, zone, now, min_notice_minutes, horizon_days)
    )
    taken, next_day = _Taken(busy), 0
    found: dict[date, datetime] = {}
    for second in sorted(starts):
        if second >= next_day and taken.seats_left(second, timing, starts[second]) > 0:
            start = datetime.fromtimestamp(second, UTC)
            day = start.astimezone(zone).date()
            found.setdefault(day, start)
            next_day = math.ceil(midnight(day + _ONE_DAY, zone).timestamp())
    return found


def _offered(
    availability: Availability,
    timing: ServiceTiming,
    zone: ZoneInfo,
    dates: tuple[date, date],
    window: tuple[datetime, datetime],
) -> dict[int, int]:
    """The visits of those dates (inclusive) that may start within the window, whatever is busy; as `_starts`."""
    opens, closes = window
    # Dates that cannot yield a slot are cut off first, so that a date at the calendar's very end cannot overflow.
    first = max(dates[0], opens.astimezone(zone).date())
    last = min(dates[1], closes.astimezone(zone).date())
    if last < first:
        return {}
    begin, stop = max(opens, midnight(first, zone)), min(closes, midnight(last + _ONE_DAY, zone))
    return _starts(_sessions(availability, timing.service_id, zone, first, last), timing, begin, stop)


def _free(starts: Mapping[int, int], timing: ServiceTiming, busy: Sequence[Busy]) -> list[Slot]:
    """Those of some visits (start in seconds since 1970 UTC, and capacity) that are free, ordered by start."""
    taken = _Taken(busy)
    before, after = timedelta(minutes=timing.buffer_before_minutes), timedelta(minutes=timing.buffer_after_minutes)
    duration = timedelta(minutes=timing.duration_minutes)
    found = []
    for second in sorted(starts):
        capacity = starts[second]
        seats = taken.seats_left(second, timing, capacity)
        if seats > 0:
            start = datetime.fromtimestamp(second, UTC)
            end = start + duration
            found.append(Slot(start, end, seats if capacity > 1 else None, start - before, end + after, capacity))
    return found


def candidate(
    availability: Availability,
    timing: ServiceTiming,
    zone: ZoneInfo,
    start: datetime,
    now: datetime,
    *,
    min_notice_minutes: int,
    horizon_days: int,
    absent: Sequence[Busy] = (),
) -> Slot | SlotProblem:
    """The slot that starts at `start`, or why there is none; claims are not asked, the database refuses those.

    Finds exactly what `slots` lists where nothing but `absent` (leave) is busy. Notice and horizon are judged before
    the hours: a start in the past is too soon, at whatever time of the day.
    """
    start = start.astimezone(UTC)  # Instants of different zones never compare equal within a repeated hour.
    opens, closes = _window(availability, zone, now, min_notice_minutes, horizon_days)
    if start < opens:
        return SlotProblem.TOO_SOON
    if start >= closes:
        return SlotProblem.TOO_FAR
    day = start.astimezone(zone).date()
    sessions = _sessions(availability, timing.service_id, zone, day, day)
    # Within a second there is one start at most: a whole day's slots are not made to find one.
    found = _free(_starts(sessions, timing, start, start + _ONE_SECOND), timing, absent)
    return next((slot for slot in found if slot.start == start), SlotProblem.INVALID)


def _window(
    availability: Availability, zone: ZoneInfo, now: datetime, min_notice_minutes: int, horizon_days: int
) -> tuple[datetime, datetime]:
    """The instants between which a visit may start: from the first on, before the second."""
    notice, horizon = availability.min_notice_minutes, availability.horizon_days
    opens = now.astimezone(UTC) + timedelta(minutes=min_notice_minutes if notice is None else notice)
    days = (horizon_days if horizon is None else horizon) + 1
    return opens, midnight(now.astimezone(zone).date() + timedelta(days=days), zone)


def covers(availability: Availability, service_id: str, zone: ZoneInfo, start: datetime, end: datetime) -> bool:
    """Whether `[start, end)` lies wholly inside one session that offers the service; notice and horizon do not matter.

    It is what a visit that was booked is held against when the hours change: with its buffers, as it was booked.
    """
    begin, stop = start.timestamp(), end.timestamp()
    day = start.astimezone(zone).date()
    of_the_day = _sessions(availability, service_id, zone, day, day)
    return any(hours.start <= begin and stop <= hours.end for hours in of_the_day)


def open_hours(
    availability: Availability, zone: ZoneInfo, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """The stretches of `[start, end)` within which some service is offered: ordered, apart from each other, in UTC."""
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    begin, stop = math.floor(start.timestamp()), math.ceil(end.timestamp())
    merged: list[tuple[int, int]] = []
    for hours in sorted(_sessions(availability, None, zone, first, last)):
        opens, closes = max(hours.start, begin), min(hours.end, stop)
        if merged and opens <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], closes))
        elif opens < closes:
            merged.append((opens, closes))
    return [(datetime.fromtimestamp(opens, UTC), datetime.fromtimestamp(closes, UTC)) for opens, closes in merged]


def unclaimed(
    stretches: Sequence[tuple[datetime, datetime]], busy: Sequence[Busy], longest: timedelta
) -> list[tuple[datetime, datetime]]:
    """What of `stretches` nobody has, in pieces of at most `longest`, each on the borders of five-minute cells.

    The borders of a stretch that lie within a cell move outwards, so that nothing of it is left.
    """
    taken = sorted((math.floor(one.start.timestamp()), math.ceil(one.end.timestamp())) for one in busy)
    step = int(longest.total_seconds())
    pieces: list[tuple[int, int]] = []
    for start, end in stretches:
        begin, stop = _on_cells(start, end)
        for opens, closes in [*taken, (stop, stop)]:
            free_until = min(opens, stop)
            pieces += [(at, min(at + step, free_until)) for at in range(begin, free_until, step)]
            begin = max(begin, closes)
    return [(datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(stop, UTC)) for begin, stop in pieces]


def _on_cells(start: datetime, end: datetime) -> tuple[int, int]:
    length = int(CELL.total_seconds())
    return math.floor(start.timestamp() / length) * length, math.ceil(end.timestamp() / length) * length


class _Hours(NamedTuple):
    """A session of one date: its borders in seconds since 1970 UTC."""

    start: int
    end: int
    capacity: int


def _sessions(
    availability: Availability, service_id: str | None, zone: ZoneInfo, first: date, last: date
) -> Iterator[_Hours]:
    """The sessions that may reach the dates `first` to `last` and offer the service (None: any service)."""
    overrides = {override.date: override.sessions for override in availability.overrides}
    weekly = [tuple(rule for rule in availability.weekly if rule.weekday == weekday) for weekday in range(7)]
    # An overnight session reaches the next date, and the one after that where a DST change moves its end on.
    day = first - 2 * _ONE_DAY
    while day <= last:
        for session in overrides.get(day, weekly[day.weekday()]):
            if service_id is None or session.offers(service_id):
                ends_on = day if session.end > session.start else day + _ONE_DAY
                start, end = epoch_seconds(day, session.start, zone), epoch_seconds(ends_on, session.end, zone)
                yield _Hours(start, end, session.capacity or 1)
        day += _ONE_DAY


def _starts(sessions: Iterator[_Hours], timing: ServiceTiming, begin: datetime, stop: datetime) -> dict[int, int]:
    """The visits that may start in `[begin, stop)`: start (seconds since 1970 UTC) to capacity."""
    before, tail = timing.buffer_before_minutes * 60, (timing.duration_minutes + timing.buffer_after_minutes) * 60
    step = timing.slot_step_minutes * 60 if timing.slot_step_minutes else before + tail
    earliest, latest = math.ceil(begin.timestamp()), math.ceil(stop.timestamp())
    found: dict[int, int] = {}
    for hours in sorted(sessions):
        steps = math.ceil((max(hours.start + before, earliest) - hours.start) / step)
        for start in range(hours.start + steps * step, min(hours.end - tail + 1, latest), step):
            found.setdefault(start, hours.capacity)
    return found


class _Taken:
    """Busy times by start, with the latest end so far, so that asking for an overlap costs one bisection."""

    def __init__(self, busy: Sequence[Busy]) -> None:
        self._busy = sorted(
            ((math.floor(one.start.timestamp()), math.ceil(one.end.timestamp()), one) for one in busy),
            key=lambda entry: entry[0],
        )
        self._starts = [start for start, _, _ in self._busy]
        self._latest_ends = list(accumulate((end for _, end, _ in self._busy), max))

    def seats_left(self, visit: int, timing: ServiceTiming, capacity: int) -> int:
        """How many more patients fit the visit that starts at `visit` (seconds since 1970 UTC)."""
        start = visit - timing.buffer_before_minutes * 60
        end = visit + (timing.duration_minutes + timing.buffer_after_minutes) * 60
        index = bisect_left(self._starts, end) - 1
        if index < 0 or self._latest_ends[index] <= start:
            return capacity
        if capacity == 1:
            return 0
        return self._seats_beside(index, start, end, timing.service_id, capacity)

    def _seats_beside(self, index: int, start: int, end: int, service_id: str, capacity: int) -> int:
        seats = capacity
        # Each entry met here overlaps the visit, or begins after one that does and could not be joined either.
        while index >= 0 and self._latest_ends[index] > start:
            begins, ends, one = self._busy[index]
            if one.service_id != service_id or (begins, ends) != (start, end):
                return 0
            # A lowered rule and a claim opened under a smaller one both bind: neither is overfilled.
            seats = min(seats, capacity - one.seats_taken, one.capacity - one.seats_taken)
            index -= 1
        return seats
