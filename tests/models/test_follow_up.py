"""What follows a visit, as pure rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.follow_up import (
    LONGEST_SLEEP,
    LOOK_AGAIN,
    SUMMARY_WINDOW,
    WORTH,
    Course,
    Decision,
    Fate,
    Outcome,
    Part,
    Written,
    decide,
)
from models.policy import QuietHours, TenantPolicy

COMPLETED = datetime(2031, 3, 3, 5, 0, tzinfo=UTC)
"""10:30 in Kolkata on a Monday."""

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ASKED = COMPLETED + 2 * HOUR
AGAIN = ASKED + 48 * HOUR
MORNING_BEFORE = datetime(2031, 3, 9, 3, 30, tzinfo=UTC)
"""09:00 in Kolkata on the day before the 10th."""

WRITTEN = Written(version=1, at=COMPLETED, follow_up_on=date(2031, 3, 10))
NO_DATE = WRITTEN.model_copy(update={"follow_up_on": None})


def course(**change: object) -> Course:
    fields = {"completed_at": COMPLETED, "policy": TenantPolicy(), "timezone": "Asia/Kolkata", "written": NO_DATE}
    return Course.model_validate({**fields, **change})


def known(fate: Fate, *parts: str, at: datetime = ASKED) -> tuple[Outcome, ...]:
    return tuple(Outcome(part=Part(key.partition(".")[0]), key=key, fate=fate, at=at) for key in parts)


TOLD = known(Fate.TOLD, "summary", "feedback")


def told(decision: Decision) -> list[str]:
    return [one.key for one in decision.tells]


def skipped(decision: Decision) -> dict[str, Fate]:
    return {one.key: one.fate for one in decision.skipped}


def test_a_summary_goes_out_as_soon_as_it_is_written() -> None:
    assert told(decide(course(), COMPLETED)) == ["summary"]


def test_a_summary_is_waited_for_with_a_bound() -> None:
    waiting = course(written=None, reviewed=True)
    first = decide(waiting, COMPLETED)
    assert (first.tells, first.wake is not None and first.wake.at) == ((), COMPLETED + LOOK_AGAIN)
    last = decide(waiting, COMPLETED + SUMMARY_WINDOW - HOUR)
    assert last.wake is not None
    assert last.wake.at == COMPLETED + SUMMARY_WINDOW
    assert decide(waiting, COMPLETED + SUMMARY_WINDOW).wake is None
    assert told(decide(course(reviewed=True), COMPLETED + SUMMARY_WINDOW + DAY)) == ["summary"]


def test_the_question_is_asked_once_after_the_tenants_delay_and_once_more() -> None:
    before = decide(course(outcomes=known(Fate.TOLD, "summary")), COMPLETED + HOUR)
    assert (before.tells, before.wake is not None and before.wake.at) == ((), ASKED)
    assert told(decide(course(outcomes=known(Fate.TOLD, "summary")), ASKED)) == ["feedback"]
    between = decide(course(outcomes=TOLD), ASKED + HOUR)
    assert (between.tells, between.wake is not None and between.wake.at) == ((), AGAIN)
    assert told(decide(course(outcomes=TOLD), AGAIN)) == ["feedback_again"]
    after = decide(course(outcomes=(*TOLD, *known(Fate.TOLD, "feedback_again"))), AGAIN)
    assert after == Decision()


def test_who_has_rated_is_not_asked() -> None:
    early = decide(course(reviewed=True, outcomes=known(Fate.TOLD, "summary")), COMPLETED + HOUR)
    assert skipped(early) == {"feedback": Fate.REVIEWED}
    late = decide(course(reviewed=True, outcomes=TOLD), ASKED + HOUR)
    assert (skipped(late), late.wake) == ({"feedback_again": Fate.REVIEWED}, None)


def test_who_was_not_asked_is_not_asked_again() -> None:
    outcomes = (*known(Fate.TOLD, "summary"), *known(Fate.NO_CONSENT, "feedback"))
    assert decide(course(outcomes=outcomes), AGAIN) == Decision()


def test_a_no_stops_the_questions_and_the_way_back_but_not_the_summary() -> None:
    seen = decide(course(allowed=False, written=WRITTEN), COMPLETED)
    assert told(seen) == ["summary"]
    assert skipped(seen) == {"feedback": Fate.NO_CONSENT, "revisit.v1": Fate.NO_CONSENT}
    assert seen.wake is None


def test_a_no_between_the_question_and_its_repetition_counts() -> None:
    assert skipped(decide(course(allowed=False, outcomes=TOLD), ASKED + HOUR)) == {"feedback_again": Fate.NO_CONSENT}


def test_quiet_hours_put_the_question_off_and_are_the_readers() -> None:
    evening = datetime(2031, 3, 3, 14, 0, tzinfo=UTC)  # 19:30 in Kolkata: two hours later it is quiet there
    outcomes = known(Fate.TOLD, "summary")
    here = decide(course(completed_at=evening, outcomes=outcomes), evening + 2 * HOUR)
    assert (here.tells, here.wake is not None and here.wake.at) == ((), datetime(2031, 3, 4, 2, 30, tzinfo=UTC))
    there = decide(course(completed_at=evening, outcomes=outcomes, timezone="America/New_York"), evening + 2 * HOUR)
    assert told(there) == ["feedback"]


def test_delays_in_seconds_are_tried_out_at_any_hour() -> None:
    night = datetime(2031, 3, 3, 20, 0, tzinfo=UTC)
    quick = TenantPolicy(feedback_after_seconds=2)
    assert told(decide(course(completed_at=night, policy=quick), night + timedelta(seconds=2)))[-1] == "feedback"
    always = QuietHours(start=time(0), end=time(23, 59))
    strict = quick.model_copy(update={"quiet_hours": always})
    assert told(decide(course(completed_at=night, policy=strict), night + timedelta(seconds=2))) == ["summary"]


def test_after_an_outage_old_questions_are_left_out() -> None:
    assert skipped(decide(course(), ASKED + WORTH + HOUR)) == {"feedback": Fate.TOO_LATE}
    assert skipped(decide(course(outcomes=TOLD), AGAIN + WORTH + HOUR)) == {"feedback_again": Fate.TOO_LATE}


# The way back

ASKED_AND_ANSWERED = (*known(Fate.TOLD, "summary"), *known(Fate.REVIEWED, "feedback"))


def way_back(now: datetime, **change: object) -> Decision:
    return decide(course(**{"written": WRITTEN, "outcomes": ASKED_AND_ANSWERED, "reviewed": True, **change}), now)


def test_the_way_back_is_shown_on_the_morning_before_on_the_readers_wall() -> None:
    early = way_back(MORNING_BEFORE - HOUR)
    assert (early.tells, early.wake is not None and early.wake.at) == ((), MORNING_BEFORE)
    [tell] = way_back(MORNING_BEFORE).tells
    assert (tell.key, tell.expires_at) == ("revisit.v1", datetime(2031, 3, 10, 18, 30, tzinfo=UTC))
    there = way_back(MORNING_BEFORE, timezone="America/New_York")
    # Clocks change on that day.
    assert (there.tells, there.wake is not None and there.wake.at) == ((), datetime(2031, 3, 9, 13, 0, tzinfo=UTC))


def test_who_has_booked_again_by_then_needs_no_way_back() -> None:
    assert way_back(MORNING_BEFORE - HOUR, booked=True).wake is not None
    assert skipped(way_back(MORNING_BEFORE, booked=True)) == {"revisit.v1": Fate.BOOKED}


@pytest.mark.parametrize(
    ("day", "fate"),
    [
        (date(2031, 3, 4), Fate.JUST_TOLD),
        (date(2031, 3, 3), Fate.JUST_TOLD),
        (date(2031, 1, 1), Fate.JUST_TOLD),
        (date.min, Fate.JUST_TOLD),
        (date(2034, 1, 1), Fate.TOO_FAR),
        (date.max, Fate.TOO_FAR),
    ],
)
def test_dates_that_need_no_reminder(day: date, fate: Fate) -> None:
    seen = way_back(COMPLETED, written=WRITTEN.model_copy(update={"follow_up_on": day}))
    assert (skipped(seen), seen.tells, seen.wake) == ({"revisit.v1": fate}, (), None)


def test_late_but_not_over_the_way_back_is_shown_outside_quiet_hours() -> None:
    assert told(way_back(MORNING_BEFORE + 6 * HOUR)) == ["revisit.v1"]
    night = way_back(datetime(2031, 3, 9, 16, 0, tzinfo=UTC))
    assert (night.tells, night.wake is not None and night.wake.at) == ((), datetime(2031, 3, 10, 2, 30, tzinfo=UTC))
    assert skipped(way_back(datetime(2031, 3, 10, 18, 30, tzinfo=UTC))) == {"revisit.v1": Fate.TOO_LATE}


def test_another_version_of_the_summary_has_a_date_of_its_own() -> None:
    decided = (*ASKED_AND_ANSWERED, *known(Fate.TOLD, "revisit.v1"))
    later = Written(version=2, at=MORNING_BEFORE, follow_up_on=date(2031, 4, 10))
    seen = way_back(MORNING_BEFORE + HOUR, outcomes=decided, written=later)
    assert (seen.tells, seen.wake is not None and seen.wake.at) == ((), datetime(2031, 4, 8, 4, 30, tzinfo=UTC))
    same = way_back(MORNING_BEFORE + HOUR, outcomes=decided, written=WRITTEN.model_copy(update={"version": 2}))
    assert told(same) == ["revisit.v2"]


def test_nobody_sleeps_for_longer_than_a_month() -> None:
    far = way_back(COMPLETED, written=WRITTEN.model_copy(update={"follow_up_on": date(2032, 3, 10)}))
    assert far.wake is not None
    assert far.wake.at == COMPLETED + LONGEST_SLEEP


def test_a_low_rating_is_a_task_once() -> None:
    low = course(low=True, reviewed=True)
    assert decide(low, COMPLETED).raises
    assert not decide(low.model_copy(update={"outcomes": known(Fate.RAISED, "low_rating")}), COMPLETED).raises


KNOWN = st.fixed_dictionaries({"reviewed": st.booleans(), "allowed": st.booleans(), "booked": st.booleans()})


@given(
    begun=st.timedeltas(min_value=timedelta(), max_value=60 * DAY),
    facts=KNOWN,
    ahead=st.none() | st.integers(min_value=-3, max_value=45),
)
def test_it_always_ends_and_tells_nothing_twice(begun: timedelta, facts: dict[str, bool], ahead: int | None) -> None:
    """Whatever is known when it begins: done turn after turn it ends, with each part decided at most once."""
    now = COMPLETED + begun
    outcomes: list[Outcome] = []
    written = None if ahead is None else Written(version=1, at=COMPLETED, follow_up_on=COMPLETED.date() + ahead * DAY)
    for _ in range(100):
        seen = decide(course(**facts, written=written, outcomes=tuple(outcomes)), now)
        outcomes += seen.skipped
        outcomes += [Outcome(part=one.part, key=one.key, fate=Fate.TOLD, at=now) for one in seen.tells]
        assert all(one.expires_at > now for one in seen.tells)
        if not seen.tells and seen.wake is None:
            break
        if not seen.tells and seen.wake is not None:
            assert seen.wake.at > now
            now = seen.wake.at
    else:
        pytest.fail("it does not end")
    keys = [one.key for one in outcomes]
    assert len(keys) == len(set(keys))
    unasked = {one.key for one in outcomes if one.fate is Fate.TOLD} - {"summary"}
    assert facts["allowed"] or not unasked
    assert not facts["reviewed"] or unasked <= {"revisit.v1"}
