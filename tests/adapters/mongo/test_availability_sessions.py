"""Group sessions: seats in one claim."""

from __future__ import annotations

from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from models.availability import Busy
from models.booking import Intake, PlaceBooking
from models.identity import Public, Subject, Tenant
from models.providers import PaymentMode
from tests.adapters.mongo.builders import DAY, a_command, a_service, a_step, an_intake, minutes, new, past, soon

TENANT = Tenant("ten_a")
NOTHING = Intake()


class Group:
    """One practitioner's session of 30 minutes at `DAY`."""

    def __init__(self, stores: Repositories, capacity: int = 2) -> None:
        self.claims = stores.claims
        self.slots = stores.database["slots"]
        self.person, self.provider, self.capacity = new("prc"), new("prv"), capacity

    def command(self, at: float = 0, length: float = 30, **changes: object) -> PlaceBooking:
        own: dict[str, object] = {"provider_id": self.provider, "capacity": self.capacity}
        return a_command(at, length, practitioner_id=self.person, **{**own, **changes})

    async def joins(self, command: PlaceBooking, expires_in: float = 60, intake: Intake = NOTHING) -> bool:
        return await self.claims.tentative(TENANT, command, intake, soon(expires_in))

    async def document(self) -> Document | None:
        return await self.slots.find_one({"practitioner_id": self.person})

    async def busy(self) -> list[Busy]:
        return await self.claims.busy(Public(), self.person, DAY, DAY + minutes(30))


async def test_as_many_join_as_there_are_seats(stores: Repositories) -> None:
    group = Group(stores)
    one, two, three = (group.command() for _ in range(3))
    assert [await group.joins(command) for command in (one, two, three)] == [True, True, False]
    assert await group.joins(one), "its owner asks again"
    start, end = one.claim_start, one.claim_end
    assert await group.busy() == [Busy(start, end, "svc_consultation", 2, 2)]
    await group.claims.release(TENANT, one.claim)
    assert await group.joins(three)


async def test_a_session_clashes_with_every_other_claim(stores: Repositories) -> None:
    group = Group(stores)
    assert await group.joins(group.command())
    alone = a_command(practitioner_id=group.person, at=25)
    assert not await group.claims.tentative(TENANT, alone, NOTHING, soon())
    assert await group.claims.hold(TENANT, a_step(alone)) == (False, None)
    other_session = group.command(provider_id=new("prv"), at=15)
    assert not await group.joins(other_session)
    assert await group.claims.hold(TENANT, a_step(other_session)) == (False, None)


async def test_seats_that_ran_out_are_given_to_others(stores: Repositories) -> None:
    group = Group(stores)
    late, early = group.command(), group.command()
    assert await group.joins(late, -5)
    assert await group.joins(early)
    assert await group.joins(group.command())
    assert not await group.joins(late)
    assert await group.claims.hold(TENANT, a_step(late)) == (False, None)
    assert not await group.claims.book(TENANT, late.claim)


async def test_a_session_in_which_every_seat_ran_out_makes_room_for_anything(stores: Repositories) -> None:
    group = Group(stores)
    for _ in range(2):
        assert await group.joins(group.command(), -5)
    assert await group.busy() == []
    alone = a_command(practitioner_id=group.person, at=15)
    assert await group.claims.tentative(TENANT, alone, NOTHING, soon())


async def test_a_session_with_one_booked_seat_makes_no_room(stores: Repositories) -> None:
    group = Group(stores)
    booked = group.command()
    assert await group.joins(booked, -5)
    assert await group.claims.book(TENANT, booked.claim)
    alone = a_command(practitioner_id=group.person, at=15)
    assert not await group.claims.tentative(TENANT, alone, NOTHING, soon())


async def test_the_smaller_of_two_capacities_binds(stores: Repositories) -> None:
    group = Group(stores, capacity=3)
    assert await group.joins(group.command())
    assert await group.joins(group.command(capacity=2))
    assert not await group.joins(group.command(capacity=2))
    assert await group.joins(group.command(capacity=9))
    assert not await group.joins(group.command(capacity=9))


