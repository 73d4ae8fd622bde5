"""Somebody's words in every disguise in which a store, a log or a message may carry them.

Plain and escaped, in letters of either case, in hex, UTF-16 and base64 within longer texts; phones also as whoever
hashes them would write them, and as our own index does.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from models.addresses import AddressKind, blind_index

LEAST: Final = 6
"""Shorter words are found by chance."""


class Needle(NamedTuple):
    """One disguise of one word."""

    word: str
    form: str
    content: bytes
    folded: bool = False
    """Whether letters of either case count."""


class Sighting(NamedTuple):
    """A word that was found, and where."""

    place: str
    word: str
    form: str


@dataclass
class Canaries:
    """Words that occur nowhere else; `index_key` makes the digests that phones are looked up by."""

    index_key: bytes
    words: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)

    def word(self, text: str) -> str:
        """A name, or anything else that somebody might type. Raises ValueError for one that is found by chance."""
        if len(text) < LEAST:
            msg = f"a word must have at least {LEAST} letters"
            raise ValueError(msg)
        self.words.append(text)
        return text

    def phone(self, number: str) -> str:
        """A number in E.164."""
        self.phones.append(number)
        return number

    def needles(self) -> list[Needle]:
        """Every disguise of every word."""
        found = [needle for word in self.words for needle in _disguises(word, word)]
        for number in self.phones:
            national = number.removeprefix("+91")
            spellings = (number, number.removeprefix("+"), national, f"0{national}")
            found += [needle for one in spellings[2:3] for needle in _disguises(number, one)]
            for one in spellings:
                found += _digests(number, "sha256", hashlib.sha256(one.encode()).digest())
            blind = bytes.fromhex(blind_index(self.index_key, AddressKind.PHONE, number))
            found += _digests(number, "blind index", blind)
        return found


def _disguises(word: str, text: str) -> Iterator[Needle]:
    plain = text.encode()
    # Bytes know only the case of plain letters.
    for one in dict.fromkeys((text, text.lower(), text.upper())):
        yield Needle(word, "plain", one.encode().lower(), folded=True)
    yield Needle(word, "escaped", json.dumps(text).strip('"').encode().lower(), folded=True)
    yield Needle(word, "hex", plain.hex().encode(), folded=True)
    yield Needle(word, "utf-16", text.encode("utf-16-le"))
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (Needle(word, "base64", one) for one in _within_base64(plain, alphabet))


def _within_base64(plain: bytes, encoded: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """What stays of it within a longer text, wherever in that it begins: less the letters that it shares."""
    for offset in range(3):
        whole = encoded(b"\0" * offset + plain)
        begin = -(-offset * 8 // 6)
        end = (offset + len(plain)) * 8 // 6
        yield whole[begin:end]


def _digests(word: str, what: str, digest: bytes) -> list[Needle]:
    return [
        Needle(word, what, digest),
        Needle(word, f"{what} in hex", digest.hex().encode(), folded=True),
        Needle(word, f"{what} in base64", base64.b64encode(digest).rstrip(b"=")),
        Needle(word, f"{what} in base64", base64.urlsafe_b64encode(digest).rstrip(b"=")),
    ]


class Lookout:
    """Looks for needles in what comes in pieces, with no more in memory than a piece and the longest needle."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        """Nothing has been seen yet."""
        self._needles = list(needles)
        self._overlap = max((len(one.content) for one in self._needles), default=1) - 1
        self._place = ""
        self._end = b""
        self._found: dict[Sighting, None] = {}

    def see(self, place: str, piece: bytes) -> None:
        """The next piece; one of the same place goes on where the one before it ended."""
        text = self._end + piece if place == self._place else piece
        self._found |= dict.fromkeys(sightings(place, text, self._needles))
        self._place, self._end = place, text[max(0, len(text) - self._overlap) :]

    @property
    def found(self) -> list[Sighting]:
        """Each place, word and disguise once, in the order in which they were seen."""
        return list(self._found)


def sightings(place: str, content: bytes, needles: Iterable[Needle]) -> list[Sighting]:
    """What is found in some bytes."""
    folded = content.lower()
    return [
        Sighting(place, one.word, one.form) for one in needles if one.content in (folded if one.folded else content)
    ]
