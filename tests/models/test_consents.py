"""What holds after which answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.consents import ASSUMED, Capacity, Consent, Purpose, holds, needs_answer, whose_answers

NOW = datetime(2027, 1, 5, 10, tzinfo=UTC)


def an_answer(purpose: Purpose, *, granted: bool, version: int) -> Consent:
    """What somebody said to that version."""
    return Consent(
        id="cns_1",
        number=1,
        subject_id="usr_1",
        about="usr_1",
        purpose=purpose,
        granted=granted,
        notice_version=version,
        language="en",
        notice_sha256="0" * 64,
        capacity=Capacity.SELF,
        at=NOW,
    )


@pytest.mark.parametrize("purpose", Purpose)
def test_what_was_never_asked_is_assumed_only_where_the_data_was_given_for_it(purpose: Purpose) -> None:
    assert holds(purpose, None, 1) is (purpose in {Purpose.CARE, Purpose.FOLLOW_UP})
    assert needs_answer(None, 1)


@given(purpose=st.sampled_from(Purpose), said=st.integers(1, 9), today=st.integers(1, 9))
def test_a_no_holds_whatever_the_notice_says_later(purpose: Purpose, said: int, today: int) -> None:
    last = an_answer(purpose, granted=False, version=said)
    assert not holds(purpose, last, today)


@given(purpose=st.sampled_from(Purpose), said=st.integers(1, 9), later=st.integers(0, 5))
def test_a_yes_holds_for_the_notice_that_it_was_given_to(purpose: Purpose, said: int, later: int) -> None:
    last = an_answer(purpose, granted=True, version=said)
    assert holds(purpose, last, said)
    assert holds(purpose, last, said + later) is (later == 0 or purpose in ASSUMED)
    assert needs_answer(last, said + later) is (later > 0), "another notice asks again"


def test_the_answer_of_a_line_is_what_was_said() -> None:
    line = an_answer(Purpose.WHATSAPP, granted=True, version=1)
    assert line.answer.model_dump() == line.model_dump(exclude={"id", "number", "at"})


@pytest.mark.parametrize("purpose", Purpose)
def test_a_dependants_visit_is_used_for_nothing_more_than_itself_against_their_no(purpose: Purpose) -> None:
    own = ("usr_1",)
    assert whose_answers(purpose, "usr_1", None) == own
    alone = purpose in {Purpose.CARE, Purpose.WHATSAPP}
    assert whose_answers(purpose, "usr_1", "dep_1") == (own if alone else ("usr_1", "dep_1"))
    if purpose is Purpose.PROMOTION:
        assert not holds(purpose, None, 1), "never asked about a dependant, so never done"
