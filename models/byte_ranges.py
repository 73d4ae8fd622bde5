"""Which bytes of a file a request wants (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ONE_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", flags=re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(Exception):
    """The range begins behind the file's last byte, or asks for none."""


class ByteRange(NamedTuple):
    """The bytes [begin, end)."""

    begin: int
    end: int

    def content_range(self, size: int) -> str:
        """As the header says it: the last byte included."""
        return f"bytes {self.begin}-{self.end - 1}/{size}"


def wanted_range(header: str | None, size: int) -> ByteRange | None:
    """The one range that is asked for; None where the whole file is to be sent.

    Several ranges at once, other units and what is no range at all are ignored, as the standard allows. Raises
    `UnsatisfiableRangeError`.
    """
    match = _ONE_RANGE.fullmatch(header) if header is not None else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None
    if begin >= end:
        raise UnsatisfiableRangeError
    return ByteRange(begin, end)
