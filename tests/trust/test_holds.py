"""Legal holds over HTTP, as whoever answers for the platform looks for them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from models.errors import Code
from tests.booking.support import ok, problem
from tests.stack import Json, Stack


async def test_holds_are_listed_page_by_page(shared_stack: Stack) -> None:
    """Two of them end at the same moment."""
    person, days = f"usr_{secrets.token_hex(8)}", (3, 1, 2, 2, 4)
    now = datetime.now(UTC).replace(microsecond=0)
    why = {"subject_id": person, "reason": "claim", "reference": "OS/1"}
    async with shared_stack.client("admin") as admin:
        for one in days:
            ok(await admin.post("/v1/legal-holds", json={**why, "until": (now + timedelta(days=one)).isoformat()}), 201)
        seen, cursor = list[Json](), None
        while not seen or cursor:
            page = {"subject_id": person, "limit": "2"} | ({"cursor": cursor} if cursor else {})
            answer = ok(await admin.get("/v1/legal-holds", params=page))
            assert 0 < len(answer["items"]) <= 2
            seen, cursor = [*seen, *answer["items"]], answer["next_cursor"]
        ends = [datetime.fromisoformat(one["until"]) - now for one in seen]
        assert ends == [timedelta(days=one) for one in sorted(days)]
        assert len({one["id"] for one in seen}) == len(days)
        everybody = ok(await admin.get("/v1/legal-holds", params={"limit": 1}))
        assert everybody["next_cursor"] is not None
        problem(await admin.get("/v1/legal-holds", params={"cursor": "bm90"}), 400, Code.CURSOR_INVALID)
