"""A crowd after one time: one wins, and being refused costs little more than any other refusal."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from http import HTTPStatus

from temporalio.client import Client

from bench.catalogue import RACED, Time, first_day, starts
from bench.figures import Figure, at_most, median_ratio, percentile
from bench.http import Answer, Connection, pool, prepared
from bench.product import BenchError
from bench.rig import Rig

NUMBER = 5
LIMIT_SECONDS = 60.0
SETTLE_SECONDS = 10.0
POLL_SECONDS = 0.1
MILLI = 1000.0
ALTERNATIVES = 3


async def measure(rig: Rig) -> list[Figure]:
    """Row 5, three times: winners, workflows and how long the losers wait."""
    wanted = [
        Time(doctor.provider.id, doctor.provider.services[0].id, next(starts(first_day(), clock_hour=11)))
        for doctor in RACED[: rig.plan.rounds + 1]
    ]
    losers: list[float] = []
    refused: list[float] = []
    async with pool(rig.stack.api_url, rig.plan.racers) as connections:
        for number, moment in enumerate(wanted):
            rig.tell(f"race: round {number} of {rig.plan.rounds}, {rig.plan.racers} clients")
            lost = await _race(rig, connections.connections, moment)
            plain = await _refusals(rig, connections.connections)
            if number:  # the first round only warms both up
                losers.append(percentile(lost, 99) * MILLI)
                refused.append(percentile(plain, 99) * MILLI)
    workflows = await _workflows(rig, wanted)
    rounds = {"losers' p99 (ms)": losers, "trivial p99 (ms)": refused}
    detail = (
        f"{sorted(losers)[len(losers) // 2]:.0f} against {sorted(refused)[len(refused) // 2]:.0f} ms; trivial is the "
        f"same POST without an Idempotency-Key, refused with 400 after its token was verified"
    )
    return [
        Figure(NUMBER, f"winners of {rig.plan.racers} clients, worst round", 1, at_most(1), "everybody else had a 409"),
        Figure(NUMBER, "workflows per race, worst round", workflows, at_most(1), "counted by ProviderRef"),
        Figure(
            NUMBER, "losers' p99 ÷ trivial POST p99", median_ratio(losers, refused), at_most(3), detail, rounds=rounds
        ),
    ]


async def _race(rig: Rig, connections: list[Connection], moment: Time) -> list[float]:
    """Everybody asks at once; how long each loser waited. Raises `BenchError` unless exactly one has won."""
    requests = [rig.product.placing(moment, token) for token, _ in zip(rig.product.tokens, connections, strict=False)]
    answers = await _all_at_once(connections, requests)
    statuses = Counter(answer.status for answer, _ in answers)
    if statuses != {HTTPStatus.CREATED: 1, HTTPStatus.CONFLICT: len(connections) - 1}:
        odd = next((one.body for one, _ in answers if one.status not in (201, 409)), b"")
        raise BenchError(f"the race ended with {dict(statuses)} {odd[:300]!r}")
    lost = [(answer, seconds) for answer, seconds in answers if answer.status == HTTPStatus.CONFLICT]
    if any(len(answer.json()["alternatives"]) != ALTERNATIVES for answer, _ in lost):
        raise BenchError("a loser was not told the next three times")
    return [seconds for _, seconds in lost]


async def _refusals(rig: Rig, connections: list[Connection]) -> list[float]:
    """The same crowd, refused after authentication for want of a key."""
    url = f"{rig.stack.api_url}/v1/appointments"
    requests = [
        prepared("POST", url, token=token, body={}) for token, _ in zip(rig.product.tokens, connections, strict=False)
    ]
    answers = await _all_at_once(connections, requests)
    if any(answer.status != HTTPStatus.BAD_REQUEST for answer, _ in answers):
        raise BenchError(f"a POST without a key: {Counter(answer.status for answer, _ in answers)}")
    return [seconds for _, seconds in answers]


async def _all_at_once(connections: list[Connection], requests: list[bytes]) -> list[tuple[Answer, float]]:
    began = time.perf_counter()

    async def ask(connection: Connection, request: bytes) -> tuple[Answer, float]:
        answer = await connection.ask(request)
        return answer, time.perf_counter() - began

    async with asyncio.timeout(LIMIT_SECONDS):
        return await asyncio.gather(*map(ask, connections, requests))


async def _workflows(rig: Rig, wanted: list[Time]) -> int:
    """The most workflows that any race has started; the visibility store is given time to know of the winners'."""
    settings = rig.stack.settings
    client = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            counts = [(await client.count_workflows(f'ProviderRef = "{time.provider_id}"')).count for time in wanted]
            if all(counts):
                return max(counts)
            await asyncio.sleep(POLL_SECONDS)
