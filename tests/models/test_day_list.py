"""The day list's rules: tokens that stay, and a queue whose estimates follow what has really happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.booking import ActorKind, AppointmentState, EventType, HistoryEntry, ServiceSnapshot
from models.day_list import Visit, day_list, tokens, turns_of, visit_times, without_token
from models.money import Money
from models.payments import PaymentState
from models.providers import PaymentMode, VisitMode

State = AppointmentState
NINE = datetime(2031, 3, 3, 3, 30, tzinfo=UTC)
"""09:00 in Kolkata."""
MIDNIGHT = NINE + timedelta(hours=15)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def a_visit(name: str, at: float, state: State = State.CONFIRMED, length: int = 15, **changes: object) -> Visit:
    """A visit planned `at` minutes after nine."""
    buffers = {"buffer_before_minutes": changes.pop("before", 0), "buffer_after_minutes": changes.pop("after", 0)}
    service = ServiceSnapshot.model_validate(
        {
            "id": "svc_1",
            "name": "Consultation",
            "duration_minutes": length,
            **buffers,
            "fee": Money(amount=0),
            "mode": VisitMode.IN_PERSON,
            "payment": PaymentMode.FREE,
        }
    )
    start = NINE + minutes(at)
    fields: dict[str, object] = {
        "id": name,
        "tenant_id": "tnt_1",
        "clinic_id": "cln_1",
        "provider_id": "prv_1",
        "subject_id": f"usr_{name}",
        "service": service,
        "start": start,
        "end": start + minutes(length),
        "state": state,
        "payment_state": PaymentState.NOT_REQUIRED,
        "version": 1,
    }
    return Visit.model_validate({**fields, **changes})


def starts(visits: Sequence[Visit], now: datetime) -> dict[str, float]:
    """When everybody's turn comes, in minutes after nine, in the queue's order."""
    turns = sorted(turns_of(visits, now).items(), key=lambda one: one[1].position)
    return {name: (turn.estimated_start - NINE) / minutes(1) for name, turn in turns}


# The queue, by example


def test_a_day_that_has_not_begun_goes_as_planned() -> None:
    day = [a_visit("a", 0), a_visit("b", 15), a_visit("c", 60)]
    assert starts(day, NINE - minutes(30)) == {"a": 0, "b": 15, "c": 60}


def test_whoever_takes_longer_delays_those_behind_until_a_gap_makes_up_for_it() -> None:
    inside = a_visit("a", 0, State.IN_CONSULTATION, arrived_at=NINE, began_at=NINE + minutes(5))
    day = [
        inside,
        a_visit("b", 15, State.CHECKED_IN, arrived_at=NINE + minutes(10)),
        a_visit("c", 30),
        a_visit("d", 90),
    ]
    assert starts(day, NINE + minutes(12)) == {"b": 20, "c": 35, "d": 90}
    assert starts(day, NINE + minutes(26)) == {"b": 26, "c": 41, "d": 90}, "nobody is out before now"
    found = day_list(day, {"a": 1, "b": 2}, NINE + minutes(26), MIDNIGHT)
    [doctor] = found.doctors
    assert (doctor.late_minutes, doctor.in_consultation, doctor.waiting, doctor.expected) == (11, (1,), 1, 2)
    assert [(one.visit.id, one.turn and one.turn.late_minutes) for one in found.entries] == [
        ("a", None), ("b", 11), ("c", 11), ("d", 0),
    ]  # fmt: skip


def test_a_doctor_who_has_not_come_yet_is_late() -> None:
    day = [a_visit("a", 0, State.CHECKED_IN, arrived_at=NINE - minutes(10))]
    [doctor] = day_list(day, {}, NINE + minutes(40), MIDNIGHT).doctors
    assert doctor.late_minutes == 40


def test_whoever_is_not_there_delays_nobody_and_goes_in_when_they_come() -> None:
    day = [a_visit("a", 0), a_visit("b", 15), a_visit("c", 30, State.CHECKED_IN, arrived_at=NINE)]
    now = NINE + minutes(10)
    assert starts(day, now) == {"a": 10, "b": 15, "c": 30}
    [doctor] = day_list(day, {}, now, MIDNIGHT).doctors
    assert doctor.late_minutes == 0
    came = [day[0].model_copy(update={"state": State.CHECKED_IN, "arrived_at": NINE + minutes(16)}), *day[1:]]
    came[1] = came[1].model_copy(update={"state": State.CHECKED_IN, "arrived_at": NINE + minutes(12)})
    assert starts(came, NINE + minutes(16)) == {"b": 16, "a": 31, "c": 46}, "behind those who were due when they came"


def test_a_walk_in_stands_where_the_plan_puts_them() -> None:
    walk_in = a_visit("walk-in", 20, State.CHECKED_IN, arrived_at=NINE + minutes(18), length=10)
    assert starts([a_visit("a", 30), walk_in], NINE + minutes(18)) == {"walk-in": 20, "a": 30}


def test_what_is_over_has_no_turn_and_delays_nobody() -> None:
    over = [
        a_visit("done", 0, State.COMPLETED, began_at=NINE, ended_at=NINE + minutes(50)),
        a_visit("cancelled", 15, State.CANCELLED),
        a_visit("missed", 30, State.NO_SHOW),
    ]
    waiting = a_visit("a", 45, State.CHECKED_IN, arrived_at=NINE)
    assert starts([*over, waiting], NINE + minutes(20)) == {"a": 45}


def test_buffers_lie_between_visits() -> None:
    inside = a_visit("a", 5, State.IN_CONSULTATION, began_at=NINE + minutes(15), after=5)
    behind = a_visit("b", 30, State.CHECKED_IN, arrived_at=NINE, before=5)
    assert starts([inside, behind], NINE + minutes(16)) == {"b": 40}


def test_a_group_begins_together() -> None:
    group = [a_visit(name, 0, State.CHECKED_IN, arrived_at=NINE, capacity=3, length=30) for name in "abc"]
    after = a_visit("d", 30)
    assert starts([*group, after], NINE + minutes(10)) == {"a": 10, "b": 10, "c": 10, "d": 40}
    begun = group[0].model_copy(update={"state": State.IN_CONSULTATION, "began_at": NINE + minutes(10)})
    assert starts([begun, *group[1:], after], NINE + minutes(12)) == {"b": 12, "c": 12, "d": 42}


def test_a_day_that_is_over_promises_nothing() -> None:
    day = [a_visit("a", 0), a_visit("b", 15, State.IN_CONSULTATION, began_at=NINE)]
    found = day_list(day, {}, MIDNIGHT, MIDNIGHT)
    assert [one.turn for one in found.entries] == [None, None]
    assert found.doctors[0].late_minutes == 0


def test_what_never_was_certain_is_no_visit() -> None:
    day = [a_visit(state, 0, state) for state in State]
    shown = {one.visit.id for one in day_list(day, {}, NINE, MIDNIGHT).entries}
    assert shown == set(State) - {State.HELD, State.EXPIRED, State.CANCELLED}
    kept = {one.visit.id for one in day_list(day, {State.CANCELLED: 1, State.HELD: 2}, NINE, MIDNIGHT).entries}
    assert kept == shown | {State.CANCELLED}, "somebody may ask for a number that they were given"


def test_doctors_have_queues_of_their_own() -> None:
    late = a_visit("a", 0, State.IN_CONSULTATION, began_at=NINE + minutes(30))
    other = a_visit("b", 15, provider_id="prv_2")
    found = day_list([other, late], {}, NINE + minutes(10), MIDNIGHT)
    assert [(one.provider_id, one.late_minutes) for one in found.doctors] == [("prv_1", 30), ("prv_2", 0)]
    assert [one.turn and one.turn.position for one in found.entries] == [None, 1]


def test_the_last_time_of_each_counts() -> None:
    events = [EventType.CONFIRMED, EventType.CHECKED_IN, EventType.NO_SHOW, EventType.CHECKED_IN]
    history = [
        HistoryEntry(state=State.CHECKED_IN, at=NINE + minutes(number), by=ActorKind.CLINIC, event=event)
        for number, event in enumerate(events)
    ]
    assert visit_times(history) == {"arrived_at": NINE + minutes(3), "began_at": None, "ended_at": None}


# Properties


@st.composite
def a_day(draw: st.DrawFn) -> list[Visit]:
    """A day that does not overlap in its plan, with its visits in any states."""
    visits: list[Visit] = []
    at = 0
    for number in range(draw(st.integers(0, 8))):
        at += 5 * draw(st.integers(0, 6))
        length = 5 * draw(st.integers(1, 6))
        state = draw(st.sampled_from(sorted(State)))
        moment = NINE + minutes(draw(st.integers(-30, 240)))
        times = {
            "arrived_at": moment if state in {State.CHECKED_IN, State.IN_CONSULTATION} else None,
            "began_at": moment + minutes(3) if state is State.IN_CONSULTATION else None,
        }
        visits.append(a_visit(f"apt_{number}", at, state, length, **times))
        at += length
    return visits


MOMENTS = st.integers(-3600, 14_400).map(lambda seconds: NINE + timedelta(seconds=seconds))


@given(a_day(), MOMENTS)
def test_estimates(visits: list[Visit], now: datetime) -> None:
    turns = turns_of(visits, now)
    by_id = {one.id: one for one in visits}
    waiting = {one.id for one in visits if one.state in {State.CONFIRMED, State.CHECKED_IN}}
    assert turns.keys() == waiting
    assert sorted(turn.position for turn in turns.values()) == list(range(1, len(turns) + 1))
    for name, turn in turns.items():
        assert turn.estimated_start >= max(now, by_id[name].start), "neither in the past nor before the plan"
        assert turn.late_minutes == (turn.estimated_start - by_id[name].start) / minutes(1)
    queue = sorted(turns.items(), key=lambda one: one[1].position)
    keeping = [(name, turn) for name, turn in queue if not by_id[name].is_missed(now)]
    for (first, turn), (_, following) in pairwise(keeping):
        assert following.estimated_start >= turn.estimated_start + by_id[first].length - minutes(1)
    assert turns_of(reversed(visits), now) == turns, "the order in which they are read is no matter"


@given(a_day(), MOMENTS)
def test_whoever_is_away_changes_nothing_for_the_others(visits: list[Visit], now: datetime) -> None:
    there = [one for one in visits if one.state in {State.CHECKED_IN, State.IN_CONSULTATION} or one.start >= now]
    there = [one for one in there if one.state in {State.CHECKED_IN, State.IN_CONSULTATION, State.CONFIRMED}]
    everybody, without = turns_of(visits, now), turns_of(there, now)
    assert {name: turn.estimated_start for name, turn in without.items()} == {
        name: everybody[name].estimated_start for name in without
    }


@given(a_day())
def test_on_time_the_estimate_is_the_plan(visits: list[Visit]) -> None:
    coming = [one.model_copy(update={"state": State.CONFIRMED, "arrived_at": None}) for one in visits]
    found = day_list(coming, {}, NINE - minutes(1), MIDNIGHT)
    assert all(one.turn is not None and one.turn.estimated_start == one.visit.start for one in found.entries)
    assert all(one.late_minutes == 0 for one in found.doctors)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60), st.sampled_from(sorted(State))), max_size=30))
def test_a_token_once_given_never_changes(looks: list[tuple[int, int, State]]) -> None:
    """Visits come, move and are cancelled in any order, and the list is looked at after each change."""
    given_ones: list[str] = []
    today: dict[str, Visit] = {}
    promised: dict[str, int] = {}
    for number, at, state in looks:
        today[f"apt_{number}"] = a_visit(f"apt_{number}", 5 * at, state)
        new = without_token(given_ones, today.values())
        assert not set(new) & set(given_ones)
        given_ones += new
        now_given = tokens(given_ones)
        assert all(now_given[name] == token for name, token in promised.items())
        assert len(set(now_given.values())) == len(now_given)
        promised = now_given
        assert {today[name].state for name in new}.isdisjoint({State.CANCELLED, State.HELD, State.EXPIRED})
    never = {State.CANCELLED, State.HELD, State.EXPIRED}
    assert {name for name, one in today.items() if one.state not in never} <= promised.keys()


def test_those_who_come_new_are_numbered_by_the_plan() -> None:
    day = [a_visit("c", 30), a_visit("b", 0), a_visit("a", 15), a_visit("x", 5, State.CANCELLED)]
    assert without_token([], day) == ["b", "a", "c"]
    between = [*day, a_visit("d", 10)]
    assert tokens(["b", "a", "c", *without_token(["b", "a", "c"], between)]) == {"b": 1, "a": 2, "c": 3, "d": 4}
