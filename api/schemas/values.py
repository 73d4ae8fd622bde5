"""Values as this API reads them: strict forms only, where a lenient reading would guess."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, StringConstraints

from models.base import UtcDatetime

_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", flags=re.ASCII
)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", flags=re.ASCII)

MAX_AGE: Final = timedelta(days=366 * 130)


def _rfc3339(value: object) -> object:
    # Pydantic alone would read numbers as seconds since 1970.
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("must be an RFC 3339 instant with a zone, like 2026-01-31T09:30:00Z")
    return value


def _iso_date(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("must be a date like 2026-01-31")
    return value


Instant = Annotated[UtcDatetime, BeforeValidator(_rfc3339, json_schema_input_type=datetime)]
"""An instant as RFC 3339 writes it, with `Z` or an offset; normalised to UTC."""

Date = Annotated[date, BeforeValidator(_iso_date, json_schema_input_type=date)]
"""A calendar date, `YYYY-MM-DD`."""


def plausible_birth(value: date) -> date:
    """The date of birth of somebody who may live. Raises ValueError."""
    today = datetime.now(UTC).date()
    if not today - MAX_AGE <= value <= today:
        raise ValueError("must lie within the last 130 years")
    return value


def _bound(value: object) -> datetime | date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    raise ValueError("must be an RFC 3339 instant with a zone, or a date")


def _as_text(bound: datetime | date) -> str:
    return bound.isoformat().replace("+00:00", "Z")


# Left to itself, the library asks whether the text that it has just made is an instant, and warns that it is not.
_IN_JSON: Final = PlainSerializer(_as_text, return_type=str, when_used="json")

Bound = Annotated[datetime | date, PlainValidator(_bound, json_schema_input_type=str), _IN_JSON]
"""The border of a stretch of time: an instant, or a date, which stands for that whole day in UTC."""


LeaveBound = Annotated[datetime | date, PlainValidator(_bound, json_schema_input_type=str), _IN_JSON]
"""The border of a leave: an instant, or a date, which stands for that whole day on the clinic's clock."""


def begin_of(bound: datetime | date) -> datetime:
    """The first instant that lies within."""
    return bound if isinstance(bound, datetime) else datetime.combine(bound, time.min, UTC)


def end_of(bound: datetime | date) -> datetime:
    """The first instant that lies behind: a date includes its day. Raises ValueError at the calendar's end."""
    if isinstance(bound, datetime):
        return bound
    if bound == date.max:
        raise ValueError("outside the calendar")
    return datetime.combine(bound + timedelta(days=1), time.min, UTC)


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text without control characters."""

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")
]
"""Text of several lines without other control characters."""
