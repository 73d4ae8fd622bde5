"""Which published hours are accepted."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from models.availability import MAX_SESSIONS_PER_DAY, Availability

DAY = date(2026, 3, 2)


def rule(**changes: object) -> dict[str, object]:
    return {"weekday": 0, "start": "09:00", "end": "13:00", **changes}


@pytest.mark.parametrize(
    "document",
    [
        {"weekly": [rule(weekday=7)]},
        {"weekly": [rule(weekday=-1)]},
        {"weekly": [rule(start="9:00")]},
        {"weekly": [rule(start="09:00:00")]},
        {"weekly": [rule(start="24:00")]},
        {"weekly": [rule(end="12:60")]},
        {"weekly": [rule(end="12:58")]},
        {"weekly": [rule(end="१२:३०")]},
        {"weekly": [rule(end="12:30\n")]},
        {"weekly": [rule(capacity=0)]},
        {"weekly": [rule(capacity=100_000)]},
        {"weekly": [rule(service_ids=[])]},
        {"weekly": [rule(service_ids=["a", "a"])]},
        {"weekly": [rule(service_ids=[{"$ne": ""}])]},
        {"weekly": [rule(colour="red")]},
        {"weekly": [rule(), rule()]},
        {"weekly": [rule(), rule(start="12:55", end="14:00")]},
        {"weekly": [rule(service_ids=["a", "b"]), rule(service_ids=["b"])]},
        {"weekly": [rule(service_ids=["a"]), rule()]},
        {"weekly": [rule(start="22:00", end="02:00"), rule(start="23:00", end="23:30")]},
        {"weekly": [rule(start="00:00", end="00:00"), rule()]},
        {"weekly": [rule(start=f"{n // 2:02d}:{n % 2 * 30:02d}", end=f"{n // 2:02d}:{n % 2 * 30 + 5:02d}")
                    for n in range(MAX_SESSIONS_PER_DAY + 1)]},
        {"overrides": [{"date": "2026-02-30", "sessions": []}]},
        {"overrides": [{"date": "2026-03-02"}]},
        {"overrides": [{"date": "2026-03-02", "sessions": [rule()]}]},
        {"overrides": [{"date": "2026-03-02", "sessions": []}, {"date": "2026-03-02", "sessions": []}]},
        {"overrides": [{"date": "2026-03-02", "sessions": [
            {"start": "09:00", "end": "13:00"}, {"start": "12:00", "end": "14:00"}]}]},
        {"overrides": [{"date": str(DAY + timedelta(days=n)), "sessions": []} for n in range(401)]},
        {"min_notice_minutes": -1},
        {"horizon_days": 0},
        {"horizon_days": 367},
        {"holidays": []},
    ],
)  # fmt: skip
def test_incoherent_hours_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Availability.model_validate(document)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"weekly": [rule(), rule(start="13:00", end="14:00")]},
        {"weekly": [rule(service_ids=["a"]), rule(service_ids=["b"])]},
        {"weekly": [rule(), rule(weekday=1)]},
        # The night's tail is on the next date: the early session of the same date is another morning.
        {"weekly": [rule(start="22:00", end="02:00"), rule(start="01:00", end="05:00")]},
        {"weekly": [rule(start="22:00", end="02:00"), rule(weekday=1, start="01:00", end="05:00")]},
        {"overrides": [{"date": "2026-03-02", "sessions": []}], "min_notice_minutes": 0, "horizon_days": 366},
    ],
)
def test_coherent_hours_survive_a_round_trip(document: dict[str, Any]) -> None:
    hours = Availability.model_validate(document)
    assert Availability.model_validate_json(hours.model_dump_json()) == hours
    assert hours.model_dump(mode="json", exclude_unset=True) == document
