"""How a large file lies in object storage: sealed chunks in a row, cut into objects of at most two mebibytes.

A range of a file needs only the chunks that it touches; which ones, and where they lie, is arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

CHUNK: Final = 64 * 1024
"""Bytes of content in every chunk but the last."""

TAG: Final = 16
"""What sealing adds to a chunk: the tag of AES-GCM (NIST SP 800-38D)."""

SEALED_CHUNK: Final = CHUNK + TAG

SEGMENT_CHUNKS: Final = 32
"""Chunks in one object: whoever writes or reads holds no more than that."""

PART_CHUNKS: Final = 16
"""Chunks that are read at a time."""


def chunk_count(size: int) -> int:
    """How many chunks a file has; an empty one has a last chunk too."""
    return max(1, -(-size // CHUNK))


def segment_count(size: int) -> int:
    """How many objects a file lies in."""
    return -(-chunk_count(size) // SEGMENT_CHUNKS)


class Part(NamedTuple):
    """Some chunks in a row of one object: `start` and `end` are bytes of the object, `first` counts over the file."""

    segment: int
    first: int
    chunks: int
    start: int
    end: int


def parts(size: int, begin: int, end: int) -> Iterator[Part]:
    """The chunks that hold the bytes [begin, end) of a file of that size, in order, a few at a time.

    Raises ValueError where the range is empty or reaches beyond the file.
    """
    if not 0 <= begin < end <= size:
        msg = "not a range of the file"
        raise ValueError(msg)
    number, last = begin // CHUNK, (end - 1) // CHUNK
    while number <= last:
        segment, within = divmod(number, SEGMENT_CHUNKS)
        count = min(PART_CHUNKS, last - number + 1, SEGMENT_CHUNKS - within)
        start = within * SEALED_CHUNK
        stop = start + sum(sealed_length(size, each) for each in range(number, number + count))
        yield Part(segment, number, count, start, stop)
        number += count


def sealed_length(size: int, number: int) -> int:
    """How many bytes the chunk of that number has where it lies."""
    return min(CHUNK, size - number * CHUNK) + TAG
