"""Many at once after the same time: whatever the order, at most one has it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import datetime
from itertools import pairwise

import pytest

from adapters.mongo.repositories import Repositories
from models.booking import Intake, PlaceBooking
from models.identity import Public, System, Tenant
from tests.adapters.mongo.builders import DAY, a_command, a_service, a_step, minutes, new, past, soon

NOTHING = Intake()
TEST = System("tests")


async def winners(stores: Repositories, commands: list[PlaceBooking], expires: datetime | None = None) -> list[int]:
    until = expires or soon()
    taken = await asyncio.gather(
        *(stores.claims.tentative(Tenant(one.tenant_id), one, NOTHING, until) for one in commands)
    )
    return [number for number, won in enumerate(taken) if won]


async def no_overlap(stores: Repositories, practitioner_id: str) -> int:
    """How many claims there are; fails where two of them overlap."""
    claims = await stores.claims.busy(Public(), practitioner_id, DAY - minutes(600), DAY + minutes(3000))
    for one, following in pairwise(claims):
        assert one.end <= following.start
    return len(claims)


async def test_of_200_after_overlapping_times_one_wins(stores: Repositories) -> None:
    person = new("prc")
    commands = [
        a_command(practitioner_id=person, at=5 * (number % 6), service=a_service(50_000 + number))
        for number in range(200)
    ]
    assert len(await winners(stores, commands)) == 1
    assert await no_overlap(stores, person) == 1


async def test_a_practitioner_of_two_tenants_is_one_person(stores: Repositories) -> None:
    person = new("prc")
    commands = [
        a_command(
            practitioner_id=person,
            tenant_id=f"ten_{tenant}",
            clinic_id=f"cli_{tenant}",
            provider_id=f"prv_{tenant}_{number % 3}",
            at=5 * (number % 2),
            length=15 + 5 * (number % 3),
        )
        for number in range(100)
        for tenant in ("a", "b")
    ]
    assert len(await winners(stores, commands)) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_times_never_overlap(stores: Repositories, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a game, not a secret
    person = new("prc")
    commands = [
        a_command(practitioner_id=person, at=5 * chance.randrange(96), length=5 * chance.randint(1, 12))
        for _ in range(200)
    ]
    won = await winners(stores, commands)
    assert len(won) == await no_overlap(stores, person)
    assert won


async def test_what_ran_out_is_reclaimed_exactly_once(stores: Repositories) -> None:
    for _ in range(5):
        dead = a_command(practitioner_id=new("prc"))
        assert await winners(stores, [dead], past()) == [0]
        commands = [a_command(practitioner_id=dead.practitioner_id, at=5 * (number % 5)) for number in range(100)]
        assert len(await winners(stores, commands)) == 1
        assert await no_overlap(stores, dead.practitioner_id) == 1


async def test_seats_never_exceed_the_capacity(stores: Repositories) -> None:
    person, provider = new("prc"), new("prv")
    commands = [
        a_command(practitioner_id=person, provider_id=provider, capacity=7, clinic_id="cli_a") for _ in range(100)
    ]
    won = await winners(stores, commands)
    assert len(won) == 7
    held = await asyncio.gather(*(stores.claims.hold(Tenant("ten_a"), a_step(one)) for one in commands))
    assert [number for number, (took, _) in enumerate(held) if took] == won
    left = random.Random(4).sample(won, 4)  # noqa: S311  a game, not a secret
    again = [a_command(practitioner_id=person, provider_id=provider, capacity=7) for _ in range(20)]
    releases = (stores.claims.release(Tenant("ten_a"), commands[number].claim) for number in left)
    joined, *_ = await asyncio.gather(winners(stores, again), *releases)
    [busy] = await stores.claims.busy(Public(), person, DAY, DAY + minutes(5))
    assert busy.seats_taken == 3 + len(joined)
    assert busy.seats_taken <= 7


async def test_joining_meets_the_last_one_leaving(stores: Repositories) -> None:
    for _ in range(20):
        person, provider = new("prc"), new("prv")
        leaving, joining = (a_command(practitioner_id=person, provider_id=provider, capacity=3) for _ in range(2))
        assert await winners(stores, [leaving]) == [0]
        won, _ = await asyncio.gather(winners(stores, [joining]), stores.claims.release(Tenant("ten_a"), leaving.claim))
        assert won == [0]
        assert await stores.claims.book(Tenant("ten_a"), joining.claim)


async def test_a_claim_is_booked_or_reclaimed_never_both(stores: Repositories) -> None:
    outcomes = Counter[str]()
    for _ in range(25):
        mine = a_command(practitioner_id=new("prc"))
        assert await winners(stores, [mine], past()) == [0]
        others = [a_command(practitioner_id=mine.practitioner_id, at=15) for _ in range(6)]
        tasks = [asyncio.ensure_future(winners(stores, [one])) for one in others]
        booked = await stores.claims.book(Tenant("ten_a"), mine.claim)
        reclaimed = sum(len(won) for won in await asyncio.gather(*tasks))
        assert booked + reclaimed == 1
        assert await no_overlap(stores, mine.practitioner_id) == 1
        outcomes["booked" if booked else "reclaimed"] += 1
    assert outcomes.total() == 25


async def test_many_workers_take_the_same_claim_over(stores: Repositories) -> None:
    kept, lost = a_command(practitioner_id=new("prc")), a_command(practitioner_id=new("prc"))
    assert await winners(stores, [kept]) == [0]
    for command in (kept, lost):
        answers = await asyncio.gather(*(stores.claims.hold(TEST, a_step(command)) for _ in range(30)))
        assert set(answers) == {(True, None)}
        assert await no_overlap(stores, command.practitioner_id) == 1


async def test_of_many_tries_of_one_request_all_are_told_that_it_has_the_time(stores: Repositories) -> None:
    person = new("prc")
    first, other = (a_command(practitioner_id=person) for _ in range(2))
    wanting = [first, other, first, other, first, other, first]
    won = await winners(stores, wanting)
    assert won in ([0, 2, 4, 6], [1, 3, 5])
    again = await winners(stores, wanting)
    assert again == won


async def test_who_has_a_claim_elsewhere_keeps_nobody_from_a_free_time(stores: Repositories) -> None:
    """The same request id with another time: its old claim is found by its id, and the new time is still free."""
    person = new("prc")
    placed = a_command(practitioner_id=person)
    assert await winners(stores, [placed]) == [0]
    elsewhere = a_command(practitioner_id=person, at=60, appointment_id=placed.appointment_id)
    others = [a_command(practitioner_id=person, at=60) for _ in range(3)]
    won = await winners(stores, [elsewhere, elsewhere, *others, elsewhere])
    assert {0, 1, 5} <= set(won)
    assert len(won) == 4
    assert await no_overlap(stores, person) == 2


async def test_a_time_that_is_given_back_can_be_had_at_once(stores: Repositories) -> None:
    person = new("prc")
    for _ in range(20):
        [first, *others] = [a_command(practitioner_id=person) for _ in range(5)]
        assert await winners(stores, [first, *others]) == [0]
        await stores.claims.release(Tenant("ten_a"), first.claim)
        [won] = await winners(stores, others)
        await stores.claims.release(Tenant("ten_a"), others[won].claim)
