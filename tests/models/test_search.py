"""Words by their sound, symptoms, and the tokens that a search enters the index with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR, TENANT
from models.availability import Availability, Busy, WeeklyRule, slots
from models.free_days import free_days, searched_span
from models.providers import Offering, VisitMode
from models.search import (
    EVERYBODY,
    SYMPTOMS,
    SearchQuery,
    city_name,
    day_token,
    facet_values,
    folded,
    profile_tokens,
    sound,
    words,
)

ZONE = ZoneInfo(INDIRANAGAR.timezone)
WORDS = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=24)
VARIANTS = (
    ("aa", "a"), ("ee", "i"), ("oo", "u"), ("w", "v"), ("ph", "f"), ("sh", "s"), ("z", "j"), ("x", "ksh"),
    ("th", "t"), ("dh", "d"), ("bh", "b"), ("gh", "g"), ("kh", "k"), ("chh", "ch"), ("ll", "l"), ("nn", "n"),
    ("y", "i"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("deepa", "dipa"), ("lakshmi", "laxmi"), ("vijay", "wijay"), ("zakir", "jakir"), ("jyothi", "jyoti"),
        ("sooraj", "suraj"), ("fathima", "phatima"), ("mohammed", "mohamed"), ("aishwarya", "ayshvarya"),
        ("banerjee", "banerji"), ("bhaarat", "barat"), ("qureshi", "kureshi"),
    ],
)  # fmt: skip
def test_variants_of_a_name_sound_alike(one: str, other: str) -> None:
    assert sound(one) == sound(other)


@pytest.mark.parametrize(("one", "other"), [("rao", "roy"), ("mehta", "mehra"), ("iyer", "nair"), ("anil", "sunil")])
def test_different_names_stay_different(one: str, other: str) -> None:
    assert sound(one) != sound(other)


@example("x", ("x", "ksh"), 1)
@given(WORDS, st.sampled_from(VARIANTS), st.integers(0, 24))
def test_any_word_sounds_the_same_with_either_spelling(word: str, variant: tuple[str, str], at: int) -> None:
    long, short = variant
    before, after = word[:at], word[at:].lstrip("h")
    assert sound(before + long + after) == sound(before + short + after)


@given(WORDS)
def test_a_sound_sounds_like_itself(word: str) -> None:
    assert sound(sound(word)) == sound(word)
    assert sound(word)[:1] != ""


@given(WORDS, st.integers(1, 24))
def test_the_beginning_of_a_word_begins_its_sound(word: str, length: int) -> None:
    assert sound(word).startswith(sound(word[:length]))


@given(st.text(max_size=40))
def test_any_text_has_words(text: str) -> None:
    assert all(one == folded(one) and " " not in one for one in words(text) if len(one) < 24)
    assert SearchQuery(q=text.strip()[:80] or None).tokens


def test_scripts_that_are_not_latin_are_left_alone() -> None:
    assert sound("डॉक्टर") == "डॉक्टर"


def test_symptoms_lead_to_specialties_there_are() -> None:
    for specialty, said in SYMPTOMS.items():
        provider = ANANYA_RAO.provider.model_copy(update={"specialties": (specialty.title(),)})
        tokens = set(profile_tokens(provider, INDIRANAGAR))
        for word in words(said):
            assert f"w:{sound(word)}" in tokens, (specialty, word)


def test_the_token_that_says_most_comes_first() -> None:
    query = SearchQuery(
        q="dr khujli", specialty="Dermatology", city="Bangalore", language="kn", gender="female", mode=VisitMode.VIDEO,
        available_on=date(2031, 3, 3),
    )  # fmt: skip
    assert query.tokens == [
        f"w:{sound('khujli')}", "w:dr", "s:dermatology", "c:bengaluru", "d:2031-03-03:video", "l:kn", "g:female",
        "m:video",
    ]  # fmt: skip
    assert SearchQuery().tokens == [EVERYBODY]
    assert SearchQuery(q="...").tokens == [EVERYBODY]
    assert SearchQuery(available_on=date(2031, 3, 3)).tokens == ["d:2031-03-03"]
    assert city_name(" BOMBAY ") == "mumbai"


def test_whatever_is_asked_of_a_profile_is_among_its_tokens() -> None:
    provider = ANANYA_RAO.provider
    query = SearchQuery(
        q=provider.name, specialty=provider.specialties[0], city=INDIRANAGAR.city, language=provider.languages[0],
        gender="female", mode=provider.services[0].mode,
    )  # fmt: skip
    assert set(query.tokens) <= set(profile_tokens(provider, INDIRANAGAR))
    assert len(facet_values(provider, INDIRANAGAR)) >= 5


@given(
    st.lists(st.tuples(st.integers(0, 35 * 288), st.integers(1, 400)), max_size=12),
    st.integers(0, 48),
    st.integers(1, 60),
)
def test_a_day_is_free_when_a_list_of_slots_says_so(claims: list[tuple[int, int]], hour: int, horizon: int) -> None:
    now = datetime(2031, 3, 3, tzinfo=UTC) + timedelta(hours=hour)
    weekly = tuple(WeeklyRule(weekday=day, start="09:00", end="12:00") for day in (0, 2, 4))
    offering = Offering(
        provider=ANANYA_RAO.provider, clinic=INDIRANAGAR, tenant=TENANT,
        availability=Availability(weekly=weekly, horizon_days=horizon),
        absences=(Busy(now + timedelta(days=5), now + timedelta(days=8)),),
    )  # fmt: skip
    busy = [
        Busy(now + timedelta(minutes=5 * start), now + timedelta(minutes=5 * (start + length)))
        for start, length in claims
    ]
    first, last = searched_span(offering, now)
    starts = {
        slot.start: service.mode
        for service in offering.provider.services
        for slot in slots(
            offering.availability, service.timing, ZONE, first, last, now=now, busy=[*offering.absences, *busy],
            min_notice_minutes=offering.min_notice_minutes, horizon_days=offering.horizon_days,
        )
    }  # fmt: skip
    found = free_days(offering, busy, now)
    assert {one.day for one in found} == {start.astimezone(ZONE).date() for start in starts}
    assert [one.first for one in found][:1] == ([min(starts)] if starts else [])
    assert found == sorted(found)
    assert day_token(date(2031, 3, 3), None) == "d:2031-03-03"