async def test_a_session_of_another_length_is_another_session(stores: Repositories) -> None:
    group = Group(stores)
    first = group.command()
    assert await group.joins(first)
    longer = group.command(length=45)
    assert not await group.joins(longer)
    await group.claims.release(TENANT, first.claim)
    assert await group.joins(longer)
    assert await group.claims.busy(Public(), group.person, DAY, DAY + minutes(5)) == [
        Busy(DAY, DAY + minutes(45), "svc_consultation", 2, 1)
    ]


async def test_an_abandoned_session_of_another_length_is_opened_anew(stores: Repositories) -> None:
    group = Group(stores)
    assert await group.joins(group.command(), -5)
    longer = group.command(length=45)
    assert await group.joins(longer)
    document = await group.document()
    assert document is not None
    assert (document["end"], len(list(document["cells"]))) == (longer.claim_end, 9)  # type: ignore[call-overload]  # an array


async def test_hold_keeps_the_seat_with_the_words_of_its_body(stores: Repositories) -> None:
    group = Group(stores)
    command = group.command(has_intake=True)
    assert await group.joins(command, 1, an_intake("in a group"))
    first = await group.claims.hold(TENANT, a_step(command, soon(600)))
    assert first == await group.claims.hold(TENANT, a_step(command, soon(600)))
    assert first[1] is not None
    assert await stores.vault.open([first[1]]) == [{"patient": None, "reason": "in a group"}]
    other_body = command.model_copy(update={"body_hash": "other"})
    assert await group.claims.hold(TENANT, a_step(other_body)) == (True, None)
    assert await group.claims.hold(TENANT, a_step(command)) == (True, None)


async def test_hold_makes_a_lost_seat_where_there_is_room(stores: Repositories) -> None:
    group = Group(stores)
    one, two, three = (group.command() for _ in range(3))
    for command in (one, two):
        assert await group.claims.hold(TENANT, a_step(command)) == (True, None)
    assert await group.claims.hold(TENANT, a_step(three)) == (False, None)


async def test_a_booked_seat_stays_booked(stores: Repositories) -> None:
    group = Group(stores)
    free = group.command(service=a_service(0, PaymentMode.FREE))
    assert await group.joins(free)
    assert (await group.claims.hold(TENANT, a_step(free)))[0]
    paid = group.command()
    assert (await group.claims.hold(TENANT, a_step(paid)))[0]
    assert await group.claims.book(TENANT, paid.claim)
    assert await group.claims.book(TENANT, paid.claim)
    before = await group.document()
    assert (await group.claims.hold(TENANT, a_step(paid, past())))[0], "a straggler changes nothing"
    assert await group.document() == before
    assert not await group.joins(group.command())


async def test_the_last_one_to_leave_takes_the_session_along(stores: Repositories) -> None:
    group = Group(stores)
    one, two = group.command(), group.command()
    assert await group.joins(one)
    assert await group.joins(two)
    await group.claims.release(TENANT, one.claim)
    await group.claims.release(TENANT, one.claim)
    assert await group.busy() == [Busy(one.claim_start, one.claim_end, "svc_consultation", 2, 1)]
    await group.claims.release(TENANT, two.claim)
    assert await group.document() is None


async def test_only_a_tentative_seat_is_dropped(stores: Repositories) -> None:
    group = Group(stores)
    command = group.command()
    scope = Subject(command.subject_id)
    assert await group.joins(command)
    assert (await group.claims.hold(TENANT, a_step(command)))[0]
    await group.claims.drop_tentative(scope, command.claim)
    assert await group.document() is not None
    other = group.command()
    assert await group.joins(other)
    await group.claims.drop_tentative(scope, other.claim)
    assert [one.seats_taken for one in await group.busy()] == [2], "another patient's"
    await group.claims.drop_tentative(Subject(other.subject_id), other.claim)
    assert [one.seats_taken for one in await group.busy()] == [1]


async def test_seats_count_among_a_patients_unpaid_holds(stores: Repositories) -> None:
    group = Group(stores, capacity=4)
    me = new("usr")
    mine = [group.command(subject_id=me) for _ in range(3)]
    for command, expires in zip(mine, (60, 60, -5), strict=True):
        assert await group.joins(command, expires)
    assert await stores.claims.unpaid_holds(Subject(me)) == 2
    assert await group.claims.book(TENANT, mine[0].claim)
    assert await stores.claims.unpaid_holds(Subject(me)) == 1
