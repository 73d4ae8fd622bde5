"""Slots against an oracle that walks the clinic's clock in five-minute steps, around every kind of DST change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

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
    first_slots,
    slots,
)
from models.cells import cells

TICK = timedelta(minutes=5)
DAY = timedelta(days=1)

# A zone and the date of something that its clock does: nothing, an hour, half an hour, at midnight, before midnight.
CHANGES = [
    ("Asia/Kolkata", date(2026, 3, 8)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/Havana", date(2026, 3, 8)),
    ("America/Havana", date(2026, 11, 1)),
    ("America/Nuuk", date(2026, 3, 28)),
    ("America/Nuuk", date(2026, 10, 24)),
]


class Clinic(NamedTuple):
    """One clinic, one service, one question."""

    availability: Availability
    timing: ServiceTiming
    zone: ZoneInfo
    first: date
    last: date
    now: datetime
    min_notice_minutes: int
    horizon_days: int

    def slots(self, busy: Sequence[Busy] = ()) -> list[Slot]:
        return self.between(self.first, self.last, busy)

    def between(self, first: date, last: date, busy: Sequence[Busy] = ()) -> list[Slot]:
        return slots(
            self.availability, self.timing, self.zone, first, last, self.now, busy=busy,
            min_notice_minutes=self.min_notice_minutes, horizon_days=self.horizon_days,
        )  # fmt: skip

    def candidate(self, start: datetime) -> Slot | SlotProblem:
        return candidate(
            self.availability, self.timing, self.zone, start, self.now,
            min_notice_minutes=self.min_notice_minutes, horizon_days=self.horizon_days,
        )  # fmt: skip


walls = st.integers(0, 287).map(lambda tick: f"{tick // 12:02d}:{tick % 12 * 5:02d}")
# Most sessions begin and end in the small hours, where the clocks change.
session_walls = st.one_of(st.sampled_from(["00:00", "00:30", "01:30", "02:00", "02:15", "03:00", "23:30"]), walls)
services = st.sampled_from([None, None, ("consult",), ("scan",), ("consult", "scan")])
capacities = st.sampled_from([None, None, 1, 2, 4])
minutes = st.integers(0, 4).map(lambda ticks: ticks * 5)
timings = st.builds(
    ServiceTiming,
    service_id=st.just("consult"),
    duration_minutes=st.integers(1, 18).map(lambda ticks: ticks * 5),
    buffer_before_minutes=minutes,
    buffer_after_minutes=minutes,
    slot_step_minutes=st.none() | st.integers(1, 12).map(lambda ticks: ticks * 5),
)
sessions = st.builds(Session, start=session_walls, end=session_walls, service_ids=services, capacity=capacities)


def without_overlaps(drawn: Sequence[Session]) -> tuple[Session, ...]:
    kept: list[Session] = []
    for session in drawn:
        if not any(session.overlaps(other) for other in kept):
            kept.append(session)
    return tuple(kept)


@st.composite
def availabilities(draw: st.DrawFn, around: date) -> Availability:
    days = st.lists(sessions, max_size=4).map(without_overlaps)
    weekly = tuple(
        WeeklyRule(weekday=weekday, **session.model_dump()) for weekday in range(7) for session in draw(days)
    )
    dates = draw(st.sets(st.integers(-2, 3), max_size=3))
    overrides = tuple(Override(date=around + timedelta(days=shift), sessions=draw(days)) for shift in sorted(dates))
    return Availability(
        weekly=weekly,
        overrides=overrides,
        min_notice_minutes=draw(st.none() | st.integers(0, 3000)),
        horizon_days=draw(st.none() | st.integers(1, 6)),
    )


@st.composite
def clinics(draw: st.DrawFn) -> Clinic:
    name, change = draw(st.sampled_from(CHANGES))
    first = change + timedelta(days=draw(st.integers(-1, 1)))
    midnight = datetime(change.year, change.month, change.day, tzinfo=UTC)
    return Clinic(
        draw(availabilities(change)),
        draw(timings),
        ZoneInfo(name),
        first,
        first + timedelta(days=draw(st.integers(0, 2))),
        midnight + timedelta(seconds=draw(st.integers(-4 * 86_400, 86_400))),
        draw(st.integers(0, 1500)),
        draw(st.integers(1, 5)),
    )


@st.composite
def clinics_with_claims(draw: st.DrawFn) -> tuple[Clinic, list[Busy]]:
    clinic = draw(clinics())
    open_slots = clinic.slots()
    assume(open_slots)
    noon = datetime.combine(clinic.first, datetime.min.time(), tzinfo=UTC) + DAY / 2
    starts = st.integers(-86_400, 3 * 86_400).map(lambda seconds: noon + timedelta(seconds=seconds))
    lengths = st.integers(1, 4 * 3600).map(lambda seconds: timedelta(seconds=seconds))
    blocks = draw(st.lists(st.tuples(starts, lengths), max_size=4))
    busy = [Busy(start, start + length) for start, length in blocks]
    for slot in draw(st.lists(st.sampled_from(open_slots), max_size=4, unique=True)):
        capacity = draw(st.sampled_from([1, slot.capacity, 3]))
        taken = draw(st.integers(1, capacity))
        service_id = draw(st.sampled_from(["consult", "consult", "scan"]))
        busy.append(Busy(slot.claim_start, slot.claim_end, service_id, capacity, taken))
    return clinic, draw(st.permutations(busy))


class Tick(NamedTuple):
    """What the clinic's clock shows at an instant."""

    at: datetime
    wall: datetime


