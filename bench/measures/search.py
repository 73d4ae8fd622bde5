"""What a search costs: whether it gets slower with the data, and its first page against a route that does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import count
from typing import Any, Final

from pymongo import MongoClient

from adapters.mongo.providers import stored_fields
from bench.catalogue import CLINIC, SECONDS, VISIT_MINUTES
from bench.figures import Figure, at_least, at_most, median_ratio
from bench.http import Pool, pool, prepared
from bench.measures.growth import keys_examined, median, play, served
from bench.measures.listing import asking
from bench.measures.listing import play as play_warm
from bench.product import BenchError
from bench.rig import Rig
from cli.seed.catalogue import PAISE, practitioner, profile, service
from models.providers import Provider, VisitMode
from models.search import SEARCHED_DAYS, FreeDay, day_token, facet_values, profile_tokens

NUMBER: Final = 10
FOUND: Final = 20
"""How many each side's questions find, however many there are; one page."""

RUPEES: Final = 500
BATCH: Final = 200
KEYS_ASKED: Final = 20
READ: Final = ("provider_days", "providers", "clinics", "tenants")


class Side:
    """One amount of providers, and an API process that serves them."""

    def __init__(self, url: str, database: str, connections: Pool) -> None:
        """Nothing has been asked yet."""
        self.database = database
        self._url = url
        self._connections = connections
        self._fees = count(RUPEES * PAISE)

    async def ask(self) -> None:
        """The first page for a symptom, with a limit of the fee that nobody asked for before and all found keep."""
        query = f"q=skin&language=en&fee_max={next(self._fees)}"
        answer = await self._connections.ask(prepared("GET", f"{self._url}/v1/providers?{query}"))
        if answer.status != HTTPStatus.OK or answer.body.count(b'"next_available":"') != FOUND:
            raise BenchError(f"{answer.status}: {answer.body[:200]!r}")


async def measure(rig: Rig) -> list[Figure]:
    """Row 10, three times: index keys and time at a multiple of the data, and how many first pages a second."""
    few, many = rig.plan.searched, rig.plan.searched * rig.plan.growth
    owner = rig.stack.addresses.owner_mongodb_url("admin")
    names = ("visitnow_few", "visitnow_many")
    async with served(rig, names[0], 0) as near, served(rig, names[1], 0) as far:
        for database, number in zip(names, (few, many), strict=True):
            rig.tell(f"search: writing {number} providers with {SEARCHED_DAYS} days each")
            await asyncio.to_thread(_write, owner, database, number)
        async with pool(near, 1) as few_asked, pool(far, 1) as many_asked:
            sides = (Side(near, names[0], few_asked), Side(far, names[1], many_asked))
            keys = [await keys_examined(owner, side, KEYS_ASKED, READ) for side in sides]
            ours, theirs = await play(rig, "search", sides)
    middles = {"1×": [one.p50 for one in theirs], f"{rig.plan.growth}×": [one.p50 for one in ours]}
    detail = (
        f"{median(middles[f'{rig.plan.growth}×']):.2f} against {median(middles['1×']):.2f} ms; {many} against {few} "
        f"providers, {rig.plan.growth_requests} questions a round that no cache can answer, each with {FOUND} results"
    )
    name = f"search at {rig.plan.growth}× data ÷ 1×"
    examined = f"{keys[1]:.1f} against {keys[0]:.1f} keys a request"
    return [
        Figure(NUMBER, f"{name}: index keys", keys[1] / keys[0], at_most(1), examined),
        Figure(NUMBER, f"{name}: p50", median_ratio(*reversed(middles.values())), at_most(1.2), detail, rounds=middles),
        await _warm(rig),
    ]


async def _warm(rig: Rig) -> Figure:
    url, in_flight = rig.stack.api_url, rig.plan.listing_in_flight
    first_page = prepared("GET", f"{url}/v1/providers")
    async with pool(url, in_flight) as connections:
        size = len((await connections.ask(first_page)).body)
        trivial = asking(connections, [prepared("GET", f"{url}/livez")])
        ours, theirs = await play_warm(rig, "first page", asking(connections, [first_page]), trivial)
    rates = {"search": [one.rate for one in ours], "livez": [one.rate for one in theirs]}
    return Figure(
        NUMBER,
        "warm first page of a search/s ÷ GET /livez/s",
        median_ratio(rates["search"], rates["livez"]),
        at_least(0.40),
        f"{median(rates['search']):.0f}/s against {median(rates['livez']):.0f}/s, {in_flight} in flight; "
        f"{size} bytes an answer",
        rounds=rates,
    )


def _write(mongodb_url: str, database: str, number: int) -> None:
    """Providers and what searches read of them, as the product writes both; `FOUND` of them treat the skin."""
    now = datetime.now(UTC).replace(microsecond=0)
    everybody = [_provider(one, rare=one % (number // FOUND) == 0) for one in range(number)]
    with MongoClient[dict[str, object]](mongodb_url, timeoutMS=SECONDS) as client:
        for batch in _batches(everybody):
            client[database]["providers"].insert_many([_stored(one) for one in batch], ordered=False)
            client[database]["provider_days"].insert_many([_entry(one, now) for one in batch], ordered=False)


def _batches(everybody: list[Provider]) -> Iterator[list[Provider]]:
    for start in range(0, len(everybody), BATCH):
        yield everybody[start : start + BATCH]


def _provider(number: int, *, rare: bool) -> Provider:
    person = practitioner(f"searched_{number}", f"Dr. Person {number}", "female", "Bench Council", str(number), 2010)
    visit = service("visit", "Consultation", VISIT_MINUTES, RUPEES)
    specialty = "Dermatology" if rare else "General medicine"
    return profile(person, CLINIC, (specialty,), ("en",), (), (visit,)).provider


def _stored(provider: Provider) -> dict[str, object]:
    return {"_id": provider.id, **stored_fields(provider), "provider_id": provider.id, "version": 1}


def _entry(provider: Provider, now: datetime) -> dict[str, Any]:
    firsts = [now + timedelta(days=ahead) for ahead in range(1, SEARCHED_DAYS + 1)]
    days = [FreeDay(first.date(), first, (VisitMode.IN_PERSON,)) for first in firsts]
    words = profile_tokens(provider, CLINIC)
    dates = [day_token(one.day, mode) for one in days for mode in (None, *one.modes)]
    place = CLINIC.location
    return {
        "_id": provider.id,
        "tenant_id": provider.tenant_id,
        "clinic_id": provider.clinic_id,
        "provider_id": provider.id,
        "practitioner_id": provider.practitioner_id,
        "live": True,
        "fee": RUPEES * PAISE,
        "location": place and {"type": "Point", "coordinates": [place.longitude, place.latitude]},
        "facets": facet_values(provider, CLINIC),
        "profile_tokens": words,
        "day_tokens": dates,
        "tokens": [*words, *dates],
        "next_available": firsts[0],
        "rating": 0,
        "due_at": now + timedelta(days=1),
        "announced": True,
        "version": 1,
    }
