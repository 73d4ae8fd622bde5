"""The reconciliation finds what nobody told us of, and what we have lost sight of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from temporalio.client import Client

from models.ids import booking_workflow_id, refund_workflow_id
from tests import clinics
from tests.booking.support import book, cancel, look, somebody, temporal, until, until_refunded
from tests.booking.town import sweep
from tests.invariants import collect, violations
from tests.stack import Json, Stack, eventually

LONG_AGO = timedelta(hours=1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(shared_stack: Stack) -> Client:
    return await temporal(shared_stack)


async def _holds(stack: Stack, client: Client, appointment: str) -> None:
    async def broken() -> list[str]:
        return violations(await collect(stack, client, only=[appointment]))

    await eventually(broken, lambda found: not found)


def _age(stack: Stack, collection: str, name: str, field: str) -> None:
    changed = stack.db[collection].update_one({"_id": name}, {"$set": {field: datetime.now(UTC) - LONG_AGO}})
    assert changed.modified_count == 1


@pytest.mark.parametrize(("outcome", "payment_state"), [("captured", "refunded"), ("authorized", "voided")])
async def test_a_payment_after_expiry_that_nobody_told_us_of(
    shared_stack: Stack, client: Client, outcome: str, payment_state: str
) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, clinics.offer("swift", "visit"))
        await until(who, held["id"], state="expired")
        await shared_stack.pay(held["payment"]["order_id"], outcome, webhook="never")
        tally = await sweep(client)
        assert tally.payments_found >= 1
        await until(who, held["id"], state="expired", payment_state=payment_state)
        if outcome == "captured":
            await until_refunded(who, held["id"], "processed")
    await _holds(shared_stack, client, held["id"])


async def test_a_refused_question_does_not_keep_the_other_orders_from_being_asked_for(
    shared_stack: Stack, client: Client
) -> None:
    async with shared_stack.client(somebody()) as who:
        first = await book(shared_stack, who, clinics.offer("swift", "visit"))
        second = await book(shared_stack, who, clinics.offer("swift", "visit"))
        for held in (first, second):
            await until(who, held["id"], state="expired")
            await shared_stack.pay(held["payment"]["order_id"], "captured", webhook="never")
        await shared_stack.fault("order.payments", "error", status=400)
        tally = await sweep(client)
        assert tally.orders_refused == 1
        assert tally.payments_found >= 1
        await sweep(client)
        for held in (first, second):
            await until_refunded(who, held["id"], "processed")
    await _holds(shared_stack, client, first["id"])
    await _holds(shared_stack, client, second["id"])


async def test_a_webhook_that_was_stored_and_not_passed_on(shared_stack: Stack, client: Client) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, clinics.offer("steady", "visit"))
        paid = await shared_stack.pay(held["payment"]["order_id"], webhook="never")
        stored_at = datetime.now(UTC) - LONG_AGO
        shared_stack.db.webhook_inbox.insert_one(_stored(paid, stored_at))
        assert (await sweep(client)).webhooks_signalled == 1
        await until(who, held["id"], state="confirmed", payment_state="captured")
    kept = shared_stack.db.webhook_inbox.find_one({"_id": f"evt_{paid['payment_id']}"})
    assert kept is not None
    assert "waiting" not in kept
    await _holds(shared_stack, client, held["id"])


def _stored(paid: Json, stored_at: datetime) -> Json:
    """What the webhook's route leaves behind when the workflow service does not answer."""
    return {
        "_id": f"evt_{paid['payment_id']}",
        "type": "payment.authorized",
        "payment_id": paid["payment_id"],
        "order_id": paid["order_id"],
        "refund_id": None,
        "receipt": None,
        "raw_sha256": "0" * 64,
        "created_at": stored_at,
        "waiting": True,
        "stored_at": stored_at,
    }


async def test_a_booking_whose_deadline_has_passed_unnoticed(shared_stack: Stack, client: Client) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, clinics.offer("steady", "visit"))
        await shared_stack.pay(held["payment"]["order_id"], webhook="never")
        _age(shared_stack, "appointments", held["id"], "waiting_for.until")
        assert (await sweep(client)).bookings_revived >= 1
        await until(who, held["id"], state="confirmed", payment_state="captured")
    await _holds(shared_stack, client, held["id"])


async def test_a_refund_that_we_have_lost_sight_of(shared_stack: Stack, client: Client) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.control() as control:
        held = await book(shared_stack, who, clinics.offer("steady", "visit"))
        paid = await shared_stack.pay(held["payment"]["order_id"], webhook="never")
        report = {f"razorpay_{name}": paid[name] for name in ("payment_id", "order_id", "signature")}
        assert (await who.post(f"/v1/appointments/{held['id']}/payment", json=report)).is_success
        await until(who, held["id"], state="confirmed")
        plan = {"outcome": "pending", "payment_id": paid["payment_id"]}
        assert (await control.post("/_control/refunds", json=plan)).is_success
        assert (await cancel(who, held["id"])).is_success
        refund = await _sent(shared_stack, held["id"])
        # An operator's slip of the hand; then the bank does its part, and nobody tells us.
        await client.get_workflow_handle(refund_workflow_id(refund["_id"])).terminate()
        decided = await control.post(f"/_control/refunds/{refund['gateway_refund_id']}", json={"status": "processed"})
        assert decided.is_success
        assert (await look(who, held["id"]))["refunds"][0]["state"] == "pending"
        _age(shared_stack, "refunds", refund["_id"], "updated_at")
        assert (await sweep(client)).refunds_revived >= 1
        await until_refunded(who, held["id"], "processed")
    assert await _completed(client, booking_workflow_id(held["id"]))
    assert await _completed(client, refund_workflow_id(refund["_id"]))


async def _sent(stack: Stack, appointment: str) -> Json:
    async def find() -> Json | None:
        return stack.db.refunds.find_one({"appointment_id": appointment, "gateway_refund_id": {"$ne": None}})

    found = await eventually(find, lambda one: one is not None)
    assert found is not None
    return found


async def _completed(client: Client, workflow_id: str) -> bool:
    async def status() -> str:
        found = (await client.get_workflow_handle(workflow_id).describe()).status
        return "unknown" if found is None else found.name

    return await eventually(status, lambda seen: seen == "COMPLETED") == "COMPLETED"
