"""The notices of consents: one file per language, one table per purpose and version.

A version that was published never changes, since answers were given to its words; other words are another version, and
everybody is asked again. All versions stay here, so that a receipt can show what was agreed to.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from models.consents import LANGUAGES, ConsentNotice, Purpose

HERE: Final = Path(__file__).parent

_FILE: Final = TypeAdapter(dict[Purpose, dict[int, dict[str, str | list[str]]]])


class FileNotices:
    """Every notice; the files are read once."""

    def __init__(self, folder: Path = HERE) -> None:
        """Those in that folder. Raises ValueError where a file is not what it should be, or a language lacks one."""
        self._notices = {
            (purpose, version, language): ConsentNotice.model_validate(
                {**words, "purpose": purpose, "version": version, "language": language}
            )
            for language in LANGUAGES
            for purpose, versions in _read(folder / f"{language}.toml").items()
            for version, words in versions.items()
        }
        known = {(purpose, version) for purpose, version, _ in self._notices}
        self._versions = {
            purpose: max(version for one, version in known if one is purpose)
            for purpose in {purpose for purpose, _ in known}
        }
        wanted = {(purpose, version, one) for purpose, version in known for one in LANGUAGES}
        if wanted != self._notices.keys() or self._versions.keys() != set(Purpose):
            raise ValueError("a notice is missing in some language")

    def version(self, purpose: Purpose) -> int:
        """The version that is shown today."""
        return self._versions[purpose]

    def find(self, purpose: Purpose, version: int, language: str) -> ConsentNotice | None:
        """One notice, also of a version of before."""
        return self._notices.get((purpose, version, language))

    def current(self, purpose: Purpose, locale: str) -> ConsentNotice:
        """Today's notice in a reader's language, else in English; a region counts only as its language."""
        language = locale.replace("_", "-").partition("-")[0].lower()
        version = self.version(purpose)
        return self._notices.get((purpose, version, language)) or self._notices[purpose, version, LANGUAGES[0]]

    def all(self) -> tuple[ConsentNotice, ...]:
        """Every notice that there ever was."""
        return tuple(self._notices.values())


def _read(path: Path) -> dict[Purpose, dict[int, dict[str, str | list[str]]]]:
    return _FILE.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
