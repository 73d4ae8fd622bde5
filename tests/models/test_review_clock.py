"""The clock of a review: what counts, when it is due, and that it stands still while the applicant must answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.review_clock import MARKS, ReviewCalendar, ReviewClock, after_work, worked

HOURS_48 = timedelta(hours=48)
MONDAY = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
"""09:00 in Kolkata."""

instants = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
amounts = st.timedeltas(timedelta(), timedelta(days=20))
sessions = st.tuples(st.integers(0, 22), st.integers(1, 23)).filter(lambda pair: pair[0] < pair[1])
calendars = st.builds(
    lambda zone, days, session, off: ReviewCalendar(
        timezone=zone,
        weekdays=tuple(sorted(days)),
        start=f"{session[0]:02}:30",
        end=f"{session[1]:02}:45",
        holidays=tuple(sorted(off)),
    ),
    st.sampled_from(["Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC"]),
    st.sets(st.integers(0, 6), min_size=1),
    sessions,
    st.sets(st.dates(date(2024, 1, 1), date(2028, 1, 1)), max_size=10),
)
clocks = st.builds(
    ReviewClock, allowed=st.timedeltas(timedelta(minutes=1), timedelta(days=20)), calendar=st.none() | calendars
)


@given(st.none() | calendars, instants, amounts)
def test_what_is_due_after_so_much_work_is_so_much_work_away(
    calendar: ReviewCalendar | None, since: datetime, amount: timedelta
) -> None:
    due = after_work(calendar, since, amount)
    assert due >= since
    assert worked(calendar, since, due) == amount
    if amount:
        assert worked(calendar, since, due - timedelta(microseconds=1)) < amount


@given(st.none() | calendars, instants, amounts, amounts)
def test_time_adds_up_wherever_it_is_cut(
    calendar: ReviewCalendar | None, since: datetime, one: timedelta, other: timedelta
) -> None:
    middle, end = since + one, since + one + other
    assert worked(calendar, since, middle) + worked(calendar, middle, end) == worked(calendar, since, end)
    assert timedelta() <= worked(calendar, since, end) <= end - since


@given(clocks, instants, amounts, amounts)
def test_waiting_for_the_applicant_uses_nothing(
    clock: ReviewClock, start: datetime, first: timedelta, pause: timedelta
) -> None:
    stopped = clock.started(start).stopped(start + first)
    assert stopped.due_at is None
    assert stopped.used_at(start + first + pause) == stopped.used
    again = stopped.started(start + first + pause)
    assert again.used_at(start + first + pause) == stopped.used
    if stopped.used <= clock.allowed:
        due = again.due_at
        assert due is not None
        assert again.used_at(due) == clock.allowed


@given(clocks, instants)
def test_the_marks_come_in_order(clock: ReviewClock, start: datetime) -> None:
    running = clock.started(start)
    reached = [running.reaches(mark) for mark in MARKS]
    assert reached == sorted(one for one in reached if one is not None)
    assert reached[-1] == running.due_at
    assert running.started(start + timedelta(days=1)) == running


def test_by_default_the_wall_clock_counts() -> None:
    assert ReviewClock(allowed=HOURS_48).started(MONDAY).due_at == MONDAY + HOURS_48


def test_in_working_hours_a_weekend_and_a_holiday_do_not_count() -> None:
    calendar = ReviewCalendar(holidays=(date(2026, 11, 25),))
    friday_evening = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # 17:30 in Kolkata
    due = after_work(calendar, friday_evening, timedelta(hours=19))
    # Half an hour on Friday, nine hours each on Monday and Tuesday, none on Wednesday, the rest on Thursday.
    assert due.astimezone(ZoneInfo("Asia/Kolkata")) == datetime(2026, 11, 26, 9, 30, tzinfo=ZoneInfo("Asia/Kolkata"))


def test_a_day_on_which_the_clocks_change_has_the_hours_that_it_has() -> None:
    whole_night = ReviewCalendar(timezone="America/New_York", weekdays=(6,), start="00:00", end="06:00")
    spring, autumn = date(2026, 3, 8), date(2026, 11, 1)
    lengths = []
    for day in (spring, autumn):
        hours = whole_night.hours_of(day)
        assert hours is not None
        lengths.append(hours[1] - hours[0])
    assert lengths == [timedelta(hours=5), timedelta(hours=7)]


def test_hours_swallowed_by_a_change_of_clocks_count_nothing() -> None:
    swallowed = ReviewCalendar(timezone="America/New_York", weekdays=(6,), start="02:00", end="02:30")
    assert worked(swallowed, datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)) <= timedelta(hours=1)


@pytest.mark.parametrize(
    "wrong", [{"weekdays": ()}, {"weekdays": (7,)}, {"weekdays": (0, 0)}, {"start": "18:00", "end": "09:00"}]
)
def test_a_calendar_without_working_time_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ReviewCalendar.model_validate(wrong)


def test_a_calendar_that_is_all_holidays_says_so() -> None:
    only_once = ReviewCalendar(weekdays=(0,), start="09:00", end="09:05")
    with pytest.raises(ValueError, match="too little"):
        after_work(only_once, MONDAY, timedelta(days=50))
