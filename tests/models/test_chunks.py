"""Where the bytes of a large file lie, and which of them a request wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.byte_ranges import ByteRange, UnsatisfiableRangeError, wanted_range
from models.chunks import (
    CHUNK,
    PART_CHUNKS,
    SEALED_CHUNK,
    SEGMENT_CHUNKS,
    TAG,
    chunk_count,
    parts,
    sealed_length,
    segment_count,
)

SIZES = st.one_of(
    st.integers(1, 3 * CHUNK),
    st.builds(
        lambda chunks, more: max(1, chunks * CHUNK + more), st.integers(1, 3 * SEGMENT_CHUNKS), st.integers(-2, 2)
    ),
)


@given(SIZES, st.data())
def test_the_parts_of_a_range_are_its_chunks_in_order_and_no_others(size: int, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(begin + 1, size))
    found = list(parts(size, begin, end))
    numbers = [number for part in found for number in range(part.first, part.first + part.chunks)]
    assert numbers == list(range(begin // CHUNK, (end - 1) // CHUNK + 1))
    for part in found:
        assert 0 < part.chunks <= PART_CHUNKS
        within = range(part.segment * SEGMENT_CHUNKS, (part.segment + 1) * SEGMENT_CHUNKS)
        assert part.first in within
        assert part.first + part.chunks - 1 in within
        assert part.start == (part.first % SEGMENT_CHUNKS) * SEALED_CHUNK
        lengths = [sealed_length(size, number) for number in range(part.first, part.first + part.chunks)]
        assert part.end - part.start == sum(lengths)


@given(SIZES)
def test_all_parts_together_are_the_whole_file(size: int) -> None:
    found = list(parts(size, 0, size))
    assert sum(part.end - part.start for part in found) == size + TAG * chunk_count(size)
    assert {part.segment for part in found} == set(range(segment_count(size)))


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (5, 5), (6, 5), (-1, 3), (0, 11), (10, 11)])
def test_what_is_no_range_of_the_file_has_no_parts(begin: int, end: int) -> None:
    with pytest.raises(ValueError, match="not a range"):
        list(parts(10, begin, end))


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=2-99", (2, 10)),
        ("Bytes= 2-5 ", (2, 6)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-\u0662", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_a_range_header(header: str | None, wanted: tuple[int, int] | None) -> None:
    assert wanted_range(header, 10) == wanted


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_behind_the_end(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        wanted_range(header, 10)


@given(st.text(max_size=40), st.integers(1, 10**9))
def test_whatever_a_header_says_a_range_lies_within_the_file(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            found = wanted_range(header, size)
        except UnsatisfiableRangeError:
            continue
        assert found is None or 0 <= found.begin < found.end <= size


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 100))
def test_a_plain_range_is_python_s_slice(first: int, last: int, size: int) -> None:
    content = bytes(range(size))
    if first > last:
        assert wanted_range(f"bytes={first}-{last}", size) is None
    elif first >= size:
        with pytest.raises(UnsatisfiableRangeError):
            wanted_range(f"bytes={first}-{last}", size)
    else:
        found = wanted_range(f"bytes={first}-{last}", size)
        assert found is not None
        assert content[found.begin : found.end] == content[first : last + 1]
        assert found.content_range(size) == f"bytes {first}-{min(last, size - 1)}/{size}"


def test_a_range_says_itself_with_its_last_byte() -> None:
    assert ByteRange(0, 10).content_range(20) == "bytes 0-9/20"
