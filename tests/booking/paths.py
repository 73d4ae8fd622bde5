"""Every path that a booking can take, driven as a patient's phone would: patiently, and by the same key again."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Final

import httpx

from cli.seed.catalogue import Catalogue
from models.identity import Role
from models.policy import TenantPolicy
from tests import clinics
from tests.booking.support import somebody
from tests.clinics import Offer
from tests.stack import LONG, Json, Stack

PATIENCE_SECONDS: Final = 75.0
LOOK_SECONDS: Final = 0.1
REASON: Final = "fever since Monday"
WINDOW: Final = TenantPolicy(payment_window_seconds=9, payment_grace_seconds=1, max_unpaid_holds=10_000)
"""Long enough that a worker which dies on the way to the payment is replaced in time, short enough to wait for."""


def catalogue() -> Catalogue:
    """The tests' clinics; the swift ones give enough time to survive a fault."""
    known = clinics.catalogue(LONG)
    swift = clinics.SWIFT_TENANT.model_copy(update={"policy": WINDOW})
    return replace(known, tenants=tuple(swift if one.id == swift.id else one for one in known.tenants))


class Starts:
    """Hands out free starts, each once, so that bookings of a whole module run side by side."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._free: dict[Offer, Iterator[str]] = {}
        self._looking = asyncio.Lock()

    async def next(self, offer: Offer) -> str:
        async with self._looking:
            if offer not in self._free:
                # Each service of one doctor has days of its own: their times are the same doctor's.
                first = 3 + 8 * len([one for one in self._free if one.provider_id == offer.provider_id])
                free = await self._stack.free_starts(offer.provider_id, offer.service_id, days=(first, first + 7))
                self._free[offer] = iter(free)
            return next(self._free[offer])


class Visit:
    """One patient's way through one path."""

    def __init__(
        self, stack: Stack, path: Path, start: str, *, webhook: str = "once", there: str | None = None
    ) -> None:
        self.stack = stack
        self.path = path
        self.start = start
        self.there = there
        """Where the visit is moved to, on a path that moves it."""
        self.id = ""
        self.told: list[str] = []
        """The states that the patient was told, in order."""
        self._webhook = webhook
        self._key = secrets.token_urlsafe(16)
        self.who = somebody()
        self._client = stack.client(self.who)

    async def play(self) -> None:
        """The whole path."""
        async with self._client:
            await self.place()
            await self.path.play(self)

    async def place(self) -> Json:
        """Ask until it is answered; a patient whose request failed sends the same again."""
        offer, reason = self.path.offer, REASON
        answer = await self._insist(
            lambda: self.stack.place(
                self._client, offer.provider_id, offer.service_id, self.start, key=self._key, reason=reason
            )
        )
        assert answer.status_code == HTTPStatus.CREATED, f"{answer.status_code} {answer.text}"
        placed: Json = answer.json()
        self.id = placed["id"]
        self.told.append(placed["state"])
        return placed

    async def pay(self, outcome: str = "authorized") -> None:
        """Pay at the checkout, and close the tab: only the webhook tells."""
        held = await self.payable()
        await self.stack.pay(held["payment"]["order_id"], outcome, webhook=self._webhook)

    async def pay_late(self, outcome: str) -> None:
        """Pay after the time was given up."""
        held = await self.payable()
        await self.reaches("expired")
        await self.stack.pay(held["payment"]["order_id"], outcome, webhook=self._webhook)

    async def payable(self) -> Json:
        """Wait until there is something to pay."""
        return await self.until(lambda seen: seen["payment"] is not None and seen["payment"]["status"] == "ready")

    async def cancel(self) -> None:
        """Cancel until it is cancelled: an answer may be lost after the deed."""
        answer = await self._insist(
            lambda: self._client.post(f"/v1/appointments/{self.id}/cancel", json={"reason": "better"})
        )
        if answer.status_code == HTTPStatus.CONFLICT:
            await self.reaches("cancelled")
            return
        assert answer.status_code == HTTPStatus.OK, f"{answer.status_code} {answer.text}"
        self.told.append(answer.json()["state"])

    async def say(self, *steps: str) -> None:
        """The clinic says how far the visit is, until it is so: an answer may be lost after the deed."""
        async with self.stack.client(clinics.employee("steady", Role.STAFF)) as desk:
            for step in steps:
                answer = await self._insist(partial(desk.post, f"/v1/appointments/{self.id}/{step}"))
                if answer.status_code == HTTPStatus.CONFLICT:
                    await self.reaches(SAID[step])
                else:
                    assert answer.status_code == HTTPStatus.OK, f"{answer.status_code} {answer.text}"
                    self.told.append(answer.json()["state"])

    async def move(self) -> None:
        """Move the visit; the same wish may be sent again."""
        answer = await self._insist(
            lambda: self._client.post(f"/v1/appointments/{self.id}/reschedule", json={"start": self.there})
        )
        assert answer.status_code == HTTPStatus.OK, f"{answer.status_code} {answer.text}"
        assert answer.json()["start"] == self.there
        self.told.append(answer.json()["state"])

    async def reaches(self, state: str) -> Json:
        """Wait for a state."""
        return await self.until(lambda seen: bool(seen["state"] == state))

    async def until(self, good: Callable[[Json], bool]) -> Json:
        """Look until it is good."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = await self._insist(lambda: self._client.get(f"/v1/appointments/{self.id}"))
            assert answer.status_code == HTTPStatus.OK, f"{answer.status_code} {answer.text}"
            seen: Json = answer.json()
            self.told.append(seen["state"])
            if good(seen):
                return seen
            assert time.monotonic() < give_up, f"{self.path.name}: not within {PATIENCE_SECONDS} s, last seen {seen}"
            await asyncio.sleep(LOOK_SECONDS)

    async def _insist(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Send again what was not answered; anything but an answer or "unavailable" is a fault of ours."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            last = "nothing"
            # The process that would have answered may have died.
            with suppress(httpx.TransportError):
                answer = await send()
                if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    return answer
                last = answer.text
            assert time.monotonic() < give_up, f"{self.path.name}: not answered, last {last}"
            await asyncio.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Path:
    """One path: what is booked, what then happens, where it ends and the steps that it takes."""

    name: str
    offer: Offer
    play: Callable[[Visit], Awaitable[None]]
    state: str
    payment_state: str
    steps: tuple[str, ...]


async def _paid(visit: Visit) -> None:
    await visit.pay()
    await visit.reaches("confirmed")


async def _captured_by_bank(visit: Visit) -> None:
    await visit.pay("captured")
    await visit.reaches("confirmed")


async def _expires(visit: Visit) -> None:
    await visit.reaches("expired")


async def _late_authorized(visit: Visit) -> None:
    await visit.pay_late("authorized")


async def _late_captured(visit: Visit) -> None:
    await visit.pay_late("captured")


async def _cancelled_held(visit: Visit) -> None:
    await visit.payable()
    await visit.cancel()


async def _cancelled_paid(visit: Visit) -> None:
    await _paid(visit)
    await visit.cancel()


async def _cancelled_booked(visit: Visit) -> None:
    await visit.cancel()


async def _moved(visit: Visit) -> None:
    await visit.reaches("confirmed")
    await visit.move()


async def _moved_paid(visit: Visit) -> None:
    await _paid(visit)
    await visit.move()


async def _visited(visit: Visit) -> None:
    await visit.say("check-in", "start", "complete")


async def _missed(visit: Visit) -> None:
    await visit.say("no-show")


async def _booked(visit: Visit) -> None:
    await visit.reaches("confirmed")


SAID: Final = {"check-in": "checked_in", "start": "in_consultation", "complete": "completed", "no-show": "no_show"}
"""What each thing that a clinic says of a visit makes of it."""

PLACING: Final = ("booking.hold", "payments.open_order")
MOVING: Final = "booking.move"
_SETTLING: Final = (*PLACING, "payments.ask", "booking.book", "payments.capture", "booking.advance")
_REFUNDING: Final = ("payments.open_refund", "payments.send_refund", "payments.refund_status", "payments.settle_refund")
_EXPIRING: Final = (*PLACING, "payments.ask", "booking.close")

PATHS: Final = {
    path.name: path
    for path in (
        Path("paid", clinics.offer("steady", "visit"), _paid, "confirmed", "captured", _SETTLING),
        Path(
            "captured_by_bank",
            clinics.offer("steady", "visit"),
            _captured_by_bank,
            "confirmed",
            "captured",
            _SETTLING,
        ),
        Path("hurried", clinics.offer("swift", "visit"), _paid, "confirmed", "captured", _SETTLING),
        Path("expired", clinics.offer("swift", "visit"), _expires, "expired", "pending", _EXPIRING),
        Path(
            "late_authorized",
            clinics.offer("swift", "visit"),
            _late_authorized,
            "expired",
            "voided",
            (*_EXPIRING, "payments.late_order", "booking.advance"),
        ),
        Path(
            "late_captured",
            clinics.offer("swift", "visit"),
            _late_captured,
            "expired",
            "refunded",
            (*_EXPIRING, "payments.late_order", "payments.capture", "booking.advance", *_REFUNDING),
        ),
        Path(
            "cancelled_held",
            clinics.offer("steady", "visit"),
            _cancelled_held,
            "cancelled",
            "pending",
            _EXPIRING,
        ),
        Path(
            "cancelled_paid",
            clinics.offer("steady", "visit"),
            _cancelled_paid,
            "cancelled",
            "refunded",
            (*_SETTLING, "booking.close", *_REFUNDING),
        ),
        Path("free", clinics.offer("steady", "free"), _booked, "confirmed", "not_required", ("booking.hold",)),
        Path("at_clinic", clinics.offer("steady", "desk"), _booked, "confirmed", "due_at_clinic", ("booking.hold",)),
        Path(
            "cancelled_free",
            clinics.offer("steady", "free"),
            _cancelled_booked,
            "cancelled",
            "not_required",
            ("booking.hold", "booking.close"),
        ),
        Path("seat", clinics.offer("steady", "class", "group"), _paid, "confirmed", "captured", _SETTLING),
        Path(
            "seat_cancelled",
            clinics.offer("steady", "class", "group"),
            _cancelled_paid,
            "cancelled",
            "refunded",
            (*_SETTLING, "booking.close", *_REFUNDING),
        ),
        Path("moved", clinics.offer("steady", "visit"), _moved_paid, "confirmed", "captured", (*_SETTLING, MOVING)),
        Path(
            "seat_moved",
            clinics.offer("steady", "talk", "group"),
            _moved,
            "confirmed",
            "not_required",
            ("booking.hold", MOVING),
        ),
        Path(
            "visited",
            clinics.offer("steady", "free"),
            _visited,
            "completed",
            "not_required",
            ("booking.hold", "booking.advance"),
        ),
        Path(
            "missed",
            clinics.offer("steady", "free"),
            _missed,
            "no_show",
            "not_required",
            ("booking.hold", "booking.advance"),
        ),
    )
}
"""Every path by its name."""
