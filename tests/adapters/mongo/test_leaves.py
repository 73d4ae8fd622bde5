"""A leave's steps: whatever was claimed before stays, nothing within is free afterwards, any step may be repeated."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random

import pytest

from activities.availability import AvailabilityActivities, BlockLeave
from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from models.availability import Availability, WeeklyRule
from models.identity import Public, System, Tenant
from models.providers import Provider, TenantRecord
from models.publishing import Leave, LeaveRef, LeaveState
from tests.adapters.mongo.builders import DAY, a_clinic, a_command, a_provider, a_step, minutes, new, past, soon
from tests.adapters.mongo.calls import NOTHING

WORLD = System("a test takes leave")
HOURS = Availability(
    weekly=(
        *(WeeklyRule(weekday=day, start="09:00", end="13:00") for day in range(7)),
        *(WeeklyRule(weekday=day, start="20:00", end="02:00") for day in range(0, 7, 2)),
    )
)


@pytest.fixture
def steps(stores: Repositories) -> AvailabilityActivities:
    return AvailabilityActivities(stores.leaves, stores.publications, stores.claims, stores.appointments)


async def a_doctor(stores: Repositories) -> Provider:
    clinic = a_clinic(tenant_id=new("ten"))
    provider = a_provider(clinic)
    await stores.directory.put_tenant(WORLD, TenantRecord(id=clinic.tenant_id, slug=clinic.slug, name="Arogya"))
    await stores.directory.put_clinic(WORLD, clinic)
    await stores.directory.put_provider(WORLD, provider)
    await stores.directory.put_availability(WORLD, provider, HOURS)
    return provider


async def a_leave(stores: Repositories, provider: Provider, days: int = 20) -> Leave:
    leave = Leave(
        id=new("lve"), tenant_id=provider.tenant_id, clinic_id=provider.clinic_id, provider_id=provider.id,
        practitioner_id=provider.practitioner_id, start=DAY, end=DAY + timedelta(days=days), body_hash="0",
        created_at=DAY,
    )  # fmt: skip
    return await stores.leaves.insert(WORLD, leave, "a cold")


def owned_by(provider: Provider) -> dict[str, object]:
    return {
        "tenant_id": provider.tenant_id,
        "clinic_id": provider.clinic_id,
        "provider_id": provider.id,
        "practitioner_id": provider.practitioner_id,
    }


async def claimed_before(stores: Repositories, provider: Provider, seed: int) -> list[Document]:
    """Visits of this clinic, of another one, seats of a group, and holds that have run out."""
    random = Random(seed)  # noqa: S311  a test's dice
    for _ in range(40):
        at = random.randrange(0, 20 * 24 * 12) * 5
        elsewhere = {"tenant_id": "ten_b", "provider_id": "prv_b"} if random.random() < 0.3 else {}
        group = {"capacity": 3} if random.random() < 0.2 else {}
        command = a_command(at, 30, **{**owned_by(provider), **elsewhere, **group})
        until = past() if random.random() < 0.2 else soon(600)
        await stores.claims.tentative(WORLD, command, NOTHING, until)
    return await live(stores, provider)


async def live(stores: Repositories, provider: Provider) -> list[Document]:
    query: Document = {
        "practitioner_id": provider.practitioner_id,
        "kind": {"$ne": "block"},
        "$or": [{"expires_at": {"$gt": soon(0)}}, {"seats.expires_at": {"$gt": soon(0)}}],
    }
    return await stores.database["slots"].find(query, sort=[("_id", 1)]).to_list(None)


async def taken(steps: AvailabilityActivities, leave: Leave) -> int:
    ref, since, count = LeaveRef(tenant_id=leave.tenant_id, leave_id=leave.id), None, 0
    while True:
        since = await steps.block_leave(BlockLeave(leave=ref, since=since))
        count += 1
        if since is None:
            break
    await steps.settle_leave(ref)
    return count


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_free_within_and_nothing_claimed_has_changed(
    stores: Repositories, steps: AvailabilityActivities, seed: int
) -> None:
    provider = await a_doctor(stores)
    before = await claimed_before(stores, provider, seed)
    leave = await a_leave(stores, provider)
    assert await taken(steps, leave) == 2
    assert await live(stores, provider) == before
    blocks = await stores.database["slots"].find({"leave_id": leave.id}, sort=[("_id", 1)]).to_list(None)
    assert await taken(steps, leave) == 2, "a second run finds nothing left to block"
    assert await stores.database["slots"].find({"leave_id": leave.id}, sort=[("_id", 1)]).to_list(None) == blocks
    # By the index itself: no visit within the hours and the leave can be claimed.
    for day in range(20):
        for at in (0, 60, 175):
            wanted = a_command(day * 24 * 60 + at, 5, **owned_by(provider))
            assert not await stores.claims.tentative(WORLD, wanted, NOTHING, soon()), (day, at)
    found = await stores.leaves.find(WORLD, leave.id)
    assert found is not None
    assert (found.state, found.tally.blocks) == (LeaveState.TAKEN, len(blocks))


async def test_the_offering_knows_of_the_leave_while_it_stands(
    stores: Repositories, steps: AvailabilityActivities
) -> None:
    provider = await a_doctor(stores)
    leave = await a_leave(stores, provider, 2)
    for state in (None, LeaveState.TAKEN, LeaveState.ENDING, LeaveState.ENDED):
        stands = state in {None, LeaveState.TAKEN}
        if state is not None:
            assert await stores.leaves.advance(WORLD, leave, state) is state
        offering = await stores.directory.offering(Public(), provider.id)
        assert offering is not None
        assert [(one.start, one.end) for one in offering.absences] == ([(leave.start, leave.end)] if stands else [])
    assert await stores.leaves.advance(WORLD, leave, LeaveState.TAKEN) is LeaveState.ENDED
    await taken(steps, leave)
    assert await stores.claims.blocks(WORLD, leave.id) == 0


async def test_a_leave_that_ends_while_it_is_taken_leaves_nothing_behind(
    stores: Repositories, steps: AvailabilityActivities
) -> None:
    provider = await a_doctor(stores)
    for _ in range(6):
        leave, scope = await a_leave(stores, provider), Tenant(provider.tenant_id)

        async def end(leave: Leave = leave, scope: Tenant = scope) -> None:
            await stores.leaves.advance(scope, leave, LeaveState.ENDING)
            await stores.claims.unblock(scope, leave.id, provider)
            await stores.leaves.advance(scope, leave, LeaveState.ENDED)

        await asyncio.gather(taken(steps, leave), end())
        assert await stores.claims.blocks(WORLD, leave.id) == 0
        found = await stores.leaves.find(WORLD, leave.id)
        assert found is not None
        assert found.state is LeaveState.ENDED


async def test_ending_frees_its_own_blocks_only(stores: Repositories, steps: AvailabilityActivities) -> None:
    provider = await a_doctor(stores)
    one, other = await a_leave(stores, provider, 1), await a_leave(stores, provider, 3)
    await taken(steps, one)
    await taken(steps, other)
    before = await live(stores, provider)
    blocked = await stores.claims.blocks(WORLD, other.id)
    await stores.claims.unblock(WORLD, one.id, provider)
    assert (await stores.claims.blocks(WORLD, one.id), await stores.claims.blocks(WORLD, other.id)) == (0, blocked)
    assert await live(stores, provider) == before


async def test_booked_visits_are_counted_with_their_buffers(
    stores: Repositories, steps: AvailabilityActivities
) -> None:
    provider = await a_doctor(stores)
    for at in (-40, -30, -25, 60, 24 * 60, 48 * 60):
        command = a_command(at, 30, **owned_by(provider))
        await stores.appointments.insert(WORLD, a_step(command), None)
    leave = await a_leave(stores, provider, 2)
    await taken(steps, leave)
    found = await stores.leaves.find(WORLD, leave.id)
    assert found is not None
    assert found.tally.appointments == 3
    within = await stores.appointments.upcoming(Tenant(provider.tenant_id), provider, DAY, DAY + minutes(2 * 24 * 60))
    assert [one.start for one in within] == [DAY - minutes(25), DAY + minutes(60), DAY + minutes(24 * 60)]


async def test_leaves_are_listed_with_their_reasons(stores: Repositories) -> None:
    provider = await a_doctor(stores)
    leaves = [await a_leave(stores, provider, days) for days in (1, 2, 3)]
    scope = Tenant(provider.tenant_id)
    first = await stores.leaves.page(scope, provider, 2, None)
    rest = await stores.leaves.page(scope, provider, 2, first.next_cursor)
    listed = [*first.items, *rest.items]
    assert {leave.id for leave, _ in listed} == {one.id for one in leaves}
    assert {reason for _, reason in listed} == {"a cold"}
    assert rest.next_cursor is None
    stored = await stores.database["leaves"].find_one({"_id": leaves[0].id})
    assert "a cold" not in str(stored)
