"""Large files in sealed chunks: AES-256-GCM, each chunk bound to its place, its file and whether it is the last one.

The nonce is the chunk's number with a mark on the last one (the STREAM construction of Hoang, Reyhanitabar, Rogaway and
Vizár, 2015), so that no chunk can be moved, dropped or added; the additional data is the file's name, so that no file
can stand for another. A key is good for one file, written once.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NUMBER_BYTES: Final = 11


class ChunkCipher:
    """Seals and opens the chunks of one file."""

    def __init__(self, key: bytes, name: str, count: int) -> None:
        """`count` is how many chunks the file has."""
        self._aead = AESGCM(key)
        self._bound = name.encode()
        self._last = count - 1

    def seal(self, number: int, content: bytes) -> bytes:
        """The chunk as it is stored."""
        return self._aead.encrypt(self._nonce(number), content, self._bound)

    def open(self, number: int, sealed: bytes) -> bytes:
        """The chunk in clear. Raises `InvalidTag` where it is not exactly that chunk."""
        if number > self._last:
            raise InvalidTag
        return self._aead.decrypt(self._nonce(number), sealed, self._bound)

    def _nonce(self, number: int) -> bytes:
        return number.to_bytes(_NUMBER_BYTES, "big") + bytes([number == self._last])
