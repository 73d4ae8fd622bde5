"""Searching on the whole stack: what is published and booked is found so, with and without what Redis keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from redis.asyncio import Redis

from models.identity import Role
from tests.clinics import employee, offer
from tests.stack import Stack, eventually

Json = dict[str, Any]
OFFER = offer("flash", "free")


def _listed(client: httpx.AsyncClient, **params: str) -> Callable[[], Awaitable[dict[str, Json]]]:
    async def look() -> dict[str, Json]:
        answer = await client.get("/v1/providers", params={"limit": "100", **params})
        assert answer.status_code == 200, answer.text
        return {one["id"]: one for one in answer.json()["items"]}

    return look


async def _forget(stack: Stack) -> None:
    redis = Redis.from_url(stack.settings.redis_url.get_secret_value())
    keys = [key async for key in redis.scan_iter(f"{stack.settings.database}:search:*")]
    if keys:
        await redis.delete(*keys)
    await redis.aclose()


async def test_symptoms_spellings_and_former_names(shared_stack: Stack) -> None:
    async with shared_stack.anonymous() as client:
        skin = await _listed(client, q="skin", city="Poona")()
        assert skin
        assert all("Dermatology" in one["specialties"] for one in skin.values())
        anania = await _listed(client, q="anania raao")()
        assert {one["name"] for one in anania.values()} == {"Dr. Ananya Rao"}
        assert await _listed(client, q="bukhaar", specialty="General medicine")()


async def test_the_next_free_time_follows_bookings_and_hours(shared_stack: Stack) -> None:
    stack = shared_stack
    path = f"/v1/providers/{OFFER.provider_id}/availability"
    async with stack.anonymous() as anybody, stack.client() as patient:
        look = _listed(anybody, q="flash open")
        known = await eventually(look, lambda found: found[OFFER.provider_id]["next_available"] is not None, 40)
        first = known[OFFER.provider_id]["next_available"]
        free = await stack.free_starts(OFFER.provider_id, OFFER.service_id, days=(0, 2))
        assert first == free[0] or datetime.fromisoformat(first) > datetime.now(UTC)
        booked = await stack.place(patient, OFFER.provider_id, OFFER.service_id, free[0])
        assert booked.status_code == 201, booked.text
        await eventually(look, lambda found: found[OFFER.provider_id]["next_available"] > free[0], 40)
        await _forget(stack)
        assert (await look())[OFFER.provider_id]["next_available"] > free[0]
        async with stack.client(employee("flash", Role.DOCTOR)) as doctor:
            before = await doctor.get(path)
            closed = await doctor.put(path, json={"weekly": []}, headers={"If-Match": before.headers["etag"]})
            assert closed.status_code == 200, closed.text
            await eventually(look, lambda found: found[OFFER.provider_id]["next_available"] is None, 40)
            hours = {"weekly": before.json()["weekly"]}
            again = await doctor.put(path, json=hours, headers={"If-Match": closed.headers["etag"]})
            assert again.status_code == 200, again.text
        await eventually(look, lambda found: found[OFFER.provider_id]["next_available"] is not None, 40)


async def test_a_new_fee_is_found_at_once(shared_stack: Stack) -> None:
    provider = offer("flash", "class", "group").provider_id
    path = f"/v1/providers/{provider}/services"
    async with shared_stack.anonymous() as anybody, shared_stack.client(employee("flash", Role.ADMIN)) as admin:
        look = _listed(anybody, q="flash group", fee_max="100", mode="in_person")
        assert provider in await look()
        before = await admin.get(path)
        services = [{**one, "fee": {"amount": 90_000}, "payment": "online"} for one in before.json()["items"]]
        dear = await admin.put(path, json=services, headers={"If-Match": before.headers["etag"]})
        assert dear.status_code == 200, dear.text
        assert provider not in await look()
        again = await admin.put(path, json=before.json()["items"], headers={"If-Match": dear.headers["etag"]})
        assert again.status_code == 200, again.text
        assert provider in await look()
