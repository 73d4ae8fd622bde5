"""Patients whose doctor is away: who they are, what they are sent, and how each of them ends."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import httpx

from cli.accounts import patient
from models.identity import Account, Role
from models.ids import absence_workflow_id
from tests.booking.support import book, book_paid, money_of, ok, temporal
from tests.clinics import Offer, employee, offer
from tests.messaging.readers import WORLD, repositories
from tests.stack import Json, Stack, eventually

CHOICE: Final = re.compile(r"/v1/links/(lnk\.[\w.-]+)")


async def free_on(stack: Stack, offer: Offer, day: int) -> list[str]:
    """The free starts, so many days ahead, by the clinic's clock."""
    return await stack.free_starts(offer.provider_id, offer.service_id, days=(day, day))


async def booked(stack: Stack, offer: Offer, starts: Sequence[str], first: int, *, paid: bool = False) -> list[Json]:
    """Somebody else at each start; patients are numbered from `first`."""
    async with repositories(stack) as stores:
        for number in range(len(starts)):
            await stores.users.put(WORLD, patient(first + number))
    places = asyncio.Semaphore(16)

    async def one(number: int, start: str) -> Json:
        async with places, stack.client(patient(first + number), timeout=60) as who:
            place = book_paid if paid else book
            return await place(stack, who, offer, start)

    return list(await asyncio.gather(*(one(number, start) for number, start in enumerate(starts))))


async def take_leave(stack: Stack, offer: Offer, start: str, end: str) -> Json:
    """The clinic enters the leave."""
    async with stack.client(staff_of(offer)) as staff:
        body = {"start": start, "end": end}
        headers = {"Idempotency-Key": secrets.token_urlsafe(12)}
        return ok(await staff.post(f"/v1/providers/{offer.provider_id}/leaves", json=body, headers=headers), 202)


def staff_of(offer: Offer) -> Account:
    """Somebody of the provider's clinic."""
    return employee(offer.provider_id.split("_")[1], Role.STAFF)


def after(start: str, minutes: float) -> str:
    """So many minutes after an instant."""
    return (datetime.fromisoformat(start) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


async def offers_of(stack: Stack, leave: str) -> Counter[str]:
    """How many offers of a leave stand where."""
    return Counter(one["state"] for one in stack.db.absence_offers.find({"leave_id": leave}, {"state": 1}))


async def until_offers(stack: Stack, leave: str, seconds: float = 60, **wanted: int) -> None:
    """Return once the offers of a leave stand like this."""
    await eventually(lambda: offers_of(stack, leave), lambda seen: seen == Counter(wanted), seconds)


async def link_of(stack: Stack, number: int, seconds: float = 60) -> str:
    """The token of the link by which this patient chooses."""

    async def tokens() -> list[str]:
        found = [CHOICE.search(one["text"]) for one in await stack.messages(str(patient(number).phone)) if _offers(one)]
        return [one[1] for one in found if one]

    return (await eventually(tokens, bool, seconds))[0]


def _offers(message: Json) -> bool:
    return "is away" in message["text"] and "Choose another time" in message["text"]


async def offers_received(stack: Stack, number: int) -> int:
    """How many messages with a choice have reached this patient."""
    return sum(_offers(one) for one in await stack.messages(str(patient(number).phone)))


async def tally_of(stack: Stack, offer: Offer, leave: str) -> Json:
    """What the list of leaves says of one."""
    async with stack.client(staff_of(offer)) as staff:
        items = ok(await staff.get(f"/v1/providers/{offer.provider_id}/leaves", params={"limit": 100}))["items"]
        [found] = [one for one in items if one["id"] == leave]
        tally: Json = found["tally"]["offers"]
        return tally


async def choose(who: httpx.AsyncClient, token: str, start: str) -> httpx.Response:
    """Take another time."""
    return await who.post(f"/v1/links/{token}/reschedule", params={"start": start})


async def whole_refunds(stack: Stack, visits: Sequence[Json]) -> None:
    """Each of these was paid once and got all of it back, once."""
    for visit in visits:

        async def money(appointment: str = visit["id"]) -> tuple[int, int]:
            found = await money_of(stack, appointment)
            return len(found.refunds), found.kept

        assert await eventually(money, lambda seen: seen == (1, 0), 40) == (1, 0)


async def workflow_result(stack: Stack, leave: str) -> Json:
    """The final tally, once the leave's workflow has ended."""
    client = await temporal(stack)
    found: Json = await client.get_workflow_handle(absence_workflow_id(leave)).result()
    return found


async def hurry(stack: Stack, visits: Sequence[Json], seconds: int) -> None:
    """These were booked under a policy that leaves so long to choose."""
    ids = [one["id"] for one in visits]
    changed = {"$set": {"policy.absence_choice_seconds": seconds}}
    assert stack.db.appointments.update_many({"_id": {"$in": ids}}, changed).modified_count == len(ids)


async def an_absence(stack: Stack) -> str:
    """Three visits, of which one moves and two are cancelled; the leave's id, once its workflow has ended."""
    offered, first = offer("brisk", "free"), 39_000
    starts = (await free_on(stack, offered, 33))[:3]
    await hurry(stack, await booked(stack, offered, starts, first), 10)
    leave = str((await take_leave(stack, offered, starts[0], after(starts[-1], 15)))["id"])
    token = await link_of(stack, first)
    async with stack.anonymous() as anybody:
        times = ok(await anybody.get(f"/v1/links/{token}"))["times"]
        ok(await choose(anybody, token, times[5]))
    await workflow_result(stack, leave)
    return leave
