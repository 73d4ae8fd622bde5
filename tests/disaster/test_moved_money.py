"""Refunds that were made after a backup are in the books again, once; what the books cannot hold is named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx

from cli.moved_money import moved_money
from tests.booking.support import book_paid, cancel, ok, somebody, until_refunded
from tests.clinics import offer
from tests.disaster.support import Place, Town
from tests.stack import Json, Stack

VISIT = offer("steady", "visit")


async def _booked_and_cancelled(stack: Stack, who: httpx.AsyncClient) -> Json:
    """The appointment's document as a backup between the two would hold it."""
    visit = (await book_paid(stack, who, VISIT))["id"]
    before = stack.db["appointments"].find_one({"_id": visit})
    assert before is not None
    ok(await cancel(who, visit))
    await until_refunded(who, visit, "processed")
    return before


def _posted(documents: Sequence[Json]) -> list[Json]:
    return [{"_id": one["_id"], "lines": one["lines"]} for one in documents]


async def test_a_refund_that_the_backup_does_not_know_is_booked_once(shared_stack: Stack, town: Town) -> None:
    since = datetime.now(UTC)
    async with shared_stack.client(somebody()) as who:
        before, unknown = [await _booked_and_cancelled(shared_stack, who) for _ in range(2)]
    place: Place = town.place(razorpay_base_url=shared_stack.sandbox.url)
    place.owner[place.data]["appointments"].insert_one(before)
    moved = await moved_money(place.settings, since)
    assert moved.refunds == 1
    told = [one for one in moved.for_a_person if before["_id"] in one]
    assert told == [f"{before['_id']} is confirmed again: it was cancelled after the backup, and its money went back"]
    [named] = [one for one in moved.for_a_person if unknown["_id"] in one and "went back" in one]
    assert named.endswith("and the database does not have that money")
    [refund] = place.all("refunds")
    was = shared_stack.db["refunds"].find_one({"appointment_id": before["_id"]})
    assert was is not None
    same = ("_id", "amount", "reason", "state", "gateway_refund_id", "payment_id", "subject_id", "tenant_id", "is_open")
    assert {name: refund[name] for name in same} == {name: was[name] for name in same}
    posted = shared_stack.db["ledger"].find({"appointment_id": before["_id"], "kind": "refund"})
    assert _posted(place.all("ledger")) == _posted(list(posted))
    [appointment] = place.all("appointments")
    assert (appointment["state"], appointment["payment_state"]) == ("confirmed", "refunded")
    again = await moved_money(place.settings, since)
    assert (again.refunds, len(place.all("refunds")), len(place.all("ledger"))) == (0, 1, 1)
