"""The worker is killed while a leave is taken: all of its free time is blocked, once, and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from tests.faults import dying
from tests.stack import Json, Stack, eventually

PROVIDER: Final = "prv_ananya_rao_arogya-indiranagar"
DAYS: Final = 30
"""More than one step blocks."""
IN_CI: Final = "after:availability.block_leave"


def _points() -> list[ParameterSet]:
    points = [f"{when}:availability.{step}" for step in ("block_leave", "settle_leave") for when in ("before", "after")]
    return [pytest.param(one, marks=() if one == IN_CI else (pytest.mark.fault_matrix,)) for one in points]


@pytest.mark.parametrize("point", _points())
async def test_a_leave_is_taken_once_whenever_the_worker_dies(stack: Stack, point: str) -> None:
    first = datetime.now(UTC).date() + timedelta(days=60)
    path = f"/v1/providers/{PROVIDER}/leaves"
    async with stack.client("tenant_admin") as admin:

        async def listed() -> list[Json]:
            return list((await admin.get(path)).json()["items"])

        async with dying(stack, point):
            body = {"start": str(first), "end": str(first + timedelta(days=DAYS - 1))}
            answer = await admin.post(path, json=body)
            assert answer.status_code == 202, answer.text
        [leave] = await eventually(listed, lambda seen: [one["state"] for one in seen] == ["taken"], seconds=60)
        blocks = list(stack.db.slots.find({"leave_id": leave["id"]}, sort=[("start", 1)]))
        assert leave["tally"]["blocks"] == len(blocks) > DAYS / 2
        assert all(before["end"] <= after["start"] for before, after in pairwise(blocks))
        assert (blocks[-1]["end"] - blocks[0]["start"]).days >= DAYS - 4, "from one end to the other"
        assert (await admin.delete(f"/v1/leaves/{leave['id']}")).status_code == 204
    assert stack.db.slots.count_documents({"leave_id": leave["id"]}) == 0
