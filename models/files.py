"""Uploaded files: what they are by their first bytes, whatever their name says, and how large they may be."""

from __future__ import annotations

from typing import Final

MAX_DOCUMENT_BYTES: Final = 10 * 1024 * 1024

_SIGNATURES: Final = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}
"""The first bytes of the files that are accepted (ISO 32000-1 7.5.2, PNG 5.2, JPEG B.1.1)."""

_EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The harmless file that every scanner must find (EICAR); in two parts, so that no scanner finds this source."""

_ACTIVE: Final = (b"/JavaScript", b"/Launch", b"/EmbeddedFile", b"/RichMedia")
"""Names of a PDF that runs or carries something (ISO 32000-1 12.6.4, 7.11.4); a certificate needs none of them."""


def media_type_of(content: bytes) -> str | None:
    """The media type that the content itself shows; None for whatever is not accepted."""
    return next((known for signature, known in _SIGNATURES.items() if content.startswith(signature)), None)


def is_suspicious(content: bytes) -> bool:
    """Whether a file carries what a certificate would not: a scanner's test signature, or a PDF's active content."""
    if _EICAR in content:
        return True
    return content.startswith(b"%PDF-") and any(name in content for name in _ACTIVE)
