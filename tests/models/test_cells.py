from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cells import CELL, cells

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

borders = st.integers(-500, 500).map(lambda count: NOON + count * CELL)
stretches = st.tuples(borders, borders).filter(lambda pair: pair[0] < pair[1])


def test_a_stretch_covers_its_cells_and_not_the_one_it_ends_at() -> None:
    first = int(NOON.timestamp()) // 300
    assert cells(NOON, NOON + timedelta(minutes=15)) == (first, first + 1, first + 2)


def test_the_zone_does_not_matter() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    end = NOON + CELL
    assert cells(NOON.astimezone(kolkata), end) == cells(NOON, end.astimezone(kolkata)) == cells(NOON, end)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOON + timedelta(minutes=1), NOON + timedelta(minutes=10)),
        (NOON, NOON + timedelta(minutes=7)),
        (NOON + timedelta(microseconds=1), NOON + timedelta(minutes=5)),
        (NOON, NOON + timedelta(minutes=5, seconds=1)),
    ],
)
def test_off_the_grid_is_refused(start: datetime, end: datetime) -> None:
    with pytest.raises(ValueError, match="multiples of five minutes"):
        cells(start, end)


@pytest.mark.parametrize("length", [timedelta(0), timedelta(minutes=-5)])
def test_an_empty_stretch_is_refused(length: timedelta) -> None:
    with pytest.raises(ValueError, match="end must come after start"):
        cells(NOON, NOON + length)


@given(stretches, stretches)
def test_two_stretches_overlap_exactly_when_they_share_a_cell(
    one: tuple[datetime, datetime], other: tuple[datetime, datetime]
) -> None:
    overlap = one[0] < other[1] and other[0] < one[1]
    assert bool(set(cells(*one)) & set(cells(*other))) == overlap


@given(stretches)
def test_cells_are_distinct_ascending_and_as_many_as_fit(stretch: tuple[datetime, datetime]) -> None:
    found = cells(*stretch)
    assert list(found) == sorted(set(found))
    assert len(found) * CELL == stretch[1] - stretch[0]
