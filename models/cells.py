"""Time cut into five-minute cells: the unit in which the database refuses double-booking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

CELL = timedelta(minutes=5)
"""The length of one cell; every start, duration and buffer is a multiple of it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cells(start: datetime, end: datetime) -> tuple[int, ...]:
    """The cells that `[start, end)` covers, ascending: cell `n` begins `300 * n` seconds after 1970-01-01T00:00Z.

    Two stretches of time overlap exactly when they share a cell. Raises ValueError unless both instants fall on
    the border of a cell and `end` comes after `start`: a claim without cells would clash with nothing.
    """
    first, before = divmod(start - _EPOCH, CELL)
    last, after = divmod(end - _EPOCH, CELL)
    if before or after:
        msg = "start and end must be whole multiples of five minutes"
        raise ValueError(msg)
    if last <= first:
        msg = "end must come after start"
        raise ValueError(msg)
    return tuple(range(first, last))
