"""When people are reminded: leads, quiet hours, late bookings, outages."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.booking import AppointmentState
from models.policy import QuietHours, TenantPolicy
from models.quiet_hours import ahead_of, quiet_period
from models.reminders import (
    AT_ONCE,
    JUST_TOLD,
    NEAR,
    ON_TIME,
    PATIENCE,
    Decision,
    Fate,
    Outcome,
    Visit,
    decide,
    is_about,
    leads_of,
    plan,
    quiet_hours_of,
)

INDIA = "Asia/Kolkata"
START = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
"""15:00 in India."""

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LEADS = (24 * HOUR, 2 * HOUR)


def a_visit(**change: Any) -> Visit:  # noqa: ANN401  any field of a visit
    fields = {
        "id": "apt_1",
        "start": START,
        "state": AppointmentState.CONFIRMED,
        "since": START - 72 * HOUR,
        "leads": LEADS,
        "quiet_hours": QuietHours(),
        "timezone": INDIA,
        **change,
    }
    return Visit.model_validate(fields)


def on_the_wall(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def fates(decision: Decision) -> list[tuple[int, Fate]]:
    return [(one.reminder.lead_seconds // 60, one.fate) for one in decision.skipped]


def told(decision: Decision) -> int | None:
    """The lead in minutes of what goes out now."""
    return None if decision.tell is None else decision.tell.reminder.lead_seconds // 60


def lived(visit: Visit, *, asleep: tuple[datetime, datetime] | None = None) -> list[Outcome]:
    """Everything that becomes of a visit's reminders where nobody works within `asleep`."""
    now, outcomes = visit.since, list[Outcome]()
    while True:
        if asleep is not None and asleep[0] <= now < asleep[1]:
            now = asleep[1]
        known = visit.model_copy(update={"decided": frozenset(one.reminder.lead_seconds for one in outcomes)})
        decision = decide(known, now)
        outcomes += decision.skipped
        if decision.tell is not None:
            outcomes.append(Outcome(reminder=decision.tell.reminder, fate=Fate.TOLD, at=now))
        elif decision.wake_at is None:
            return outcomes
        else:
            assert decision.wake_at > now
            now = decision.wake_at


def test_by_default_a_day_and_two_hours_before() -> None:
    assert leads_of(TenantPolicy()) == LEADS
    assert [(one.fate, START - one.at) for one in lived(a_visit())] == [(Fate.TOLD, lead) for lead in LEADS]
    assert decide(a_visit(), START - 30 * HOUR).wake_at == START - 24 * HOUR


def test_leads_in_seconds_serve_to_try_things_out_at_any_hour() -> None:
    night = QuietHours(start=time(22), end=time(6))
    assert leads_of(TenantPolicy(reminder_lead_seconds=(3, 9, 3))) == (timedelta(seconds=9), timedelta(seconds=3))
    tried = quiet_hours_of(TenantPolicy(reminder_lead_seconds=(3,)))
    assert tried.start == tried.end
    assert quiet_hours_of(TenantPolicy(reminder_lead_seconds=(3,), quiet_hours=night)) == night
    assert quiet_hours_of(TenantPolicy()) == QuietHours()


def test_quiet_hours_bring_a_reminder_forward_in_its_readers_zone() -> None:
    # 09:30 in India: two hours earlier is before eight.
    ahead = ahead_of("apt_1")
    morning = a_visit(start=datetime(2026, 11, 25, 4, tzinfo=UTC))
    assert [one.due_at for one in plan(morning)] == [
        on_the_wall("2026-11-24T09:30", INDIA),
        on_the_wall("2026-11-24T21:00", INDIA) - ahead,
    ]
    # The same instants are the evening before in New York.
    abroad = plan(a_visit(start=datetime(2026, 11, 25, 4, tzinfo=UTC), timezone="America/New_York"))
    assert [one.due_at for one in abroad] == [
        on_the_wall("2026-11-23T21:00", "America/New_York") - ahead,
        on_the_wall("2026-11-24T21:00", "America/New_York") - ahead,
    ]


def test_the_reminders_of_a_morning_are_spread_over_the_evening_before() -> None:
    nine = on_the_wall("2026-11-25T09:00", INDIA)
    due = Counter[str]()
    for number in range(2_000):
        [_, second] = plan(a_visit(id=f"apt_{number}", start=nine))
        due[f"{second.due_at.astimezone(ZoneInfo(INDIA)):%H:%M}"] += 1
    assert min(due) == "20:00"
    assert max(due) == "20:44"
    # A minute's fair share is 45.
    assert max(due.values()) < 100