@lru_cache(maxsize=64)
def clock(zone: ZoneInfo, around: date) -> list[Tick]:
    """Every five minutes from five days before the date to eight days after it; walls carry no zone."""
    begin = datetime.combine(around, datetime.min.time(), tzinfo=UTC) - 5 * DAY
    ticks = [begin + count * TICK for count in range(13 * 288)]
    return [Tick(at, at.astimezone(zone).replace(tzinfo=None)) for at in ticks]


def first_showing(ticks: Sequence[Tick], wall: datetime) -> datetime:
    """When the clock first shows `wall`; if it jumps over it, when it first shows `wall` plus the jump."""
    for tick, following in pairwise(ticks):
        if tick.wall == wall:
            return tick.at
        if tick.wall < wall < following.wall:
            return first_showing(ticks, wall + (following.wall - tick.wall - TICK))
    msg = "outside the clock's range"
    raise AssertionError(msg)


class Run(NamedTuple):
    """A session as it happens, once."""

    start: datetime
    end: datetime
    capacity: int


def runs(clinic: Clinic) -> list[Run]:
    ticks = clock(clinic.zone, clinic.first)
    overridden = {override.date: override.sessions for override in clinic.availability.overrides}
    found = []
    for shift in range(-3, 4):
        day = clinic.first + timedelta(days=shift)
        weekly = [rule for rule in clinic.availability.weekly if rule.weekday == day.weekday()]
        for session in overridden.get(day, weekly):
            if session.service_ids is None or clinic.timing.service_id in session.service_ids:
                start = datetime.strptime(f"{day} {session.start} +0000", "%Y-%m-%d %H:%M %z").replace(tzinfo=None)
                end = datetime.strptime(f"{day} {session.end} +0000", "%Y-%m-%d %H:%M %z").replace(tzinfo=None)
                end += DAY if end <= start else timedelta()
                run = Run(first_showing(ticks, start), first_showing(ticks, end), session.capacity or 1)
                found.append(run)
    return sorted(found)


def oracle(clinic: Clinic, busy: Sequence[Busy]) -> list[tuple[datetime, int]]:
    """Each bookable start with how many patients still fit, by asking of every tick whether it may be one."""
    timing, rules = clinic.timing, clinic.availability
    before = timedelta(minutes=timing.buffer_before_minutes)
    whole = timedelta(minutes=timing.duration_minutes + timing.buffer_after_minutes)
    step = timedelta(minutes=timing.slot_step_minutes) if timing.slot_step_minutes else before + whole
    notice = clinic.min_notice_minutes if rules.min_notice_minutes is None else rules.min_notice_minutes
    horizon = clinic.horizon_days if rules.horizon_days is None else rules.horizon_days
    today = clinic.now.astimezone(clinic.zone).date()
    happening = runs(clinic)
    found = []
    for at, wall in clock(clinic.zone, clinic.first):
        if not clinic.first <= wall.date() <= clinic.last or (wall.date() - today).days > horizon:
            continue
        if at - clinic.now < timedelta(minutes=notice):
            continue
        for run in happening:
            if run.start <= at - before and at + whole <= run.end and (at - run.start) % step == timedelta():
                seats = seats_left(at - before, at + whole, run.capacity, busy)
                if seats > 0:
                    found.append((at, seats))
                break
    return found


def seats_left(start: datetime, end: datetime, capacity: int, busy: Sequence[Busy]) -> int:
    left = [capacity]
    for one in busy:
        if one.start < end and start < one.end:
            same = (one.start, one.end, one.service_id) == (start, end, "consult")
            joinable = same and one.capacity > 1 and capacity > 1
            left.append(min(capacity, one.capacity) - one.seats_taken if joinable else 0)
    return min(left)


@given(clinics_with_claims())
def test_the_slots_are_exactly_those_of_the_clock_on_the_wall(case: tuple[Clinic, list[Busy]]) -> None:
    clinic, busy = case
    expected = oracle(clinic, busy)
    found = clinic.slots(busy)
    assert [slot.start for slot in found] == [start for start, _ in expected]
    assert [slot.seats_left or 1 for slot in found] == [seats for _, seats in expected]


@given(clinics())
def test_without_claims_too(clinic: Clinic) -> None:
    assert [(slot.start, slot.capacity) for slot in clinic.slots()] == oracle(clinic, ())


