"""Refunds that were made after a backup are in the books again, once; what the books cannot hold is named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from cli.moved_money import moved_money
from models.errors import UnavailableError
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
    assert moved.cancelled == (before["_id"],), "as its workflow had done, which has ended"
    assert not any(before["_id"] in one for one in moved.for_a_person)
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
    assert (appointment["state"], appointment["payment_state"]) == ("cancelled", "refunded")
    again = await moved_money(place.settings, since)
    assert again.cancelled == ()
    assert (again.refunds, len(place.all("refunds")), len(place.all("ledger"))) == (0, 1, 1)


def _restored_with(stack: Stack, town: Town, *appointments: Json) -> Place:
    place = town.place(razorpay_base_url=stack.sandbox.url)
    place.owner[place.data]["appointments"].insert_many(list(appointments))
    return place


async def test_a_visit_is_cancelled_though_its_refund_was_booked_by_a_run_that_died(
    shared_stack: Stack, town: Town
) -> None:
    since = datetime.now(UTC)
    async with shared_stack.client(somebody()) as who:
        before = await _booked_and_cancelled(shared_stack, who)
    place = _restored_with(shared_stack, town, before)
    assert (await moved_money(place.settings, since)).refunds == 1
    appointments = place.owner[place.data]["appointments"]
    appointments.update_one({"_id": before["_id"]}, {"$set": {"state": "confirmed"}, "$pop": {"history": 1}})
    again = await moved_money(place.settings, since)
    assert (again.refunds, again.cancelled) == (0, (before["_id"],))


async def test_money_that_was_reserved_when_the_backup_was_made_is_there(shared_stack: Stack, town: Town) -> None:
    """The appointment is written before the books: what it holds back is held back for that very refund."""
    since = datetime.now(UTC)
    async with shared_stack.client(somebody()) as who:
        visit = (await _booked_and_cancelled(shared_stack, who))["_id"]
    half = shared_stack.db["appointments"].find_one({"_id": visit})
    assert half is not None
    [entry] = half["refunds"]
    assert half["refund_reserved"] == half["captured"] == entry["amount"]
    place = _restored_with(shared_stack, town, {**half, "refunds": [{**entry, "state": "pending"}]})
    moved = await moved_money(place.settings, since)
    assert moved.refunds == 1
    assert not any(visit in one for one in moved.for_a_person)
    assert [(one["_id"], one["state"]) for one in place.all("refunds")] == [(entry["id"], "processed")]
    assert place.all("appointments")[0]["refund_reserved"] == half["captured"]


async def test_an_order_that_the_backup_does_not_know_is_noted_or_its_money_named(
    shared_stack: Stack, town: Town
) -> None:
    """The snapshot may lie between an appointment and its order: the reconciliation only asks for known orders."""
    since = datetime.now(UTC)
    async with shared_stack.client(somebody()) as who:
        visits = [(await book_paid(shared_stack, who, VISIT))["id"] for _ in range(3)]
    found = [shared_stack.db["appointments"].find_one({"_id": one}) for one in visits]
    unpaid = {"state": "held", "payment_state": "pending", "payment_id": None, "captured": 0}
    orderless, whole, other = ({**one, **unpaid} for one in found if one is not None)
    order = orderless["order_id"]
    place = _restored_with(
        shared_stack, town, {**orderless, "order_id": None}, whole, {**other, "order_id": "order_of_another"}
    )
    for _ in range(2):
        moved = await moved_money(place.settings, since)
        named = [visit for visit in visits if any(visit in one for one in moved.for_a_person)]
        assert named == [other["_id"]]
        orders = {one["_id"]: one["order_id"] for one in place.all("appointments")}
        assert orders == dict(zip(visits, (order, whole["order_id"], "order_of_another"), strict=True))


async def test_a_database_that_is_silent_is_not_the_gateway(shared_stack: Stack, town: Town) -> None:
    since = datetime.now(UTC)
    async with shared_stack.client(somebody()) as who:
        await _booked_and_cancelled(shared_stack, who)
    place = town.place(razorpay_base_url=shared_stack.sandbox.url)
    url = "mongodb://127.0.0.1:9/?directConnection=true"
    with pytest.raises(UnavailableError, match="MongoDB"):
        await moved_money(place.settings.model_copy(update={"mongodb_url": SecretStr(url)}), since)
