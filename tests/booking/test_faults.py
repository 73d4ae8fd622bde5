"""Whatever breaks on the way, a booking ends as it does undisturbed and the invariants hold: the most telling faults.

`make fault-matrix` runs all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from dataclasses import replace
from http import HTTPStatus

import httpx
import pytest

from models.ids import booking_workflow_id
from tests.booking.ending import steps_taken
from tests.booking.paths import PATHS, Visit
from tests.booking.support import somebody
from tests.booking.town import Town
from tests.faults import forgetful
from tests.stack import Json, Stack, eventually
from workflows import attributes
from workflows.booking import BookingWorkflow

SAMPLED = ("paid", "hurried", "late_captured", "cancelled_held", "cancelled_paid", "seat_moved")


@pytest.fixture(autouse=True)
async def _known(town: Town) -> None:
    await town.mend()
    await town.endings(SAMPLED)


async def test_undisturbed(town: Town) -> None:
    """What follows rests on it: each path is known to take the steps at which it is then disturbed."""
    for path, appointment in town.undisturbed.items():
        assert await steps_taken(town.stack, town.temporal, appointment) == set(PATHS[path].steps)
    await town.holds()


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("paid", "booking.hold"),
        ("paid", "payments.capture"),
        ("cancelled_paid", "payments.settle_refund"),
        ("seat_moved", "booking.move"),
    ],
)
async def test_the_worker_dies_after_a_step(town: Town, path: str, step: str) -> None:
    """One of each kind: a patient waits for it, money was taken, money was given back, it is two documents' change."""
    visit = await town.visit(path)
    async with town.dying(f"after:{step}"):
        await visit.play()
    await town.ends_as_usual(visit)


async def test_the_gateway_answers_too_late_after_doing_what_was_asked(town: Town) -> None:
    visit = await town.visit("cancelled_paid")
    for operation in ("order.create", "payment.capture", "refund.create"):
        await town.stack.fault(operation, "timeout_after_success")
    await visit.play()
    await town.ends_as_usual(visit)


async def test_the_gateway_refuses_to_hand_money_over(town: Town) -> None:
    visit = await town.visit("paid")
    visit.path = replace(visit.path, play=_paid_in_vain)
    await town.stack.fault("payment.capture", "error", status=400)
    await visit.play()
    workflow = await town.temporal.get_workflow_handle(booking_workflow_id(visit.id)).describe()
    assert workflow.typed_search_attributes[attributes.NEEDS_HUMAN]
    town.told[visit.id] = visit.told
    await town.holds()


async def _paid_in_vain(visit: Visit) -> None:
    await visit.pay()
    assert (await visit.reaches("expired"))["payment_state"] == "voided"


async def test_a_booking_is_cancelled_while_its_order_is_prepared(town: Town) -> None:
    visit = await town.visit("cancelled_held")
    visit.path = replace(visit.path, play=_cancelled_at_once)
    await town.stack.fault("order.create", "timeout_after_success", times=2)
    await visit.play()
    town.told[visit.id] = visit.told
    await town.holds()


async def _cancelled_at_once(visit: Visit) -> None:
    held = await visit.reaches("held")
    assert held["payment"]["status"] == "preparing"
    await visit.cancel()


async def test_a_cancellation_is_lost_after_its_deed(town: Town) -> None:
    """The time is given back, then all die who know of it: the workflow has kept the money, until it is asked again."""
    visit = await town.visit("cancelled_paid")
    usual = visit.path
    visit.path = replace(usual, play=PATHS["paid"].play)
    await visit.play()
    async with town.stack.client(visit.who) as impatient:
        async with town.held_up("after:booking.close", town.all_die):
            with pytest.raises(httpx.TransportError):
                await impatient.post(f"/v1/appointments/{visit.id}/cancel", json={"reason": "better"})
        await town.mend()
        handle = town.temporal.get_workflow_handle(booking_workflow_id(visit.id))
        assert (await handle.query(BookingWorkflow.status)).state == "confirmed"
        assert (await impatient.get(f"/v1/appointments/{visit.id}")).json()["state"] == "cancelled"
        again = await impatient.post(f"/v1/appointments/{visit.id}/cancel", json={"reason": "better"})
        assert again.status_code == HTTPStatus.OK, again.text
    visit.path = usual
    visit.told.append("cancelled")
    # What the gateway had said and nobody could be told any more is passed on by the reconciliation.
    async with town.sweeping():
        await town.ends_as_usual(visit)


