"""The worker is killed at any step of a deletion: another one goes on, and everything is gone once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from models.erasure import STORES, Store
from models.policy import TenantPolicy
from sandbox.servers.stack import Addresses
from tests import clinics
from tests.booking.support import book_paid, ok, temporal
from tests.clinics import offer
from tests.faults import dying, dying_after
from tests.invariants import collect, violations
from tests.stack import Stack, running
from tests.trust.leavers import REQUESTS, code_to, codes_to, erased_of, held_of, set_policy, somebody_new

pytestmark = pytest.mark.timeout(400)

QUICK: Final = TenantPolicy(max_unpaid_holds=10_000, deletion_grace_seconds=1, day_grace_hours=0)
BUT_LOGS: Final = {"identity": 0, "clinical": 0, "financial": 0}
STEPS: Final = ("begin", "tell", "restrict", "settle", "plan", "decide", "note", "certify")
IN_CI: Final = frozenset({"before:deletions.restrict", "after:deletions.decide"})


def _points() -> list[ParameterSet]:
    """Each step before and after; those that are not sampled run with the fault matrix."""
    points = [f"{moment}:deletions.{step}" for step in STEPS for moment in ("before", "after")]
    points += ["before:erasure.erase", "after:erasure.erase"]
    return [pytest.param(one, marks=() if one in IN_CI else (pytest.mark.fault_matrix,)) for one in points]


@pytest.fixture(scope="module")
def stack(servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose worker dies."""
    folder = tmp_path_factory.mktemp("stack")
    with running(servers, f"{module_database_name}_died", folder, QUICK, catalogue=clinics.catalogue(QUICK)) as started:
        set_policy(started, retention_seconds=BUT_LOGS)
        yield started


@pytest.mark.fault_matrix
@pytest.mark.parametrize("store", STORES[1:])
async def test_what_was_erased_by_a_worker_that_was_killed_is_counted_too(stack: Stack, store: Store) -> None:
    """It dies when a store has let go of everything, before anybody knows; who repeats it finds nothing there."""
    async with somebody_new(stack, "Canary Counted") as leaver:
        child = {"name": "Canary Child", "date_of_birth": "2020-02-02", "relation": "daughter"}
        ok(await leaver.client.post("/v1/me/dependants", json=child), 201)
        there = held_of(stack, leaver.id)
        assert (there["users"], there["dependants"], there["sessions"]) == (1, 1, 1)
        async with dying_after(stack, "erasure.erase", lambda: leaver.is_next_in(store)):
            await leaver.confirms()
            await leaver.forgotten(seconds=150)
        said = (await leaver.certificate())["certificate"]
        assert erased_of(said, there) == there
        told = Counter[str]()
        for one in said["receipts"]:
            told[one["store"]] += one["erased"]
        assert told["messages"] >= 1
        assert told["temporal"] >= 1
        assert told["keys"] >= 1
        [deletion] = stack.db.deletions.find({"_id": leaver.deletion})
        found = [count for parts in deletion["found"].get(store, {}).values() for count in parts.values()]
        assert told[store] >= sum(found)
    assert held_of(stack, leaver.id) == dict.fromkeys(there, 0)


@pytest.mark.fault_matrix
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_the_worker_is_killed_while_a_child_goes(stack: Stack, moment: str) -> None:
    async with somebody_new(stack, "Guardian Killed") as leaver:
        child = {"name": "Canary Child", "date_of_birth": "2020-02-02", "relation": "son"}
        made = ok(await leaver.client.post("/v1/me/dependants", json=child), 201)
        async with dying(stack, f"{moment}:deletions.forget_child"):
            await leaver.confirms(dependant_id=made["id"])
            await leaver.forgotten(seconds=90)
        said = (await leaver.certificate())["certificate"]
        assert {one["part"]: one["erased"] for one in said["receipts"]} == {"consents": 0, "dependants": 1}
        assert ok(await leaver.client.get("/v1/me/dependants"))["items"] == []


@pytest.mark.parametrize("point", _points())
async def test_the_worker_is_killed(stack: Stack, point: str) -> None:
    async with somebody_new(stack, "Canary Killed") as leaver:
        await book_paid(stack, leaver.client, offer("steady", "visit"))
        async with dying(stack, point):
            seen = await codes_to(stack, leaver.phone)
            await leaver.asks()
            code = await code_to(stack, leaver.phone, seen)
            # Whoever is told that it took too long looks what became of it.
            answer = await leaver.client.post(f"{REQUESTS}/{leaver.deletion}/confirm", json={"code": code})
            assert answer.status_code in {200, 503}, answer.text
            await leaver.forgotten(seconds=90)
        said = (await leaver.certificate())["certificate"]
        assert (said["number"], [one["retained_under"] for one in said["retained"]]) == (1, ["logs"])
        [refund] = stack.db.refunds.find({"subject_id": leaver.id})
        assert refund["state"] == "processed"
        told = [one["template"] for one in stack.db.notifications.find({"subject_id": leaver.id})]
        assert [told.count(one) for one in ("deletion_begun", "account_closed")] == [1, 1], "nothing is told twice"
    assert violations(await collect(stack, await temporal(stack))) == []
