"""Words that occur nowhere else, and the search for them in whatever was stored or said."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from typing import Final

from tests.api.test_people import a_phone, an_email

MIN_BYTES: Final = 6
"""Shorter words are found by chance."""


class Canaries:
    """Words that occur nowhere else."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def word(self, what: str) -> str:
        """A name, or anything else that somebody might type."""
        return self._kept(f"{what.title()} Q{secrets.token_hex(5)}")

    def phone(self) -> str:
        """A number; it is looked for with and without its country's code."""
        number = a_phone()
        self._kept(number.removeprefix("+91"))
        return number

    def email(self) -> str:
        """An address, of which the part before the @ is looked for too."""
        address = an_email()
        self._kept(address.partition("@")[0])
        return address

    def seen_in(self, content: bytes) -> list[str]:
        """Those that occur there, in letters of either case."""
        folded = content.lower()
        return [one for one in self.words if one.lower().encode() in folded]

    def disguised_in(self, content: bytes) -> list[str]:
        """Those that occur there as they are, in base64, in hex, or as a hash that anybody could compute."""
        folded = content.lower()
        return [one for one in self.words if any(form.lower() in folded for form in _forms(one))]

    def _kept(self, word: str) -> str:
        assert len(word) >= MIN_BYTES
        self.words.append(word)
        return word


def _forms(word: str) -> Iterator[bytes]:
    for plain in {word, f"+91{word}"} if word.isdigit() else {word}:
        content = plain.encode()
        yield content
        yield content.hex().encode()
        yield hashlib.sha256(content).hexdigest().encode()
        # What stands before a word decides how base64 writes it, but for its ends.
        for before in range(3):
            whole = base64.b64encode(bytes(before) + content)
            yield whole[4 if before else 0 : (before + len(content)) // 3 * 4]