async def test_webhooks_are_lost_tripled_and_out_of_order(town: Town) -> None:
    visits = [
        await town.visit("hurried", webhook="never"),
        await town.visit("late_captured", webhook="thrice"),
        await town.visit("cancelled_paid", webhook="thrice"),
        await town.visit("cancelled_paid", webhook="reordered"),
    ]
    await asyncio.gather(*(visit.play() for visit in visits))
    await town.ends_as_usual(*visits)


async def test_mongodb_dies_while_a_payment_is_settled(town: Town) -> None:
    visit = await town.visit("paid")
    # A webhook that was kept and not passed on when MongoDB died is passed on by the reconciliation.
    async with town.sweeping():
        async with town.held_up("before:payments.capture", lambda: town.restart("mongod")):
            await visit.play()
        await town.ends_as_usual(visit)


async def test_redis_forgets_everything_all_the_time(town: Town) -> None:
    visit = await town.visit("cancelled_paid")
    visit.path = replace(visit.path, play=_wanted_by_another)
    async with forgetful(town.servers.addresses.redis_url):
        await visit.play()
    await town.ends_as_usual(visit)


async def _wanted_by_another(visit: Visit) -> None:
    offer = visit.path.offer
    async with visit.stack.client(somebody()) as other:
        refused = await visit.stack.place(other, offer.provider_id, offer.service_id, visit.start)
    assert (refused.status_code, refused.json()["code"]) == (HTTPStatus.CONFLICT, "slot_taken")
    await PATHS["cancelled_paid"].play(visit)


async def test_forged_words_about_money_change_nothing(town: Town) -> None:
    visit = await town.visit("cancelled_held")
    visit.path = replace(visit.path, play=_lied_about)
    await visit.play()
    await town.ends_as_usual(visit)


async def _lied_about(visit: Visit) -> None:
    stack, held = visit.stack, await visit.payable()
    body = _captured(held["payment"]["order_id"])
    refused = await _tell(stack, body, b"somebody else's secret")
    assert (refused.status_code, refused.json()["code"]) == (HTTPStatus.BAD_REQUEST, "signature_invalid")
    before = await _questions(stack)
    # Even a genuine signature proves nothing: the gateway itself is asked, and knows of no payment.
    assert (await _tell(stack, body, stack.webhook_secret)).status_code == HTTPStatus.OK
    await eventually(lambda: _questions(stack), lambda seen: seen > before)
    await visit.cancel()


def _captured(order_id: str) -> bytes:
    payment = {"id": "pay_MadeUpByNobody", "order_id": order_id, "status": "captured", "captured": True}
    event = {"event": "payment.captured", "payload": {"payment": {"entity": payment}}, "created_at": 1_700_000_000}
    return json.dumps(event).encode()


async def _tell(stack: Stack, body: bytes, secret: bytes) -> httpx.Response:
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Razorpay-Signature": signature,
        "X-Razorpay-Event-Id": f"evt_{secrets.token_hex(7)}",
    }
    async with stack.anonymous() as gateway:
        return await gateway.post("/v1/webhooks/razorpay", content=body, headers=headers)


async def _questions(stack: Stack) -> int:
    async with stack.control() as control:
        requests: Json = (await control.get("/_control/stats")).json()["requests"]
    return int(requests.get("order.payments", 0))
