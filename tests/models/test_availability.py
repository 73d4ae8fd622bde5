"""Slots worked out by hand, date by date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from models.availability import (
    Availability,
    Busy,
    Override,
    ServiceTiming,
    Session,
    Slot,
    SlotProblem,
    WeeklyRule,
    candidate,
    slots,
)

KOLKATA = ZoneInfo("Asia/Kolkata")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
HAVANA = ZoneInfo("America/Havana")
NUUK = ZoneInfo("America/Nuuk")

FRIDAY, SATURDAY, SUNDAY, MONDAY = 4, 5, 6, 0
# A Monday; India is 5:30 ahead of UTC all year.
DAY = date(2026, 3, 2)
LONG_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)

TWENTY = ServiceTiming("consult", 20)
HALF_HOUR = ServiceTiming("consult", 30)
HOUR = ServiceTiming("consult", 60)


def week(*sessions: tuple[int, str, str]) -> Availability:
    return Availability(
        weekly=tuple(WeeklyRule(weekday=weekday, start=start, end=end) for weekday, start, end in sessions)
    )


def group(capacity: int) -> Availability:
    return Availability(weekly=(WeeklyRule(weekday=MONDAY, start="09:00", end="10:00", capacity=capacity),))


def listed(
    availability: Availability,
    timing: ServiceTiming = TWENTY,
    zone: ZoneInfo = KOLKATA,
    first: date = DAY,
    last: date | None = None,
    *,
    now: datetime = LONG_BEFORE,
    busy: Sequence[Busy] = (),
) -> list[Slot]:
    return slots(
        availability, timing, zone, first, last or first, now, busy=busy, min_notice_minutes=0, horizon_days=366
    )


def wall(found: Sequence[Slot], zone: ZoneInfo = KOLKATA) -> list[str]:
    return [slot.start.astimezone(zone).strftime("%H:%M") for slot in found]


def utc(found: Sequence[Slot]) -> list[str]:
    return [slot.start.strftime("%d %H:%M") for slot in found]


def ist(text: str) -> datetime:
    return datetime.strptime(f"2026-03-02 {text} +0530", "%Y-%m-%d %H:%M %z")


def test_visits_stand_back_to_back_and_the_last_fits_wholly() -> None:
    assert wall(listed(week((MONDAY, "09:00", "10:00")))) == ["09:00", "09:20", "09:40"]
    assert wall(listed(week((MONDAY, "09:00", "10:00")), ServiceTiming("consult", 25))) == ["09:00", "09:25"]


def test_a_slot_carries_its_instants_in_utc() -> None:
    timing = ServiceTiming("consult", 20, buffer_before_minutes=5, buffer_after_minutes=10, slot_step_minutes=30)
    (slot,) = listed(week((MONDAY, "09:00", "10:00")), timing)
    assert slot == Slot(
        start=datetime(2026, 3, 2, 4, 0, tzinfo=UTC),
        end=datetime(2026, 3, 2, 4, 20, tzinfo=UTC),
        seats_left=None,
        claim_start=datetime(2026, 3, 2, 3, 55, tzinfo=UTC),
        claim_end=datetime(2026, 3, 2, 4, 30, tzinfo=UTC),
        capacity=1,
    )
    assert slot.start.tzinfo is UTC


def test_buffers_lie_inside_the_session() -> None:
    # Every 30 minutes from 09:00; at 09:00 the buffer before would stick out, at 11:00 the visit would.
    timing = ServiceTiming("consult", 20, buffer_before_minutes=5, buffer_after_minutes=5)
    assert wall(listed(week((MONDAY, "09:00", "11:00")), timing)) == ["09:30", "10:00", "10:30"]
    assert wall(listed(week((MONDAY, "09:00", "10:50")), timing)) == ["09:30", "10:00"]


def test_the_step_may_be_shorter_or_longer_than_the_visit() -> None:
    morning = week((MONDAY, "09:00", "10:00"))
    assert wall(listed(morning, ServiceTiming("consult", 30, slot_step_minutes=15))) == ["09:00", "09:15", "09:30"]
    assert wall(listed(morning, ServiceTiming("consult", 10, slot_step_minutes=45))) == ["09:00", "09:45"]


def test_a_session_too_short_for_the_visit_offers_nothing() -> None:
    assert listed(week((MONDAY, "09:00", "09:15"))) == []


def test_both_dates_are_included_and_no_others() -> None:
    daily = week(*((weekday, "09:00", "09:20") for weekday in range(7)))
    found = listed(daily, first=DAY, last=DAY + timedelta(days=2))
    assert [slot.start.astimezone(KOLKATA).date().day for slot in found] == [2, 3, 4]
    assert listed(daily, first=DAY, last=DAY - timedelta(days=1)) == []


def test_an_overnight_session_is_split_at_midnight_between_its_dates() -> None:
    night = week((FRIDAY, "22:00", "02:00"))
    friday = date(2026, 3, 6)
    assert wall(listed(night, HOUR, first=friday)) == ["22:00", "23:00"]
    assert wall(listed(night, HOUR, first=friday + timedelta(days=1))) == ["00:00", "01:00"]
    assert listed(night, HOUR, first=friday + timedelta(days=2)) == []


def test_midnight_to_midnight_is_the_whole_day() -> None:
    found = listed(week((MONDAY, "00:00", "00:00")), HOUR)
    assert wall(found) == [f"{hour:02d}:00" for hour in range(24)]


def test_a_night_that_runs_into_the_next_mornings_session_offers_each_start_once() -> None:
    both = week((MONDAY, "22:00", "02:00"), (1, "00:00", "03:00"))
    assert wall(listed(both, HOUR, first=DAY + timedelta(days=1))) == ["00:00", "01:00", "02:00"]


def test_all_slots_of_a_month_are_listed() -> None:
    always = week(*((weekday, "00:00", "00:00") for weekday in range(7)))
    found = listed(always, ServiceTiming("consult", 5), first=DAY, last=DAY + timedelta(days=30))
    assert len(found) == 31 * 24 * 12


def test_an_override_replaces_the_sessions_that_start_on_its_date() -> None:
    rules = Availability(
        weekly=(
            WeeklyRule(weekday=SUNDAY, start="23:00", end="01:00"),
            WeeklyRule(weekday=MONDAY, start="09:00", end="10:00"),
        ),
        overrides=(Override(date=DAY, sessions=(Session(start="15:00", end="16:00"),)),),
    )
    assert wall(listed(rules, HOUR)) == ["00:00", "15:00"]
    assert wall(listed(rules, HOUR, first=DAY + timedelta(days=7))) == ["00:00", "09:00"]


def test_an_override_without_sessions_closes_the_date() -> None:
    rules = Availability(
        weekly=(WeeklyRule(weekday=MONDAY, start="09:00", end="10:00"),), overrides=(Override(date=DAY, sessions=()),)
    )
    assert listed(rules) == []
    assert wall(listed(rules, first=DAY + timedelta(days=7))) == ["09:00", "09:20", "09:40"]


def test_a_session_for_some_services_offers_only_these() -> None:
    rules = Availability(
        weekly=(
            WeeklyRule(weekday=MONDAY, start="09:00", end="09:20", service_ids=("consult",)),
            WeeklyRule(weekday=MONDAY, start="10:00", end="10:20", service_ids=("scan", "vaccination")),
            WeeklyRule(weekday=MONDAY, start="11:00", end="11:20"),
        )
    )
    assert wall(listed(rules)) == ["09:00", "11:00"]
    assert wall(listed(rules, ServiceTiming("scan", 20))) == ["10:00", "11:00"]
    assert wall(listed(rules, ServiceTiming("x-ray", 20))) == ["11:00"]


# New York 2026: on Sunday 8 March 02:00 EST becomes 03:00 EDT (07:00Z); on 1 November 02:00 EDT becomes 01:00 EST.
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # Three hours on the wall, two of them real.
        ("01:00", "04:00", ["08 06:00", "08 06:30", "08 07:00", "08 07:30"]),
        # A skipped start moves forward by the hour that was skipped: 02:30 is 03:30 EDT.
        ("02:30", "05:00", ["08 07:30", "08 08:00", "08 08:30"]),
        # A skipped end as well: 02:30 is 03:30 EDT.
        ("01:00", "02:30", ["08 06:00", "08 06:30", "08 07:00"]),
        # Both skipped: the session moves as a whole.
        ("02:00", "02:30", ["08 07:00"]),
        # The start moves past the end: nothing is left.
        ("02:30", "03:15", []),
        # The day itself is 23 hours long.
        ("00:00", "00:00", None),
    ],
)
def test_new_york_springs_forward(start: str, end: str, expected: list[str] | None) -> None:
    found = listed(week((SUNDAY, start, end)), HALF_HOUR, NEW_YORK, date(2026, 3, 8))
    if expected is None:
        assert len(found) == 23 * 2
    else:
        assert utc(found) == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # Two hours on the wall, three real ones: from 00:30 EDT to 02:30 EST.
        ("00:30", "02:30", ["01 04:30", "01 05:00", "01 05:30", "01 06:00", "01 06:30", "01 07:00"]),
        # A repeated end is its first occurrence, 01:30 EDT.
        ("00:30", "01:30", ["01 04:30", "01 05:00"]),
        # A session within the repeated hour is held once, the first time.
        ("01:00", "01:30", ["01 05:00"]),
        # A repeated start is its first occurrence: from 01:30 EDT to 03:00 EST.
        ("01:30", "03:00", ["01 05:30", "01 06:00", "01 06:30", "01 07:00", "01 07:30"]),
    ],
)
def test_new_york_falls_back(start: str, end: str, expected: list[str]) -> None:
    assert utc(listed(week((SUNDAY, start, end)), HALF_HOUR, NEW_YORK, date(2026, 11, 1))) == expected


def test_sessions_that_dst_pushes_into_each_other_offer_each_start_once() -> None:
    # 01:00-02:30 ends at 03:30 EDT on that night, inside 03:00-04:00.
    both = week((SUNDAY, "01:00", "02:30"), (SUNDAY, "03:00", "04:00"))
    found = listed(both, HALF_HOUR, NEW_YORK, date(2026, 3, 8))
    assert utc(found) == ["08 06:00", "08 06:30", "08 07:00", "08 07:30"]


def test_where_sessions_meet_the_earlier_ones_capacity_counts() -> None:
    night = WeeklyRule(weekday=MONDAY, start="22:00", end="02:00", capacity=3)
    morning = WeeklyRule(weekday=1, start="00:00", end="03:00", capacity=5)
    for weekly in ((night, morning), (morning, night)):
        found = listed(Availability(weekly=weekly), HOUR, first=DAY + timedelta(days=1))
        assert [slot.capacity for slot in found] == [3, 3, 5]
    # The same where DST pushes 01:00-02:30 into 03:00-04:00, in whatever order they were published.
    small = WeeklyRule(weekday=SUNDAY, start="01:00", end="02:30", capacity=2)
    large = WeeklyRule(weekday=SUNDAY, start="03:00", end="04:00", capacity=4)
    for weekly in ((small, large), (large, small)):
        found = listed(Availability(weekly=weekly), HALF_HOUR, NEW_YORK, date(2026, 3, 8))
        assert [slot.capacity for slot in found] == [2, 2, 2, 4]


def test_lord_howe_shifts_by_half_an_hour() -> None:
    night = week((SUNDAY, "01:00", "04:00"))
    # 4 October 2026: 02:00 (+10:30) becomes 02:30 (+11); two and a half hours.
    spring = listed(night, HALF_HOUR, LORD_HOWE, date(2026, 10, 4))
    assert utc(spring) == ["03 14:30", "03 15:00", "03 15:30", "03 16:00", "03 16:30"]
    # 5 April 2026: 02:00 (+11) becomes 01:30 (+10:30); three and a half hours.
    autumn = listed(night, HALF_HOUR, LORD_HOWE, date(2026, 4, 5))
    assert utc(autumn) == ["04 14:00", "04 14:30", "04 15:00", "04 15:30", "04 16:00", "04 16:30", "04 17:00"]


def test_havana_skips_midnight() -> None:
    # 8 March 2026: 00:00 CST becomes 01:00 CDT (05:00Z).
    saturday, sunday = date(2026, 3, 7), date(2026, 3, 8)
    morning = week((SUNDAY, "00:00", "03:00"))
    assert utc(listed(morning, HOUR, HAVANA, sunday)) == ["08 05:00", "08 06:00"]
    night = week((SATURDAY, "22:00", "02:00"))
    assert utc(listed(night, HOUR, HAVANA, saturday)) == ["08 03:00", "08 04:00"]
    assert utc(listed(night, HOUR, HAVANA, sunday)) == ["08 05:00"]


def test_havana_repeats_midnight() -> None:
    # 1 November 2026: 01:00 CDT becomes 00:00 CST (05:00Z); both midnights are on the Sunday.
    saturday, sunday = date(2026, 10, 31), date(2026, 11, 1)
    night = week((SATURDAY, "23:00", "02:00"))
    assert utc(listed(night, HOUR, HAVANA, saturday)) == ["01 03:00"]
    assert utc(listed(night, HOUR, HAVANA, sunday)) == ["01 04:00", "01 05:00", "01 06:00"]


def test_a_session_whose_end_dst_moves_past_midnight_reaches_the_second_next_date() -> None:
    # Nuuk, Saturday 28 March 2026: 23:00 becomes Sunday 00:00 (01:00Z), so Saturday's 23:30 is Sunday's 00:30.
    round_the_clock = week((FRIDAY, "23:30", "23:30"))
    assert utc(listed(round_the_clock, HALF_HOUR, NUUK, date(2026, 3, 29))) == ["29 01:00"]


def test_notice_is_elapsed_time_and_a_visit_exactly_at_its_end_is_offered() -> None:
    hours = Availability(weekly=week((MONDAY, "09:00", "10:00")).weekly, min_notice_minutes=60)
    assert wall(listed(hours, now=ist("08:20"))) == ["09:20", "09:40"]
    assert wall(listed(hours, now=ist("08:20") + timedelta(microseconds=1))) == ["09:40"]
    assert listed(hours, now=ist("23:00")) == []


def test_without_notice_a_visit_can_begin_now_but_not_in_the_past() -> None:
    assert wall(listed(week((MONDAY, "09:00", "10:00")), now=ist("09:20"))) == ["09:20", "09:40"]


def test_the_horizon_is_a_calendar_day_of_the_clinic() -> None:
    daily = Availability(
        weekly=tuple(WeeklyRule(weekday=weekday, start="23:00", end="23:20") for weekday in range(7)), horizon_days=2
    )
    # 00:10 on 2 March in India is still 1 March in UTC.
    found = listed(daily, now=ist("00:10"), last=DAY + timedelta(days=9))
    assert [slot.start.astimezone(KOLKATA).date().day for slot in found] == [2, 3, 4]


def test_the_tenants_notice_and_horizon_hold_where_the_doctor_sets_none() -> None:
    daily = week(*((weekday, "09:00", "10:00") for weekday in range(7)))
    last = DAY + timedelta(days=5)
    found = slots(daily, TWENTY, KOLKATA, DAY, last, ist("08:00"), busy=(), min_notice_minutes=75, horizon_days=1)
    assert utc(found) == ["02 03:50", "02 04:10", "03 03:30", "03 03:50", "03 04:10"]
    own = Availability(weekly=daily.weekly, min_notice_minutes=0, horizon_days=3)
    found = slots(own, TWENTY, KOLKATA, DAY, last, ist("08:00"), busy=(), min_notice_minutes=75, horizon_days=1)
    assert len(found) == 4 * 3


def test_a_claim_takes_what_it_overlaps_and_not_what_it_touches() -> None:
    hours = week((MONDAY, "09:00", "10:00"))
    assert wall(listed(hours, busy=[Busy(ist("09:20"), ist("09:40"))])) == ["09:00", "09:40"]
    assert wall(listed(hours, busy=[Busy(ist("09:35"), ist("09:45"))])) == ["09:00"]
    assert wall(listed(hours, busy=[Busy(ist("08:00"), ist("09:00")), Busy(ist("10:00"), ist("11:00"))])) == [
        "09:00",
        "09:20",
        "09:40",
    ]


def test_a_visits_buffers_must_be_free_as_well() -> None:
    timing = ServiceTiming("consult", 20, buffer_before_minutes=5, buffer_after_minutes=5)
    hours = week((MONDAY, "09:00", "11:00"))
    assert wall(listed(hours, timing, busy=[Busy(ist("10:25"), ist("10:30"))])) == ["09:30", "10:00"]
    assert wall(listed(hours, timing, busy=[Busy(ist("10:20"), ist("10:25"))])) == ["09:30", "10:30"]


def test_a_long_leave_hides_all_that_it_covers_whatever_else_is_booked() -> None:
    busy = [
        Busy(ist("09:30"), ist("09:35")),
        Busy(ist("00:00") - timedelta(days=3), ist("09:20")),
        Busy(ist("08:00"), ist("08:05")),
    ]
    assert wall(listed(week((MONDAY, "09:00", "10:00")), busy=busy)) == ["09:40"]


def test_a_leave_off_the_grid_takes_the_slots_that_it_cuts() -> None:
    busy = [Busy(ist("09:19") + timedelta(seconds=59.5), ist("09:20") + timedelta(seconds=0.5))]
    assert wall(listed(week((MONDAY, "09:00", "10:00")), busy=busy)) == ["09:40"]


def test_a_group_slot_shows_the_seats_that_are_left() -> None:
    claim = Busy(ist("09:20"), ist("09:40"), "consult", capacity=3, seats_taken=2)
    assert [(slot.seats_left, slot.capacity) for slot in listed(group(3), busy=[claim])] == [(3, 3), (1, 3), (3, 3)]


def test_a_full_group_slot_is_gone() -> None:
    claim = Busy(ist("09:20"), ist("09:40"), "consult", capacity=3, seats_taken=3)
    assert wall(listed(group(3), busy=[claim])) == ["09:00", "09:40"]


@pytest.mark.parametrize(
    "claim",
    [
        Busy(ist("09:20"), ist("09:40"), "scan", capacity=3),
        Busy(ist("09:20"), ist("09:40"), "consult"),
        Busy(ist("09:20"), ist("09:35"), "consult", capacity=3),
        Busy(ist("09:25"), ist("09:40"), "consult", capacity=3),
        Busy(ist("09:20"), ist("09:40")),
    ],
)
def test_only_the_very_same_group_slot_can_be_joined(claim: Busy) -> None:
    assert wall(listed(group(3), busy=[claim])) == ["09:00", "09:40"]


def test_a_group_claim_shuts_out_a_single_visit() -> None:
    claim = Busy(ist("09:20"), ist("09:40"), "consult", capacity=3)
    assert wall(listed(week((MONDAY, "09:00", "10:00")), busy=[claim])) == ["09:00", "09:40"]


def test_a_leave_over_a_group_slot_closes_it() -> None:
    claim = Busy(ist("09:20"), ist("09:40"), "consult", capacity=3)
    assert wall(listed(group(3), busy=[claim, Busy(ist("08:00"), ist("09:30"))])) == ["09:40"]


@pytest.mark.parametrize(("ruled", "claimed", "left"), [(5, 3, 1), (3, 5, 1), (4, 4, 2)])
def test_a_changed_capacity_never_overfills_a_group(ruled: int, claimed: int, left: int) -> None:
    claim = Busy(ist("09:20"), ist("09:40"), "consult", capacity=claimed, seats_taken=2)
    assert [slot.seats_left for slot in listed(group(ruled), busy=[claim])] == [ruled, left, ruled]


def test_a_capacity_lowered_below_the_seats_taken_closes_the_slot() -> None:
    claim = Busy(ist("09:20"), ist("09:40"), "consult", capacity=6, seats_taken=4)
    assert wall(listed(group(2), busy=[claim])) == ["09:00", "09:40"]


def test_a_capacity_of_one_is_an_ordinary_session() -> None:
    assert [(slot.seats_left, slot.capacity) for slot in listed(group(1))] == [(None, 1)] * 3


def judged(start: datetime, now: datetime = LONG_BEFORE, availability: Availability | None = None) -> object:
    hours = availability or week((MONDAY, "09:00", "10:00"))
    found = candidate(hours, TWENTY, KOLKATA, start, now, min_notice_minutes=60, horizon_days=80)
    return found if isinstance(found, SlotProblem) else found.start


def test_candidate_accepts_the_starts_that_are_listed_in_any_zone() -> None:
    assert judged(ist("09:20")) == ist("09:20")
    assert judged(ist("09:20").astimezone(UTC)) == ist("09:20")


@pytest.mark.parametrize(
    "start",
    [ist("09:10"), ist("09:50"), ist("08:40"), ist("10:00"), ist("09:20") + timedelta(seconds=1),
     ist("09:20") + timedelta(microseconds=1), ist("09:20") + timedelta(days=1)],
)  # fmt: skip
def test_candidate_refuses_what_is_no_slot(start: datetime) -> None:
    assert judged(start) is SlotProblem.INVALID


def test_candidate_tells_too_soon_and_too_far_before_it_looks_at_the_hours() -> None:
    assert judged(ist("09:20"), now=ist("08:20")) == ist("09:20")
    assert judged(ist("09:20"), now=ist("08:20") + timedelta(seconds=1)) is SlotProblem.TOO_SOON
    assert judged(ist("03:07"), now=ist("08:00")) is SlotProblem.TOO_SOON
    assert judged(ist("09:20"), now=ist("09:20") - timedelta(days=80)) == ist("09:20")
    assert judged(ist("09:20"), now=ist("09:20") - timedelta(days=81)) is SlotProblem.TOO_FAR
    assert judged(ist("03:07"), now=ist("09:20") - timedelta(days=81)) is SlotProblem.TOO_FAR
    # 80 days ahead is the last; the midnight after it is beyond.
    assert judged(ist("00:00"), now=ist("09:20") - timedelta(days=81)) is SlotProblem.TOO_FAR


def test_the_calendars_ends_are_only_too_soon_and_too_far() -> None:
    assert judged(datetime.min.replace(tzinfo=UTC)) is SlotProblem.TOO_SOON
    assert judged(datetime.max.replace(tzinfo=UTC)) is SlotProblem.TOO_FAR
    hours = week((MONDAY, "09:00", "10:00"))
    assert listed(hours, first=date.max) == []
    assert listed(hours, first=date.min) == []
    found = slots(
        hours, TWENTY, KOLKATA, date.min, date.max, ist("09:20"), busy=(), min_notice_minutes=0, horizon_days=7
    )
    assert utc(found) == ["02 03:50", "02 04:10", "09 03:30", "09 03:50", "09 04:10"]


def test_candidate_knows_both_passes_of_a_repeated_hour() -> None:
    hours = week((SUNDAY, "00:30", "02:30"))
    first = datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK)
    for start in (first, first.replace(fold=1)):
        october = datetime(2026, 10, 1, tzinfo=UTC)
        found = candidate(hours, HALF_HOUR, NEW_YORK, start, october, min_notice_minutes=0, horizon_days=60)
        assert isinstance(found, Slot)
        assert found.start == start.astimezone(UTC)


def test_candidate_gives_the_whole_capacity_of_a_group() -> None:
    found = candidate(group(4), TWENTY, KOLKATA, ist("09:20"), LONG_BEFORE, min_notice_minutes=0, horizon_days=366)
    assert isinstance(found, Slot)
    assert (found.capacity, found.seats_left) == (4, 4)
