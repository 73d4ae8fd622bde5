"""A booking's whole life over HTTP, on real servers."""

import pytest

from tests.stack import Json, Stack, eventually

PROVIDER = "prv_ananya_rao_arogya-indiranagar"
SERVICE = "svc_ananya_rao_arogya-indiranagar_visit"


async def _state(stack: Stack, appointment_id: str) -> Json:
    async with stack.client() as client:
        found = await client.get(f"/v1/appointments/{appointment_id}")
        body: Json = found.json()
        return body


async def test_paid_confirmed_cancelled_refunded(stack: Stack) -> None:
    start = (await stack.free_starts(PROVIDER, SERVICE))[0]
    async with stack.client() as client:
        placed = await stack.place(client, PROVIDER, SERVICE, start, reason="fever since Monday")
        assert placed.status_code == 201, placed.text
        held = placed.json()
        assert (held["state"], held["payment_state"], held["payment"]["status"]) == ("held", "pending", "ready")
        assert start not in await stack.free_starts(PROVIDER, SERVICE)
        await stack.pay(held["payment"]["order_id"])
        confirmed = await eventually(lambda: _state(stack, held["id"]), lambda seen: bool(seen["state"] == "confirmed"))
        assert confirmed["payment_state"] == "captured"
        cancelled = await client.post(f"/v1/appointments/{held['id']}/cancel", json={"reason": "better"})
        assert cancelled.status_code == 200, cancelled.text
        assert cancelled.json()["refund"]["amount"] == held["payment"]["amount"]
        done = await eventually(
            lambda: _state(stack, held["id"]),
            lambda seen: bool(seen["refunds"] and seen["refunds"][0]["state"] == "processed"),
        )
    assert done["payment_state"] == "refunded"
    assert start in await stack.free_starts(PROVIDER, SERVICE)


@pytest.mark.parametrize("webhook", ["once", "never", "thrice", "reordered"])
async def test_expiry_asks_the_gateway_first(hasty_stack: Stack, webhook: str) -> None:
    starts = await hasty_stack.free_starts(PROVIDER, SERVICE)
    async with hasty_stack.client() as client:
        held = (await hasty_stack.place(client, PROVIDER, SERVICE, starts[0])).json()
        await hasty_stack.pay(held["payment"]["order_id"], webhook=webhook)
        seen = await eventually(lambda: _state(hasty_stack, held["id"]), lambda seen: bool(seen["state"] != "held"))
    assert (seen["state"], seen["payment_state"]) == ("confirmed", "captured")
