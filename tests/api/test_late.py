"""What comes after the deadline, over HTTP: the feed tells of the expiry, and a late report is welcome."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import httpx

from cli.seed.arogya import ANANYA_RAO
from models.providers import PaymentMode
from tests.stack import Json, Stack, eventually

PROVIDER: Final = ANANYA_RAO.provider
ONLINE: Final = next(one for one in PROVIDER.services if one.payment is PaymentMode.ONLINE)


async def _place(stack: Stack, client: httpx.AsyncClient, number: int) -> Json:
    starts = await stack.free_starts(PROVIDER.id, ONLINE.id)
    answer = await stack.place(client, PROVIDER.id, ONLINE.id, starts[number])
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def test_who_watches_sees_the_expiry_and_then_the_end(hasty_stack: Stack) -> None:
    async with hasty_stack.client() as client:
        held = await _place(hasty_stack, client, 0)
        seen: list[Json] = []
        async with asyncio.timeout(20), client.stream("GET", f"/v1/appointments/{held['id']}/events") as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))
    assert [one["state"] for one in seen] == ["held", "expired"]
    assert [one["version"] for one in seen] == sorted(one["version"] for one in seen)
    assert seen[-1]["actions"] == []
    assert seen[-1]["payment"] is None


async def test_a_report_after_expiry_is_answered_and_the_money_is_not_kept(hasty_stack: Stack) -> None:
    async with hasty_stack.client() as client:
        held = await _place(hasty_stack, client, 1)

        async def shown() -> Json:
            found: Json = (await client.get(f"/v1/appointments/{held['id']}")).json()
            return found

        await eventually(shown, lambda seen: bool(seen["state"] == "expired"))
        paid = await hasty_stack.pay(held["payment"]["order_id"], webhook="never")
        report = {
            "razorpay_payment_id": paid["payment_id"],
            "razorpay_order_id": paid["order_id"],
            "razorpay_signature": paid["signature"],
        }
        answer = await client.post(f"/v1/appointments/{held['id']}/payment", json=report)
        assert (answer.status_code, answer.json()["state"]) == (200, "expired")
        late = await eventually(shown, lambda seen: bool(seen["payment_state"] != "pending"))
    assert (late["state"], late["payment_state"]) == ("expired", "voided")
