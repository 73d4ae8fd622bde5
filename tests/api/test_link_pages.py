"""The words of the page behind a link: all there in each language, in the one that its reader reads."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api import link_pages
from api.link_pages import LinkPages
from api.links import some_of_each_day
from models.booking import AppointmentState
from models.errors import Code, VisitNowError

FILES = sorted((Path(link_pages.__file__).parent / "pages").glob("*.toml"))
PAGES = LinkPages()
INDIA = ZoneInfo("Asia/Kolkata")


def words(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_language_has_all_words(path: Path) -> None:
    english = words(FILES[0].with_name("en.toml"))
    mine = words(path)
    assert mine.keys() == english.keys()
    assert set(mine["standings"]) == set(english["standings"]) >= {"attending", *AppointmentState}
    assert set(mine["problems"]) - {"other"} == set(english["problems"]) - {"other"} <= set(Code)
    assert "{percent}" in mine["refund"]
    assert all(text.strip() for text in (*mine["standings"].values(), *mine["problems"].values()))


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        (("hi", "en"), "hi"),
        ((None, "hi_IN"), "hi"),
        ((None, None, "ta", " hi-IN"), "hi"),
        (("ta",), "en"),
        ((), "en"),
    ],
)
def test_the_first_wish_that_there_are_words_for_counts(wishes: tuple[str | None, ...], language: str) -> None:
    assert PAGES.language(*wishes) == language


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("language", ["en", "hi"])
def test_whatever_goes_wrong_there_is_a_page_that_says_so(language: str, code: Code) -> None:
    page = PAGES.answer("/v1/links/x", language, problem=VisitNowError(code, retry_after=7))
    assert page.status_code >= 400
    assert 'role="alert"' in bytes(page.body).decode()
    assert page.headers["retry-after"] == "7"


def test_a_path_is_never_markup() -> None:
    page = PAGES.answer('/v1/links/"><script>', "en", problem=VisitNowError(Code.NOT_FOUND))
    assert "<script>" not in bytes(page.body).decode()


def test_of_each_day_a_few_times_are_offered() -> None:
    first = datetime(2026, 11, 25, 3, 30, tzinfo=UTC)
    morning = [first + number * timedelta(minutes=15) for number in range(30)]
    tomorrow = [first + timedelta(days=1)]
    assert some_of_each_day([], INDIA) == []
    offered = some_of_each_day([*morning, *tomorrow], INDIA)
    assert offered == [morning[0], morning[8], morning[16], morning[24], *tomorrow]
