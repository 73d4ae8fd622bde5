"""Uploaded files: what they are by their first bytes, whatever their name says, and how large they may be."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from typing import Final

MAX_DOCUMENT_BYTES: Final = 10 * 1024 * 1024
"""A file in one request."""

MAX_UPLOAD_BYTES: Final = 50 * 1024 * 1024
"""A file that comes in pieces."""

MAX_NAME: Final = 120
HEAD_BYTES: Final = 1024
"""How much of a file's beginning tells what it is: readers of PDF look for its signature that far."""

_UNNAMED: Final = "document"
_LONGEST_SUFFIX: Final = 8

_PDF: Final = b"%PDF-"
_SIGNATURES: Final = {
    _PDF: "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}
"""The first bytes of the files that are accepted (ISO 32000-1 7.5.2, PNG 5.2, JPEG B.1.1)."""

_EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The harmless file that every scanner must find (EICAR); in two parts, so that no scanner finds this source."""

_ACTIVE: Final = (b"/JavaScript", b"/Launch", b"/EmbeddedFile", b"/RichMedia")
"""Names of a PDF that runs or carries something (ISO 32000-1 12.6.4, 7.11.4); a certificate needs none of them."""

_MARKUP: Final = (b"<script", b"<html", b"<svg", b"<!doctype")
"""What makes a browser take a file for a page."""

_LONGEST: Final = max(len(one) for one in (_EICAR, *_ACTIVE))


def media_type_of(content: bytes) -> str | None:
    """The media type that the content itself shows by its beginning; None for whatever is not accepted.

    A file that is two things at once is none: what one reader takes for a picture, another might run.
    """
    head = content[:HEAD_BYTES]
    found = next((known for signature, known in _SIGNATURES.items() if head.startswith(signature)), None)
    if found is None or any(one in head.lower() for one in _MARKUP):
        return None
    return None if _PDF in head[1:] else found


class Suspicion:
    """Looks for what no report carries, piece by piece: a scanner's test file, a PDF's active content."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._seen = b""
        self._is_pdf: bool | None = None
        self.raised = False

    def look(self, piece: bytes) -> None:
        """See the next piece; signatures may reach over its border."""
        text = self._seen + piece
        if self._is_pdf is None and len(text) >= len(_PDF):
            self._is_pdf = text.startswith(_PDF)
        wanted = (_EICAR, *_ACTIVE) if self._is_pdf else (_EICAR,)
        self.raised = self.raised or any(one in text for one in wanted)
        self._seen = text[-(_LONGEST - 1) :]


def safe_name(given: str) -> str:
    """A file's name as it may be shown: its last part, without what cannot be seen, and not too long."""
    last = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    shown = "".join(one for one in last if one.isprintable()).strip()
    if len(shown) > MAX_NAME:
        stem, dot, suffix = shown.rpartition(".")
        suffix = dot + suffix if stem and len(suffix) <= _LONGEST_SUFFIX else ""
        shown = shown[: MAX_NAME - len(suffix)] + suffix
    return _UNNAMED if not shown.strip(".") else shown


async def in_one_piece(content: bytes) -> AsyncIterator[bytes]:
    """A file that is at hand as a whole, for whoever reads pieces."""
    yield content
