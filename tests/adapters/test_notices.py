"""The notices of consents: complete, the same in every language, and never changed once published."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adapters.notices import HERE, FileNotices
from models.consents import LANGUAGES, ConsentNotice, Purpose

NOTICES = FileNotices()


def with_another_whatsapp(folder: Path) -> FileNotices:
    """The notices with a second version of one of them, written into a folder."""
    for language in LANGUAGES:
        text = (HERE / f"{language}.toml").read_text(encoding="utf-8")
        table = text.partition("[whatsapp.1]\n")[2].partition("\n[")[0]
        lines = ['title = "New words"' if line.startswith("title") else line for line in table.splitlines()]
        (folder / f"{language}.toml").write_text("\n".join([text, "[whatsapp.2]", *lines]), encoding="utf-8")
    return FileNotices(folder)


@pytest.fixture
def newer(tmp_path: Path) -> FileNotices:
    """The notices once one of them has changed."""
    return with_another_whatsapp(tmp_path)


PUBLISHED = {
    "care.1.en": "1f54131612d190d0",
    "follow_up.1.en": "3046f20929eb2915",
    "whatsapp.1.en": "883ee4d822b45c34",
    "promotion.1.en": "a39045804d496b42",
    "care.1.hi": "1e3482d951fc2815",
    "follow_up.1.hi": "58b47c06606aa846",
    "whatsapp.1.hi": "0beec8bb622bb6e9",
    "promotion.1.hi": "4f0a45ffcf0001b9",
}
"""The first 16 digits of every notice's hash. Answers were given to these words: others need a new version."""


def _name(notice: ConsentNotice) -> str:
    return f"{notice.purpose}.{notice.version}.{notice.language}"


def test_no_published_notice_has_changed() -> None:
    assert {_name(one): one.digest[:16] for one in NOTICES.all()} == PUBLISHED


@pytest.mark.parametrize("purpose", Purpose)
def test_a_notice_says_the_same_in_every_language(purpose: Purpose) -> None:
    [english, *others] = [NOTICES.find(purpose, NOTICES.version(purpose), one) for one in LANGUAGES]
    assert english is not None
    for other in others:
        assert other is not None
        assert len(other.data) == len(english.data)
        assert len(other.services) == len(english.services)
        assert other.digest != english.digest
        # The words that lead to the switch and to the Board, in Devanagari.
        assert any("\u0900" <= letter <= "\u097f" for letter in other.withdraw)


@pytest.mark.parametrize(
    ("locale", "language"), [("hi", "hi"), ("hi-IN", "hi"), ("en_IN", "en"), ("ta", "en"), ("", "en")]
)
def test_a_reader_gets_their_language_or_english(locale: str, language: str) -> None:
    assert NOTICES.current(Purpose.CARE, locale).language == language


def test_a_new_version_is_shown_and_the_old_one_stays(newer: FileNotices) -> None:
    assert newer.version(Purpose.WHATSAPP) == 2
    assert newer.current(Purpose.WHATSAPP, "hi").title == "New words"
    assert newer.find(Purpose.WHATSAPP, 1, "hi") == NOTICES.find(Purpose.WHATSAPP, 1, "hi")


def test_a_language_that_lacks_a_notice_is_found_out(tmp_path: Path) -> None:
    with_another_whatsapp(tmp_path)
    shutil.copy(HERE / "hi.toml", tmp_path)
    with pytest.raises(ValueError, match="missing in some language"):
        FileNotices(tmp_path)


def test_there_is_nothing_beyond_what_was_written() -> None:
    assert NOTICES.find(Purpose.CARE, 99, "en") is None
    assert NOTICES.find(Purpose.CARE, 1, "ta") is None


def test_every_word_counts_for_the_hash() -> None:
    notice = NOTICES.current(Purpose.WHATSAPP, "en")
    changed = [notice.model_copy(update={name: "x"}) for name in ("title", "use", "without", "withdraw", "rights")]
    changed += [notice.model_copy(update={"data": (*notice.data, "your location")})]
    assert len({one.digest for one in (notice, *changed)}) == len(changed) + 1
