"""Values that requests are made of."""

import json

import pytest

from api.schemas.availability import LeaveInput


@pytest.mark.parametrize(
    ("start", "end"), [("2027-01-01", "2027-01-02"), ("2027-01-01T10:00:00Z", "2027-01-01T11:30:00Z")]
)
def test_a_leave_s_borders_are_written_as_they_are_read(start: str, end: str) -> None:
    """And without a warning: a fingerprint of the body is made of what is written."""
    written = json.loads(LeaveInput.model_validate({"start": start, "end": end}).model_dump_json())
    assert (written["start"], written["end"]) == (start, end)
