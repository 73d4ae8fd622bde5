"""A booking's whole life over HTTP, on real servers."""

import pytest

from tests.booking.support import a_start, book, cancel, look, ok, somebody, until, until_refunded
from tests.clinics import Offer, offer
from tests.stack import Stack, eventually

VISIT = Offer("prv_ananya_rao_arogya-indiranagar", "svc_ananya_rao_arogya-indiranagar_visit")


async def test_paid_confirmed_cancelled_refunded(shared_stack: Stack) -> None:
    start = await a_start(shared_stack, VISIT)
    async with shared_stack.client() as client:
        held = await book(shared_stack, client, VISIT, start, reason="fever since Monday")
        assert (held["state"], held["payment_state"], held["payment"]["status"]) == ("held", "pending", "ready")
        assert start not in await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id)
        await shared_stack.pay(held["payment"]["order_id"])
        confirmed = await until(client, held["id"], state="confirmed")
        assert confirmed["payment_state"] == "captured"
        cancelled = ok(await cancel(client, held["id"]))
        assert cancelled["refund"]["amount"] == held["payment"]["amount"]
        done = await until_refunded(client, held["id"], "processed")
    assert done["payment_state"] == "refunded"
    assert start in await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id)


@pytest.mark.parametrize("webhook", ["once", "never", "thrice", "reordered"])
async def test_expiry_asks_the_gateway_first(shared_stack: Stack, webhook: str) -> None:
    """However the word about a payment travels, money that came in time confirms."""
    async with shared_stack.client(somebody()) as client:
        held = await book(shared_stack, client, offer("swift", "visit"))
        await shared_stack.pay(held["payment"]["order_id"], webhook=webhook)
        seen = await eventually(lambda: look(client, held["id"]), lambda one: bool(one["state"] != "held"))
    assert (seen["state"], seen["payment_state"]) == ("confirmed", "captured")
