"""What a publication leaves outside, which services may be named, and the hours that a stretch of time has."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.availability import (
    Availability,
    Busy,
    Override,
    ServiceTiming,
    Session,
    WeeklyRule,
    open_hours,
    slots,
    unclaimed,
)
from models.cells import cells
from models.errors import Code, VisitNowError
from models.ids import reference
from models.money import Money
from models.providers import Service
from models.publishing import Booked, ServiceDraft, Why, check_services, left_outside, named

KOLKATA = ZoneInfo("Asia/Kolkata")
MONDAY = date(2031, 3, 3)
EVERY_DAY = tuple(WeeklyRule(weekday=day, start="09:00", end="13:00") for day in range(7))
VISIT = Service(id="svc_1", name="Visit", duration_minutes=30, fee=Money(amount=50_000))
DRAFT = ServiceDraft(name="Visit", duration_minutes=30, fee=Money(amount=50_000))


def at(hour: int, minute: int = 0, *, day: int = 0) -> datetime:
    local = datetime(MONDAY.year, MONDAY.month, MONDAY.day, hour, minute, tzinfo=KOLKATA) + timedelta(days=day)
    return local.astimezone(UTC)


def booked(start: datetime, service_id: str = "svc_1", length: int = 30) -> Booked:
    return Booked(f"apt_{start:%d%H%M}", service_id, start, start + timedelta(minutes=length))


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (booked(at(9)), None),
        (booked(at(12, 30)), None),
        (booked(at(12, 45)), Why.OUTSIDE_HOURS),
        (booked(at(8, 55)), Why.OUTSIDE_HOURS),
        (booked(at(20)), Why.OUTSIDE_HOURS),
        (booked(at(9), "svc_gone"), Why.SERVICE_REMOVED),
        (booked(at(9, day=1)), Why.OUTSIDE_HOURS),
        (booked(at(15, day=1)), None),
        (booked(at(9, day=700)), None),
    ],
)
def test_what_no_longer_fits_is_told(one: Booked, why: Why | None) -> None:
    tuesday = Override(date=MONDAY + timedelta(days=1), sessions=(Session(start="15:00", end="16:00"),))
    hours = Availability(weekly=EVERY_DAY, overrides=(tuesday,), min_notice_minutes=600, horizon_days=1)
    told = left_outside([one], [VISIT], hours, KOLKATA)
    assert [(entry.appointment_id, entry.reference, entry.why) for entry in told] == (
        [] if why is None else [(one.appointment_id, reference(one.appointment_id), why)]
    )


def test_a_session_that_no_longer_offers_the_service_is_no_hour_of_it() -> None:
    hours = Availability(weekly=(WeeklyRule(weekday=0, start="09:00", end="13:00", service_ids=("svc_2",)),))
    assert [one.why for one in left_outside([booked(at(9))], [VISIT], hours, KOLKATA)] == [Why.OUTSIDE_HOURS]


def test_an_overnight_session_covers_the_morning_after() -> None:
    hours = Availability(weekly=(WeeklyRule(weekday=0, start="20:00", end="08:00"),))
    assert left_outside([booked(at(7, day=1)), booked(at(23, 45))], [VISIT], hours, KOLKATA) == []
    assert len(left_outside([booked(at(7))], [VISIT], hours, KOLKATA)) == 1


@given(st.integers(0, 6 * 288), st.sampled_from(["00:00", "09:00", "18:30"]), st.sampled_from(["08:00", "13:00"]))
def test_whatever_is_a_slot_is_covered_by_the_hours_it_came_from(offset: int, start: str, end: str) -> None:
    now = at(0) + timedelta(minutes=5 * offset)
    hours = Availability(weekly=tuple(WeeklyRule(weekday=day, start=start, end=end) for day in range(0, 7, 2)))
    timing = ServiceTiming("svc_1", 30, 10, 5)
    free = slots(
        hours, timing, KOLKATA, MONDAY, MONDAY + timedelta(days=9), now=now,
        busy=(), min_notice_minutes=0, horizon_days=9,
    )  # fmt: skip
    bookings = [Booked("apt_1", "svc_1", one.claim_start, one.claim_end) for one in free]
    assert left_outside(bookings, [VISIT], hours, KOLKATA) == []
    stretches = open_hours(hours, KOLKATA, now - timedelta(minutes=10), now + timedelta(days=20))
    assert all(any(begin <= one.claim_start and one.claim_end <= stop for begin, stop in stretches) for one in free)
    assert all(before[1] < after[0] for before, after in pairwise(stretches))


def test_open_hours_are_cut_to_what_was_asked_for() -> None:
    hours = Availability(weekly=(*EVERY_DAY, WeeklyRule(weekday=0, start="13:00", end="14:00")))
    assert open_hours(hours, KOLKATA, at(10), at(10, day=1)) == [(at(10), at(14)), (at(9, day=1), at(10, day=1))]
    assert open_hours(hours, KOLKATA, at(15), at(20)) == []
    assert open_hours(hours, KOLKATA, at(9), at(9)) == []


def test_a_leave_is_busy_time_for_groups_too() -> None:
    hours = Availability(weekly=(WeeklyRule(weekday=0, start="09:00", end="10:00", capacity=4),))
    free = slots(
        hours, ServiceTiming("svc_1", 30), KOLKATA, MONDAY, MONDAY, now=at(0),
        busy=(Busy(at(9), at(9, 5)), Busy(at(9), at(9, 30), "svc_1", 4, 1)), min_notice_minutes=0, horizon_days=9,
    )  # fmt: skip
    assert [one.start for one in free] == [at(9, 30)]


@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 200)), max_size=8),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 700)), max_size=8),
)
def test_what_nobody_has_is_all_that_is_left(stretches: list[tuple[int, int]], claims: list[tuple[int, int]]) -> None:
    """Cell by cell: claimed, or within exactly one piece, where it was asked for; nowhere else."""
    wanted, begin = [], 0
    for gap, length in stretches:
        wanted.append((begin + gap, begin + gap + length))
        begin += gap + length
    busy = [Busy(at(0) + timedelta(minutes=5 * start), at(0) + timedelta(minutes=5 * (start + length)))
            for start, length in claims]  # fmt: skip
    asked = [(at(0) + timedelta(minutes=5 * start), at(0) + timedelta(minutes=5 * end)) for start, end in wanted]
    pieces = unclaimed(asked, busy, timedelta(hours=12))
    claimed = {cell for one in busy for cell in cells(one.start, one.end)}
    blocked = [cell for piece in pieces for cell in cells(*piece)]
    assert len(blocked) == len(set(blocked))
    assert set(blocked) == {cell for stretch in asked for cell in cells(*stretch)} - claimed
    assert all(stop - start <= timedelta(hours=12) for start, stop in pieces)


def test_a_stretch_off_the_grid_is_blocked_whole() -> None:
    assert unclaimed([(at(9, 2), at(9, 58))], [Busy(at(9, 30), at(9, 35))], timedelta(hours=12)) == [
        (at(9), at(9, 30)),
        (at(9, 35), at(10)),
    ]


def test_a_kept_id_stays_and_a_new_service_gets_one() -> None:
    kept, fresh, other = named([DRAFT.model_copy(update={"id": "svc_1"}), DRAFT, DRAFT], {"svc_1", "svc_2"})
    assert kept.id == "svc_1"
    assert len({kept.id, fresh.id, other.id}) == 3
    assert (fresh.name, fresh.fee, fresh.timing) == (DRAFT.name, DRAFT.fee, ServiceTiming(fresh.id, 30, 0, 0, 30))


@pytest.mark.parametrize(
    ("ids", "field", "code"),
    [(["svc_9"], "0.id", "unknown_service"), ([None, "svc_1", "svc_1"], "2.id", "repeated")],
)
def test_a_foreign_or_repeated_id_is_refused(ids: list[str | None], field: str, code: str) -> None:
    with pytest.raises(VisitNowError) as refusal:
        named([DRAFT.model_copy(update={"id": one}) for one in ids], {"svc_1"})
    assert refusal.value.code is Code.INVALID
    assert [(one.field, one.code) for one in refusal.value.errors] == [(field, code)]


def test_hours_name_services_that_there_are() -> None:
    rule = WeeklyRule(weekday=0, start="14:00", end="15:00", service_ids=("svc_1",))
    dated = Override(date=MONDAY, sessions=(Session(start="09:00", end="10:00", service_ids=("svc_2",)),))
    check_services(Availability(weekly=(rule,)), {"svc_1"})
    for hours, field in (
        (Availability(weekly=(*EVERY_DAY, rule)), "weekly.7.service_ids"),
        (Availability(overrides=(dated,)), "overrides.0.sessions.0.service_ids"),
    ):
        with pytest.raises(VisitNowError) as refusal:
            check_services(hours, {"svc_3"})
        assert [one.field for one in refusal.value.errors] == [field]
