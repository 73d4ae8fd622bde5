"""What listing free times costs while nothing changes, against a route that does nothing."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from itertools import cycle

from bench.catalogue import first_day, listed_doctors
from bench.figures import Figure, Sample, at_least, at_most, median_ratio
from bench.http import Pool, pool, prepared
from bench.load import Job, for_seconds
from bench.product import BenchError
from bench.rig import Rig

NUMBER = 3
LIMIT_SECONDS = 60.0
DOCTORS = 10
DAYS = 7


async def measure(rig: Rig) -> list[Figure]:
    """Row 3, twice: how many, and how slow the slowest hundredth is."""
    url = rig.stack.api_url
    day = first_day()
    listings = [
        prepared(
            "GET",
            f"{url}/v1/providers/{doctor.provider.id}/slots?service_id={doctor.provider.services[0].id}"
            f"&from={day}&to={day + timedelta(days=DAYS - 1)}",
        )
        for doctor in listed_doctors(rig.plan.doctors)[:DOCTORS]
    ]
    async with pool(url, rig.plan.listing_in_flight) as connections:
        size = len((await connections.ask(listings[0])).body)
        slots, trivial = asking(connections, listings), asking(connections, [prepared("GET", f"{url}/livez")])
        ours, theirs = await play(rig, "listing", slots, trivial)
    rates = {"slots": [one.rate for one in ours], "livez": [one.rate for one in theirs]}
    slowest = {"slots": [one.p99 for one in ours], "livez": [one.p99 for one in theirs]}
    middle, trivial_middle = ours[len(ours) // 2], theirs[len(theirs) // 2]
    in_flight = rig.plan.listing_in_flight
    return [
        Figure(
            NUMBER,
            "warm GET slots/s ÷ GET /livez/s",
            median_ratio(rates["slots"], rates["livez"]),
            at_least(0.45),
            f"{middle.rate:.0f}/s against {trivial_middle.rate:.0f}/s, {in_flight} in flight; {DOCTORS} doctors, "
            f"{DAYS} days, {size} bytes an answer",
            rounds=rates,
        ),
        Figure(
            NUMBER,
            "warm GET slots p99 ÷ GET /livez p99",
            median_ratio(slowest["slots"], slowest["livez"]),
            at_most(2.5),
            f"{middle.p99:.1f} against {trivial_middle.p99:.1f} ms",
            rounds=slowest,
        ),
    ]


async def play(rig: Rig, name: str, warm: Job, trivial: Job) -> tuple[list[Sample], list[Sample]]:
    """Both sides in turns, as the plan says; the round that only warms them up is left out."""
    ours: list[Sample] = []
    theirs: list[Sample] = []
    seconds, in_flight = rig.plan.listing_seconds, rig.plan.listing_in_flight
    for number in range(rig.plan.rounds + 1):
        rig.tell(f"{name}: round {number} of {rig.plan.rounds}")
        ours.append(await for_seconds(warm, seconds, in_flight, limit=LIMIT_SECONDS))
        theirs.append(await for_seconds(trivial, seconds, in_flight, limit=LIMIT_SECONDS))
    return ours[1:], theirs[1:]


def asking(connections: Pool, requests: list[bytes]) -> Job:
    """Asks the requests in turn. The job raises `BenchError` for whatever is not answered with 200."""
    turns = cycle(requests)

    async def ask() -> None:
        answer = await connections.ask(next(turns))
        if answer.status != HTTPStatus.OK:
            raise BenchError(f"{answer.status}: {answer.body[:200]!r}")

    return ask
