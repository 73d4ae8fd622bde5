"""The stack as everybody in a made-up sequence reaches it: what they want, what they do, and what they were told."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import httpx

from cli.accounts import mint
from models.booking import TRANSITIONS, AppointmentState
from models.identity import Account
from tests.clinics import Offer, offer
from tests.stack import Json, Stack

CLAIMS: Final = {"visit": (0, 15), "long": (5, 40), "prepared": (30, 15)}
"""How many minutes each service claims before and from its start on."""

WINDOW: Final = timedelta(minutes=105)
"""The stretch of the doctor's time that one sequence is about: few starts, so that wishes clash."""

T = TypeVar("T")


@dataclass(frozen=True)
class Wish:
    """A start of a service, and the time that it would claim."""

    offer: Offer
    start: str
    claim_start: datetime
    claim_end: datetime

    def overlaps(self, other: Wish) -> bool:
        return self.claim_start < other.claim_end and other.claim_start < self.claim_end


@dataclass(eq=False)
class Booking:
    """What a patient knows of their booking: what they asked for, and the time that it has now."""

    id: str
    who: Account
    key: str
    asked: Wish
    wish: Wish
    payments: list[Json] = field(default_factory=list)


class Scene:
    """The stack as everybody in the sequences reaches it, and what they were told."""

    def __init__(self, stack: Stack, loop: asyncio.AbstractEventLoop) -> None:
        self.stack = stack
        self.told: defaultdict[str, list[str]] = defaultdict(list)
        self.steps: defaultdict[str, list[str]] = defaultdict(list)
        self.bookings: list[Booking] = []
        self._loop = loop
        self._windows = itertools.count()
        self._free: dict[str, list[Wish]] = {}
        self.http = httpx.AsyncClient(base_url=stack.api_url, timeout=60, trust_env=False)
        self.control = httpx.AsyncClient(base_url=stack.sandbox.url, timeout=60, trust_env=False)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    async def all_at_once(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        return await asyncio.gather(*work)

    async def close(self) -> None:
        await self.http.aclose()
        await self.control.aclose()

    async def wishes(self, tenant: str) -> list[Wish]:
        """The starts of a stretch of time that no other sequence is about."""
        if tenant not in self._free:
            found = [await self._wishes_for(tenant, key) for key in CLAIMS]
            self._free[tenant] = [wish for some in found for wish in some]
        begin = datetime.now(UTC).replace(hour=19, minute=0, second=0, microsecond=0) + timedelta(days=36)
        begin += 2 * WINDOW * next(self._windows)
        return [one for one in self._free[tenant] if begin <= one.claim_start and one.claim_end <= begin + WINDOW]

    async def _wishes_for(self, tenant: str, key: str) -> list[Wish]:
        wanted, (before, after) = offer(tenant, key), CLAIMS[key]
        found = []
        for start in await self.stack.free_starts(wanted.provider_id, wanted.service_id, days=(36, 54)):
            begin = datetime.fromisoformat(start)
            found.append(Wish(wanted, start, begin - timedelta(minutes=before), begin + timedelta(minutes=after)))
        return found

    def is_taken(self, wish: Wish) -> bool:
        """Whether any claim lies over that time."""
        clash = {"start": {"$lt": wish.claim_end}, "end": {"$gt": wish.claim_start}}
        return self.stack.db.slots.count_documents({"provider_id": wish.offer.provider_id, **clash}) > 0

    async def place(self, who: Account, wish: Wish, key: str, **more: object) -> httpx.Response:
        body = {"provider_id": wish.offer.provider_id, "service_id": wish.offer.service_id, "start": wish.start}
        headers = {**self._token(who), "Idempotency-Key": key}
        return await self.http.post("/v1/appointments", headers=headers, json={**body, **more})

    async def send(self, who: Account, booking: Booking, what: str, body: Json, key: str = "") -> httpx.Response:
        headers = {**self._token(who), **({"Idempotency-Key": key} if key else {})}
        return await self.http.post(f"/v1/appointments/{booking.id}/{what}", headers=headers, json=body)

    async def look(self, booking: Booking) -> Json:
        answer = await self.http.get(f"/v1/appointments/{booking.id}", headers=self._token(booking.who))
        assert answer.status_code == 200, answer.text
        return self.hear(answer.json())

    async def report(self, booking: Booking, paid: Json) -> None:
        """The browser hands in what Checkout returned."""
        body = {f"razorpay_{name}": paid[name] for name in ("payment_id", "order_id", "signature")}
        answer = await self.send(booking.who, booking, "payment", body)
        assert answer.status_code == 200, answer.text
        self.hear(answer.json())

    async def tell_what_was_lost(self) -> None:
        """A held booking would ask the gateway at its deadline, minutes away: its patient comes back before."""
        for booking in self.bookings:
            for paid in booking.payments:
                if paid["outcome"] != "failed" and (await self.look(booking))["state"] == "held":
                    await self.report(booking, paid)

    def hear(self, seen: Json) -> Json:
        """Note what a patient was told; the table of states is kept also where nobody looked for a while."""
        told = self.told[seen["id"]]
        if told and told[-1] != seen["state"]:
            assert seen["state"] in reachable(told[-1]), f"{told[-1]} became {seen['state']}"
        told.append(seen["state"])
        if seen["state"] == "confirmed":
            assert seen["payment_state"] in {"captured", "partially_refunded", "refunded"}
        return seen

    def _token(self, who: Account) -> dict[str, str]:
        return {"Authorization": f"Bearer {mint(self.stack.settings, who)}"}

    async def pay(self, order_id: str, outcome: str, **options: object) -> Json | None:
        """Somebody pays; None where the gateway does not take it (any more)."""
        body = {"order_id": order_id, "outcome": outcome, **options}
        answer = await self.control.post("/_control/payments", json=body)
        assert answer.status_code in {200, 409}, answer.text
        return answer.json() if answer.status_code == 200 else None


def reachable(state: str) -> set[str]:
    """Every state that may follow, at once or later."""
    found: set[str] = set()
    ahead = [AppointmentState(state)]
    while ahead:
        for after in TRANSITIONS[ahead.pop()]:
            if after not in found:
                found.add(after)
                ahead.append(after)
    return found
