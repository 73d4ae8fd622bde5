"""When a visit may be rated, what is published by itself, and what a rating is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.reviews import PRIOR_MEAN, Decision, Opinion, Rating, ReviewState, ruling


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "Kind and thorough, 10/10.",
        "Waited 45 minutes. Dr. Rao explained everything.",
        "Paid Rs. 500, got 15 minutes; came at 10:30.",
        "बहुत अच्छे डॉक्टर हैं।",
    ],
)
def test_words_about_a_visit_are_published(comment: str | None) -> None:
    assert ruling(Opinion(rating=1, comment=comment)) is ReviewState.PUBLISHED


@pytest.mark.parametrize(
    "comment",
    [
        "Call me on 98123 45678",
        "+91-98123-45678",
        "write to a@b",
        "see https://example.org/x",
        "WWW.EXAMPLE.ORG",
        "cheaper at example.in",
    ],
)
def test_whatever_leads_to_somebody_waits_for_a_person(comment: str) -> None:
    assert ruling(Opinion(rating=5, comment=comment)) is ReviewState.PENDING


def test_a_decision_says_what_becomes_of_it() -> None:
    assert [one.state for one in Decision] == [ReviewState.PUBLISHED, ReviewState.WITHHELD]


def test_nobody_has_rated() -> None:
    assert Rating(count=0, total=0).mean is None


@given(st.lists(st.integers(1, 5), min_size=1, max_size=300))
def test_the_mean_lies_between_what_is_assumed_and_what_was_said(stars: list[int]) -> None:
    mean = Rating(count=len(stars), total=sum(stars)).mean
    plain = sum(stars) / len(stars)
    assert mean is not None
    assert min(plain, PRIOR_MEAN) - 1e-9 <= mean <= max(plain, PRIOR_MEAN) + 1e-9


@given(st.lists(st.integers(1, 5), min_size=1, max_size=50))
def test_another_rating_moves_it_towards_itself(stars: list[int]) -> None:
    before = Rating(count=len(stars), total=sum(stars)).mean
    best = Rating(count=len(stars) + 1, total=sum(stars) + 5).mean
    worst = Rating(count=len(stars) + 1, total=sum(stars) + 1).mean
    assert before is not None
    assert best is not None
    assert worst is not None
    assert worst < before < best
