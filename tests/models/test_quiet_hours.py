"""Quiet hours by the clock on somebody's wall, also where clocks are changed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.policy import QuietHours
from models.quiet_hours import MARGIN, SPREAD_FROM, SPREAD_TO, ahead_of, brought_forward, put_off, quiet_period

ZONES = ("Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC")
NIGHT = QuietHours()
DAY = timedelta(days=1)

aheads = st.text(max_size=30).map(ahead_of)
clock_times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
hours = st.builds(QuietHours, start=clock_times, end=clock_times)
zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  a bound


def at(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("wall", "forward", "off"),
    [
        ("2026-11-10T20:59", "2026-11-10T20:59", "2026-11-10T20:59"),
        ("2026-11-10T21:00", "2026-11-10T20:59", "2026-11-11T08:00"),
        ("2026-11-11T00:00", "2026-11-10T20:59", "2026-11-11T08:00"),
        ("2026-11-11T07:59", "2026-11-10T20:59", "2026-11-11T08:00"),
        ("2026-11-11T08:00", "2026-11-11T08:00", "2026-11-11T08:00"),
    ],
)
def test_the_night_is_quiet(zone: str, wall: str, forward: str, off: str) -> None:
    instant, where = at(wall, zone), ZoneInfo(zone)
    assert brought_forward(instant, NIGHT, where, MARGIN) == at(forward, zone)
    assert put_off(instant, NIGHT, where) == at(off, zone)


def test_an_afternoon_can_be_quiet_and_hours_that_start_when_they_end_are_none() -> None:
    siesta, zone = QuietHours(start=time(13), end=time(15, 30)), ZoneInfo("Asia/Kolkata")
    noon = at("2026-11-10T14:00", "Asia/Kolkata")
    assert brought_forward(noon, siesta, zone, MARGIN) == at("2026-11-10T12:59", "Asia/Kolkata")
    assert put_off(noon, siesta, zone) == at("2026-11-10T15:30", "Asia/Kolkata")
    assert quiet_period(at("2026-11-10T15:30", "Asia/Kolkata"), siesta, zone) is None
    assert quiet_period(noon, QuietHours(start=time(9), end=time(9)), zone) is None


@pytest.mark.parametrize(
    ("zone", "night", "length"),
    [
        # Clocks go forward: the night is shorter; they go back: longer. Lord Howe changes by half an hour.
        ("America/New_York", "2026-03-07T21:00", timedelta(hours=10)),
        ("America/New_York", "2026-10-31T21:00", timedelta(hours=12)),
        ("Australia/Lord_Howe", "2026-10-03T21:00", timedelta(hours=10, minutes=30)),
        ("Australia/Lord_Howe", "2026-04-04T21:00", timedelta(hours=11, minutes=30)),
        ("America/Havana", "2026-03-07T21:00", timedelta(hours=10)),
        ("America/Havana", "2026-10-31T21:00", timedelta(hours=12)),
        ("Asia/Kolkata", "2026-03-07T21:00", timedelta(hours=11)),
    ],
)
def test_a_night_in_which_clocks_change_lasts_as_long_as_it_does(zone: str, night: str, length: timedelta) -> None:
    begin = at(night, zone)
    period = quiet_period(begin + timedelta(hours=5), NIGHT, ZoneInfo(zone))
    assert period == (begin, begin + length)


def test_a_quiet_that_begins_at_a_midnight_that_is_skipped_begins_when_the_day_does() -> None:
    havana = ZoneInfo("America/Havana")
    period = quiet_period(at("2026-03-08T05:00", "America/Havana"), QuietHours(start=time(0), end=time(7)), havana)
    assert period is not None
    assert period.begin == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert period.begin.astimezone(havana).time() == time(1)


def test_what_one_night_brings_forward_is_spread_over_the_hour_before_it() -> None:
    ahead = [ahead_of(f"apt_{number}") for number in range(9_000)]
    assert ahead == [ahead_of(f"apt_{number}") for number in range(9_000)]
    assert all(SPREAD_TO < one <= SPREAD_FROM for one in ahead)
    # A minute's fair share is 200.
    minutes = Counter(one // timedelta(minutes=1) for one in ahead)
    assert len(minutes) >= 45
    assert max(minutes.values()) < 300


def test_where_there_is_no_such_hour_it_comes_just_before_the_quiet() -> None:
    nearly_always = QuietHours(start=time(9), end=time(8, 30))
    noon = at("2026-11-10T12:00", "Asia/Kolkata")
    for ahead, came in ((SPREAD_TO, "08:45"), (timedelta(minutes=30), "08:30"), (SPREAD_FROM, "08:59")):
        forward = brought_forward(noon, nearly_always, ZoneInfo("Asia/Kolkata"), ahead)
        assert forward == at(f"2026-11-10T{came}", "Asia/Kolkata")


@given(instants, hours, zones, aheads)
def test_forward_is_never_later_and_off_never_earlier_and_neither_is_quiet(
    instant: datetime, quiet: QuietHours, zone: ZoneInfo, ahead: timedelta
) -> None:
    earlier, later = brought_forward(instant, quiet, zone, ahead), put_off(instant, quiet, zone)
    assert earlier <= instant <= later
    assert quiet_period(earlier, quiet, zone) is None
    assert quiet_period(later, quiet, zone) is None
    # Half an hour or an hour more is what a change of clocks may add.
    assert instant - earlier <= DAY + timedelta(hours=1) + ahead
    assert later - instant <= DAY + timedelta(hours=1)


@given(instants, hours, zones, aheads)
def test_what_is_not_quiet_stays_where_it_is(
    instant: datetime, quiet: QuietHours, zone: ZoneInfo, ahead: timedelta
) -> None:
    if quiet_period(instant, quiet, zone) is None:
        assert brought_forward(instant, quiet, zone, ahead) == put_off(instant, quiet, zone) == instant


@given(instants, hours, zones)
def test_the_wall_shows_a_quiet_time_except_where_clocks_change(
    instant: datetime, quiet: QuietHours, zone: ZoneInfo
) -> None:
    offsets = {(instant + step * timedelta(hours=1)).astimezone(zone).utcoffset() for step in range(-25, 26)}
    if len(offsets) > 1:
        return
    wall = instant.astimezone(zone).time()
    by_day, by_night = quiet.start <= wall < quiet.end, wall >= quiet.start or wall < quiet.end
    shown = by_day if quiet.start <= quiet.end else by_night
    assert (quiet_period(instant, quiet, zone) is not None) is shown
