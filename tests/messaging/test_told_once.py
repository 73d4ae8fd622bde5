"""At most one message per key and channel, counted at the sandbox, with everything real: phones that are silent or
late, answers that are lost, callbacks twice and in disorder, workers that are killed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import pytest

from adapters.mongo.repositories import Repositories
from models.identity import Account
from models.ids import reference
from sandbox.servers.stack import Addresses
from tests.clinics import catalogue, offer
from tests.messaging.readers import a_reader, notice, phone_behaves, repositories, tries
from tests.stack import LONG, Json, Stack, eventually, running

PHONES: Final[tuple[Json, ...]] = (
    {"reaches": "delivered"},
    {"reaches": "delivered", "callbacks": "twice"},
    {"reaches": "delivered", "callbacks": "reversed"},
    {"reaches": "delivered", "callbacks": "never"},
    {"reaches": "sent"},
    {"reaches": "undelivered", "error_code": 30003},
    {"reaches": "undelivered", "error_code": 30003, "callbacks": "reversed"},
)
FAULTS: Final = ("timeout_after_success", "timeout", "error", "rate_limited", "malformed")
PATIENCE: Final = 120.0
"""Seconds: what a killed worker had in hand is taken up after its step's own time-out."""

TELLING: Final = "appointment_confirmed"


async def tell(stack: Stack, stores: Repositories, readers: int, chance: random.Random) -> list[tuple[Account, Json]]:
    """So many people book at once, each with a phone of its own kind, while the carrier is in trouble."""
    people = [await a_reader(stores, locale="en") for _ in range(readers)]
    for reader in people:
        await phone_behaves(stack, reader.phone or "", **chance.choice(PHONES))
    at = offer("prompt", "free")
    starts = await stack.free_starts(at.provider_id, at.service_id)
    for mode in chance.choices(FAULTS, k=max(2, readers // 3)):
        await stack.fault("message.create", mode, service="twilio", delay_seconds=3)

    async def books(reader: Account, start: str) -> tuple[Account, Json]:
        async with stack.client(reader) as who:
            # Whoever is told to try again while a worker is replaced does so, with the same key.
            answer = await eventually(
                lambda: stack.place(who, at.provider_id, at.service_id, start, key=reader.id),
                lambda found: found.status_code != HTTPStatus.SERVICE_UNAVAILABLE,
                90,
            )
        assert answer.status_code == HTTPStatus.CREATED, answer.text
        return reader, answer.json()

    return list(await asyncio.gather(*(books(*one) for one in zip(people, starts, strict=False))))


async def counted(stack: Stack, told: list[tuple[Account, Json]]) -> Counter[str]:
    """How they ended, once all have; fails where anything arrived twice or somebody heard nothing."""
    ends: Counter[str] = Counter()
    for reader, booked in told:
        found = await notice(stack, booked["id"], TELLING, PATIENCE)
        inbox = [*await stack.messages(reader.phone or "-"), *await stack.messages(reader.email or "-")]
        mine = [one for one in inbox if reference(booked["id"]) in one["text"]]
        # A relay cannot be asked what it took: a repeated e-mail bears the same Message-ID, and mailboxes show one.
        seen = {(one["channel"], one["message_id"] or one["id"]) for one in mine}
        arrived = Counter(channel for channel, _ in seen)
        assert max(arrived.values(), default=0) <= 1, (arrived, tries(stack, found["_id"]))
        assert found["state"] in {"sent", "delivered"}, found
        assert arrived, found
        ends[f"{found['state']} by {'+'.join(sorted(arrived))}"] += 1
    return ends


async def test_some_people_are_told_once_each(shared_stack: Stack) -> None:
    async with repositories(shared_stack) as stores:
        told = await tell(shared_stack, stores, 9, random.Random(4))  # noqa: S311  repeatable, not secret
        ends = await counted(shared_stack, told)
    assert sum(ends.values()) == 9
    async with shared_stack.control() as control:
        (await control.delete("/_control/faults")).raise_for_status()


@pytest.fixture
def own_stack(
    servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One whose worker is the test's to kill."""
    folder = tmp_path_factory.mktemp("stack")
    with running(servers, f"{module_database_name}_told", folder, LONG, catalogue=catalogue(LONG)) as started:
        yield started


@pytest.mark.fault_matrix
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(5))
async def test_many_people_are_told_once_each_while_workers_die(own_stack: Stack, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  repeatable, not secret
    async with repositories(own_stack) as stores:
        telling = asyncio.create_task(tell(own_stack, stores, 60, chance))
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.2, 3.0))
            own_stack.worker.kill()
            own_stack.restart_worker()
        ends = await counted(own_stack, await telling)
    assert sum(ends.values()) == 60
