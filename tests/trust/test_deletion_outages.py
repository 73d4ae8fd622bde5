"""MongoDB or the workflow service crashes in the middle of an erasure: it waits, goes on and tells the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

import httpx
import pytest

from models.erasure import STORES, Store
from models.ids import deletion_workflow_id
from models.policy import TenantPolicy
from sandbox.servers.stack import LocalServers
from tests import clinics
from tests.api.test_people import bearer
from tests.booking.support import temporal
from tests.faults import held_up
from tests.invariants import collect, violations
from tests.stack import Stack, eventually, running
from tests.trust.leavers import Leaver, erased_of, held_of, set_policy
from tests.trust.life import Life, Office, at_rest, live, office_of

pytestmark = [pytest.mark.fault_matrix, pytest.mark.timeout(600)]

QUICK: Final = TenantPolicy(max_unpaid_holds=10_000, deletion_grace_seconds=1, day_grace_hours=0)
NOTHING: Final = {"identity": 0, "clinical": 0, "financial": 0, "logs": 0}
BACK_SECONDS: Final = 180.0
"""Tries come less and less often, and a step whose end could not be told is taken for dead after a minute."""


@pytest.fixture(scope="module")
def stack(own_servers: LocalServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on servers of its own."""
    folder = tmp_path_factory.mktemp("stack")
    catalogue = clinics.catalogue(QUICK)
    with running(own_servers.addresses, "visitnow_outages", folder, QUICK, catalogue=catalogue) as started:
        set_policy(started, retention_seconds=NOTHING)
        yield started


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_mongodb_goes_away(stack: Stack, own_servers: LocalServers, moment: str) -> None:
    """When it is just about to be erased from, or everything is gone from it and nobody could note that yet."""
    mongod = own_servers.mongod
    assert mongod is not None

    async def crash() -> None:
        mongod.process.kill()

    async with office_of(stack) as office, stack.anonymous() as client:
        life, leaver = await _somebody(office, client)
        there = held_of(stack, leaver.id)
        async with held_up(stack, f"{moment}:erasure.erase", crash, when=lambda: leaver.is_next_in(Store.MONGODB)):
            await leaver.confirms()
        await _tries_again(stack, leaver)
        await asyncio.to_thread(mongod.start)
        await asyncio.to_thread(stack.await_ready)
        await _is_forgotten(office, life, leaver, there)


@pytest.mark.parametrize(("moment", "store"), [("before", Store.TEMPORAL), ("after", Store.MONGODB)])
async def test_the_workflow_service_goes_away(
    stack: Stack, own_servers: LocalServers, moment: str, store: Store
) -> None:
    """When its own histories are about to go, or it cannot be told any more that all is gone from MongoDB."""
    service = own_servers.temporal
    assert service is not None

    async def crash() -> None:
        service.process.kill()

    async with office_of(stack) as office, stack.anonymous() as client:
        life, leaver = await _somebody(office, client)
        there = held_of(stack, leaver.id)
        async with held_up(stack, f"{moment}:erasure.erase", crash, when=lambda: leaver.is_next_in(store)):
            await leaver.confirms()
        await eventually(lambda: client.get("/readyz"), lambda answer: answer.status_code == 503, seconds=60)
        assert (await leaver.seen())["state"] == "erasing", "whoever asks meanwhile is told how far it is"
        await asyncio.to_thread(service.start)
        await asyncio.to_thread(stack.await_ready)
        await _is_forgotten(office, life, leaver, there)


async def _somebody(office: Office, client: httpx.AsyncClient) -> tuple[Life, Leaver]:
    """Somebody who has left traces everywhere and for whom nothing goes on any more."""
    stack = office.stack
    life = await live(stack, office.stores)
    await at_rest(stack, office.temporal, life)
    client.headers.update(bearer(life.tokens))
    return life, Leaver(stack, life.phone, life.tokens, client)


async def _tries_again(stack: Stack, leaver: Leaver) -> None:
    """Return once a step has failed and will be tried again."""
    handle = (await temporal(stack)).get_workflow_handle(deletion_workflow_id(leaver.deletion))

    async def tries() -> list[int]:
        return [one.attempt for one in (await handle.describe()).raw_description.pending_activities]

    await eventually(tries, lambda seen: max(seen, default=0) > 1, seconds=90)


async def _is_forgotten(office: Office, life: Life, leaver: Leaver, there: Mapping[str, int]) -> None:
    """All of it, as the certificate says; nobody finds a word of theirs anywhere."""
    stack = office.stack
    done = await leaver.forgotten(BACK_SECONDS)
    assert (done["retained"], done["waits_for"], done["certificate_ready"]) == ([], [], True)
    said = (await leaver.certificate())["certificate"]
    assert {one["store"] for one in said["receipts"]} == set(STORES)
    assert there["users"] == 1
    assert erased_of(said, there) == there
    assert held_of(stack, leaver.id) == dict.fromkeys(there, 0)
    assert await office.scanner().scan(life.canaries) == []
    assert violations(await collect(stack, office.temporal)) == []
