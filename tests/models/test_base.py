from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from models.base import UtcDatetime

INSTANT: TypeAdapter[datetime] = TypeAdapter(UtcDatetime)


def test_an_instant_is_normalised_to_utc() -> None:
    found = INSTANT.validate_python("2026-03-02T09:30:00+05:30")
    assert found == datetime(2026, 3, 2, 4, tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["2026-03-02T09:30:00", "0001-01-01T00:00:00+05:30", "9999-12-31T23:59:59-05:30", "2026-02-30T00:00:00Z"]
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        INSTANT.validate_python(text)