def test_one_that_is_brought_forward_does_not_overtake_another() -> None:
    # 23:50 in India: three hours before is ten minutes before the quiet, two hours before is within it.
    late = a_visit(start=on_the_wall("2026-11-25T23:50", INDIA), leads=(3 * HOUR, 2 * HOUR))
    assert [one.due_at for one in plan(late)] == [late.start - 3 * HOUR] * 2
    assert [(one.reminder.lead_seconds // 3600, one.fate) for one in lived(late)] == [
        (3, Fate.SUPERSEDED),
        (2, Fate.TOLD),
    ]


def test_nothing_goes_out_in_quiet_hours_however_little_late_it_is() -> None:
    # Due at 20:59 in India, and looked at two minutes later.
    due = on_the_wall("2026-11-24T20:59", INDIA)
    at_night = a_visit(start=due + 2 * HOUR, leads=(2 * HOUR,))
    assert told(decide(at_night, due)) == 120
    [outcome] = decide(at_night, due + 2 * MINUTE).skipped
    assert outcome.fate is Fate.QUIET_HOURS
    next_day = a_visit(start=due + 14 * HOUR, leads=(14 * HOUR,))
    waits = decide(next_day, due + 2 * MINUTE)
    assert (waits.tell, waits.skipped) == (None, ())
    assert waits.wake_at == on_the_wall("2026-11-25T08:00", INDIA)
    assert told(decide(next_day, waits.wake_at)) == 840


def test_two_that_quiet_hours_bring_together_are_one() -> None:
    early = a_visit(start=datetime(2026, 11, 25, 2, 30, tzinfo=UTC), leads=(3 * HOUR, 2 * HOUR))
    assert [(one.reminder.lead_seconds // 3600, one.fate) for one in lived(early)] == [
        (3, Fate.SUPERSEDED),
        (2, Fate.TOLD),
    ]


@pytest.mark.parametrize(
    ("ahead", "confirmed", "expected"),
    [
        # Nobody has told them anything: one at once, after a moment in which a confirmation might have left.
        (20 * HOUR, None, [(1440, Fate.PAST_WHEN_PLANNED), (0, Fate.TOLD), (120, Fate.TOLD)]),
        (20 * HOUR, timedelta(), [(1440, Fate.PAST_WHEN_PLANNED), (0, Fate.JUST_CONFIRMED), (120, Fate.TOLD)]),
        (90 * MINUTE, None, [(1440, Fate.PAST_WHEN_PLANNED), (120, Fate.PAST_WHEN_PLANNED), (0, Fate.TOLD)]),
        (31 * MINUTE, -2 * HOUR, [(1440, Fate.PAST_WHEN_PLANNED), (120, Fate.PAST_WHEN_PLANNED), (0, Fate.TOO_LATE)]),
        (33 * MINUTE, -JUST_TOLD, [(1440, Fate.PAST_WHEN_PLANNED), (120, Fate.PAST_WHEN_PLANNED), (0, Fate.TOLD)]),
        (30 * MINUTE, None, [(1440, Fate.PAST_WHEN_PLANNED), (120, Fate.PAST_WHEN_PLANNED), (0, Fate.TOO_LATE)]),
        # The next one is about to follow anyway.
        (150 * MINUTE, None, [(1440, Fate.PAST_WHEN_PLANNED), (0, Fate.SUPERSEDED), (120, Fate.TOLD)]),
    ],
)
def test_what_was_past_when_it_was_booked_is_skipped_and_one_stands_in(
    ahead: timedelta, confirmed: timedelta | None, expected: list[tuple[int, Fate]]
) -> None:
    since = START - ahead
    visit = a_visit(since=since, confirmed_at=None if confirmed is None else since + confirmed)
    assert [(one.reminder.lead_seconds // 60, one.fate) for one in lived(visit)] == expected
    at_once = [one for one in lived(visit) if one.reminder.lead_seconds == AT_ONCE and one.fate is Fate.TOLD]
    assert all(one.at == since + PATIENCE for one in at_once)


def test_booked_in_quiet_hours_the_one_at_once_waits_for_the_morning() -> None:
    # Booked at 23:00 in India for the next morning; the lead of two hours would have been due the evening before.
    since = datetime(2026, 11, 24, 17, 30, tzinfo=UTC)
    nine, half_past_eight = (datetime(2026, 11, 25, 3, minute, tzinfo=UTC) for minute in (30, 0))
    [*_, at_once] = lived(a_visit(start=nine, since=since))
    assert (at_once.fate, at_once.at.astimezone(ZoneInfo(INDIA)).time()) == (Fate.TOLD, time(8))
    [*_, too_early] = lived(a_visit(start=half_past_eight, since=since))
    assert too_early.fate is Fate.QUIET_HOURS


@pytest.mark.parametrize(
    ("since_start", "until", "expected"),
    [
        # Back while both are still to come, or between them: the one that was missed goes out late.
        (30 * HOUR, 25 * HOUR, [Fate.TOLD, Fate.TOLD]),
        (30 * HOUR, 23 * HOUR, [Fate.TOLD, Fate.TOLD]),
        (30 * HOUR, 4 * HOUR, [Fate.TOLD, Fate.TOLD]),
        # The second is about to follow, or due too: one is enough.
        (30 * HOUR, 3 * HOUR, [Fate.SUPERSEDED, Fate.TOLD]),
        (30 * HOUR, 1 * HOUR, [Fate.SUPERSEDED, Fate.TOLD]),
        (30 * HOUR, 20 * MINUTE, [Fate.TOO_LATE, Fate.TOO_LATE]),
        (30 * HOUR, -5 * HOUR, [Fate.TOO_LATE, Fate.TOO_LATE]),
        (3 * HOUR, 1 * HOUR, [Fate.TOLD, Fate.TOLD]),
        (3 * HOUR, 10 * MINUTE, [Fate.TOLD, Fate.TOO_LATE]),
    ],
)
def test_after_an_outage_only_what_is_still_useful_goes_out(
    since_start: timedelta, until: timedelta, expected: list[Fate]
) -> None:
    # At 15:00 in India nothing of this lies in quiet hours but for the nights, which the next test is about.
    visit = a_visit(quiet_hours=QuietHours(start=time(3), end=time(3)))
    outcomes = lived(visit, asleep=(START - since_start, START - until))
    assert [one.fate for one in outcomes] == expected


def test_a_late_one_waits_for_the_end_of_quiet_hours() -> None:
    # Due at 15:00 in India; somebody works again at 23:00.
    back = datetime(2026, 11, 24, 17, 30, tzinfo=UTC)
    first, second = lived(a_visit(), asleep=(START - 30 * HOUR, back))
    assert (first.fate, first.at.astimezone(ZoneInfo(INDIA)).time()) == (Fate.TOLD, time(8))
    assert (second.fate, second.at) == (Fate.TOLD, START - 2 * HOUR)
    early = a_visit(start=datetime(2026, 11, 25, 2, 45, tzinfo=UTC))
    assert [one.fate for one in lived(early, asleep=(early.start - 30 * HOUR, back))] == [
        Fate.QUIET_HOURS,
        Fate.QUIET_HOURS,
    ]


def test_a_short_lead_is_on_time_however_near_the_visit_is() -> None:
    visit = a_visit(leads=(15 * MINUTE, timedelta(seconds=20)))
    assert [one.fate for one in lived(visit)] == [Fate.TOLD, Fate.TOLD]
    assert decide(visit.model_copy(update={"decided": frozenset({900})}), START).skipped[0].fate is Fate.TOO_LATE


@pytest.mark.parametrize("state", [one for one in AppointmentState if one is not AppointmentState.CONFIRMED])
def test_nobody_is_reminded_of_what_is_not_to_come(state: AppointmentState) -> None:
    decision = decide(a_visit(state=state), START - 24 * HOUR)
    assert decision.is_last
    assert decision.skipped == ()


def test_each_is_decided_once_and_is_worth_nothing_when_the_next_is_due() -> None:
    due = START - 24 * HOUR
    decision = decide(a_visit(), due)
    assert decision.tell is not None
    assert (told(decision), decision.tell.expires_at) == (1440, START - 2 * HOUR)
    again = decide(a_visit(decided=frozenset({86_400})), due)
    assert (again.tell, again.wake_at) == (None, START - 2 * HOUR)
    last = decide(a_visit(decided=frozenset({86_400})), START - 2 * HOUR)
    assert last.tell is not None
    assert (told(last), last.tell.expires_at) == (120, START)
    assert decide(a_visit(decided=frozenset({86_400, 7200})), due).is_last


def test_no_leads_no_reminders() -> None:
    assert decide(a_visit(leads=()), START - HOUR).is_last


def test_a_moved_visit_is_another_occurrence() -> None:
    [one, _], [moved, _] = plan(a_visit()), plan(a_visit(start=START + HOUR))
    assert one.occurrence == "20261125T093000Z.86400"
    assert moved.occurrence == "20261125T103000Z.86400"


def test_a_reminder_is_about_one_start() -> None:
    [first, _] = plan(a_visit())
    assert is_about(first.occurrence, START)
    assert not is_about(first.occurrence, START + timedelta(seconds=1))


def test_nobody_is_reminded_while_they_may_choose_another_time() -> None:
    due = START - 24 * HOUR
    choosing = a_visit(choose_until=due + 3 * HOUR)
    before = decide(choosing, due - HOUR)
    assert (before.tell, before.wake_at) == (None, due), "how it stands is seen when it is due"
    for instant in (due, due + 3 * HOUR - timedelta(seconds=1)):
        meanwhile = decide(choosing, instant)
        assert (meanwhile.tell, meanwhile.skipped, meanwhile.wake_at) == (None, (), due + 3 * HOUR)
    # The deadline has passed, and what follows from it is still under way.
    assert decide(choosing, due + 3 * HOUR).wake_at == due + 3 * HOUR + PATIENCE
    # The visit stays: what was due meanwhile is late, and still useful.
    stays = decide(a_visit(), due + 3 * HOUR)
    assert (told(stays), fates(stays)) == (1440, [])
    near = decide(a_visit(choose_until=START, decided=frozenset({86_400})), START - 2 * HOUR)
    assert (near.tell, near.wake_at) == (None, START)
    over = decide(a_visit(choose_until=START, decided=frozenset({86_400})), START)
    assert (over.is_last, fates(over)) == (True, [(120, Fate.TOO_LATE)])


def test_why_nothing_more_is_told_is_recorded_with_when() -> None:
    decision = decide(a_visit(since=START - 20 * HOUR, confirmed_at=START - 20 * HOUR), START - 20 * HOUR)
    assert fates(decision) == [(1440, Fate.PAST_WHEN_PLANNED), (0, Fate.JUST_CONFIRMED)]
    assert {one.at for one in decision.skipped} == {START - 20 * HOUR}


# Properties

zones = st.sampled_from([INDIA, "America/New_York", "Australia/Lord_Howe", "America/Havana"])
clock_times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
starts = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  a bound


@st.composite
def visits(draw: st.DrawFn) -> Visit:
    start = draw(starts).replace(second=0, microsecond=0)
    since = start - timedelta(minutes=draw(st.integers(0, 60 * 24 * 10)))
    told_ago = draw(st.none() | st.integers(0, 180))
    return a_visit(
        id=draw(st.sampled_from(["apt_1", "apt_2", "apt_3", "apt_4"])),
        start=start,
        since=since,
        leads=leads_of(TenantPolicy(reminder_leads_minutes=tuple(draw(st.lists(st.integers(1, 4000), max_size=5))))),
        quiet_hours=QuietHours(start=draw(clock_times), end=draw(clock_times)),
        timezone=draw(zones),
        confirmed_at=None if told_ago is None else since - told_ago * MINUTE,
    )


@st.composite
def outages(draw: st.DrawFn) -> tuple[timedelta, timedelta]:
    return timedelta(minutes=draw(st.integers(0, 15_000))), timedelta(minutes=draw(st.integers(1, 6000)))


@given(visits())
def test_every_reminder_is_planned_before_the_visit_and_never_later_than_its_lead(visit: Visit) -> None:
    zone = ZoneInfo(visit.timezone)
    for one in plan(visit):
        if one.lead_seconds == AT_ONCE:
            continue
        assert one.due_at <= visit.start - timedelta(seconds=one.lead_seconds) < visit.start
        assert quiet_period(one.due_at, visit.quiet_hours, zone) is None


@given(visits(), outages())
def test_whatever_happens_each_reminder_has_one_fate_and_none_comes_after_the_visit(
    visit: Visit, outage: tuple[timedelta, timedelta]
) -> None:
    after, long = outage
    outcomes = lived(visit, asleep=(visit.since + after, visit.since + after + long))
    assert sorted(one.reminder.occurrence for one in outcomes) == sorted(one.occurrence for one in plan(visit))
    sent = [one for one in outcomes if one.fate is Fate.TOLD]
    assert all(one.at < visit.start for one in sent)
    assert len({one.at for one in sent}) == len(sent)
    for one in sent:
        on_time = one.reminder.lead_seconds != AT_ONCE and one.at - one.reminder.due_at <= ON_TIME
        assert on_time or visit.start - one.at > NEAR - PATIENCE
        assert quiet_period(one.at, visit.quiet_hours, ZoneInfo(visit.timezone)) is None


@given(visits(), st.integers(0, 15_000), st.integers(0, 15_000))
def test_whoever_may_choose_is_never_reminded_and_looked_after_until_the_visit(
    visit: Visit, minutes: int, further: int
) -> None:
    now = visit.since + minutes * MINUTE
    decision = decide(visit.model_copy(update={"choose_until": now + further * MINUTE}), now)
    assert decision.tell is None
    assert decision.wake_at is None or now < decision.wake_at
    assert decision.wake_at is not None or decide(visit, now).is_last


@given(visits())
def test_without_an_outage_every_lead_that_is_not_past_is_told_on_time(visit: Visit) -> None:
    by_due = {one.due_at for one in plan(visit) if one.due_at > visit.since}
    sent = {one.at for one in lived(visit) if one.fate is Fate.TOLD and one.reminder.lead_seconds != AT_ONCE}
    assert sent == by_due