@given(clinics_with_claims())
def test_no_slot_overlaps_a_claim_that_it_cannot_join(case: tuple[Clinic, list[Busy]]) -> None:
    clinic, busy = case
    for slot in clinic.slots(busy):
        met = [one for one in busy if one.start < slot.claim_end and slot.claim_start < one.end]
        for one in met:
            assert (one.start, one.end, one.service_id) == (slot.claim_start, slot.claim_end, "consult")
            assert slot.seats_left is not None
            assert 0 < slot.seats_left <= one.capacity - one.seats_taken
        if not met:
            assert slot.seats_left == (slot.capacity if slot.capacity > 1 else None)


@given(clinics())
def test_slots_are_ordered_distinct_and_of_the_services_length(clinic: Clinic) -> None:
    found = clinic.slots()
    starts = [slot.start for slot in found]
    assert starts == sorted(set(starts))
    timing = clinic.timing
    for slot in found:
        assert slot.end - slot.start == timedelta(minutes=timing.duration_minutes)
        assert slot.start - slot.claim_start == timedelta(minutes=timing.buffer_before_minutes)
        assert slot.claim_end - slot.end == timedelta(minutes=timing.buffer_after_minutes)
        assert len(cells(slot.claim_start, slot.claim_end)) * TICK == slot.claim_end - slot.claim_start
        assert {instant.tzinfo for instant in (slot.start, slot.end, slot.claim_start, slot.claim_end)} == {UTC}


@given(clinics())
def test_slots_lie_wholly_inside_a_session(clinic: Clinic) -> None:
    happening = runs(clinic)
    for slot in clinic.slots():
        assert any(run.start <= slot.claim_start and slot.claim_end <= run.end for run in happening)


@given(clinics_with_claims())
def test_a_range_of_dates_is_its_dates_one_after_the_other(case: tuple[Clinic, list[Busy]]) -> None:
    clinic, busy = case
    dates = [clinic.first + timedelta(days=shift) for shift in range((clinic.last - clinic.first).days + 1)]
    assert clinic.slots(busy) == [slot for day in dates for slot in clinic.between(day, day, busy)]


@given(clinics_with_claims())
def test_the_first_slot_of_each_date_is_the_first_of_its_list(case: tuple[Clinic, list[Busy]]) -> None:
    clinic, busy = case
    wanted: dict[date, datetime] = {}
    for slot in clinic.slots(busy):
        wanted.setdefault(slot.start.astimezone(clinic.zone).date(), slot.start)
    firsts = first_slots(
        clinic.availability, clinic.timing, clinic.zone, clinic.first, clinic.last, clinic.now, busy=busy,
        min_notice_minutes=clinic.min_notice_minutes, horizon_days=clinic.horizon_days,
    )  # fmt: skip
    assert firsts == wanted


@given(clinics(), st.integers(-86_400, 4 * 86_400))
def test_candidate_agrees_with_the_list(clinic: Clinic, anywhere: int) -> None:
    found = {slot.start: slot for slot in clinic.slots()}
    begin = datetime.combine(clinic.first, datetime.min.time(), tzinfo=UTC)
    grid = [tick.at for tick in clock(clinic.zone, clinic.first) if clinic.first <= tick.wall.date() <= clinic.last]
    for start in [*grid[::7], *found]:
        answer = clinic.candidate(start)
        assert found.get(start) == (None if isinstance(answer, SlotProblem) else answer)
    start = begin + timedelta(seconds=anywhere, microseconds=1)
    assert isinstance(clinic.candidate(start), SlotProblem)


@given(clinics(), st.timedeltas(-9 * DAY, 9 * DAY))
def test_candidate_tells_why(clinic: Clinic, shift: timedelta) -> None:
    start = clinic.now + shift
    notice, horizon = clinic.availability.min_notice_minutes, clinic.availability.horizon_days
    soonest = clinic.now + timedelta(minutes=clinic.min_notice_minutes if notice is None else notice)
    days = (start.astimezone(clinic.zone).date() - clinic.now.astimezone(clinic.zone).date()).days
    answer = clinic.candidate(start)
    assert (answer is SlotProblem.TOO_SOON) == (start < soonest)
    too_far = days > (clinic.horizon_days if horizon is None else horizon)
    assert (answer is SlotProblem.TOO_FAR) == (too_far and start >= soonest)


@given(st.lists(sessions, min_size=2, max_size=2))
def test_sessions_of_one_day_overlap_when_they_share_a_service_and_a_minute(drawn: list[Session]) -> None:
    def moments(session: Session) -> set[tuple[str, int]]:
        start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (session.start, session.end))
        covered = range(start, end if end > start else end + 24 * 60)
        return {(service, minute) for service in session.service_ids or ("consult", "scan") for minute in covered}

    one, other = drawn
    assert one.overlaps(other) == other.overlaps(one) == bool(moments(one) & moments(other))
