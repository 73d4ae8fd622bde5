"""A visit that moves while things break: claim and appointment end together, wherever the step was cut off."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError

from activities.booking import BookingActivities, MoveBooking
from adapters.mongo.booking import MongoAppointments
from adapters.mongo.repositories import Repositories
from models.booking import Advance, Advanced, Appointment, AppointmentState, EventType, Intake, PlaceBooking, VisitTime
from models.errors import UnavailableError
from models.identity import Scope
from models.providers import PaymentMode
from tests.adapters.mongo.builders import a_command, a_service, a_step, an_advance, minutes, new
from tests.adapters.mongo.calls import WORLD
from workflows.booking_steps import move_step

SEATS = 2
MOVES = [(None, None), (SEATS, SEATS), (None, SEATS), (SEATS, None)]
"""From a time of one's own, or a seat, to another one."""


class Interrupted(MongoAppointments):
    """Appointments that cannot be reached for a moment, before or after they have changed."""

    def __init__(self, stores: Repositories, *, after: bool) -> None:
        super().__init__(stores.database, stores.vault)
        self._after = after
        self._broken = True

    async def advance(self, scope: Scope, step: Advance) -> Advanced:
        if not self._broken:
            return await super().advance(scope, step)
        self._broken = False
        if self._after:
            await super().advance(scope, step)
        raise UnavailableError("away for a moment")


async def _booked(stores: Repositories, capacity: int | None, practitioner: str = "", at: int = 0) -> PlaceBooking:
    service = a_service(fee=0, payment=PaymentMode.FREE)
    command = a_command(
        at, 30, practitioner_id=practitioner or new("prc"), provider_id=new("prv"), capacity=capacity, service=service
    )
    held, _ = await stores.claims.hold(WORLD, a_step(command))
    assert held
    await stores.appointments.insert(WORLD, a_step(command), None)
    return command


def _move(command: PlaceBooking, later: int, capacity: int | None, number: int = 1) -> MoveBooking:
    start = command.start + minutes(later)
    end = start + timedelta(minutes=30)
    time = VisitTime(start=start, end=end, claim_start=start, claim_end=end, capacity=capacity)
    return move_step(command, time, command.actor, start, str(number))


async def _look(stores: Repositories, command: PlaceBooking) -> Appointment:
    found = await stores.appointments.find(WORLD, command.appointment_id)
    assert found is not None
    return found


async def _claims(stores: Repositories, command: PlaceBooking) -> list[object]:
    """When each claim or seat of it begins."""
    mine = {"$or": [{"_id": command.appointment_id}, {"seats.owner": command.appointment_id}]}
    return [one["start"] for one in await stores.database["slots"].find(mine).to_list(None)]


@pytest.mark.parametrize(("before", "then"), MOVES)
@pytest.mark.parametrize("after", [False, True])
async def test_a_move_that_is_cut_off_is_gone_on_with(
    stores: Repositories, before: int | None, then: int | None, *, after: bool
) -> None:
    command = await _booked(stores, before)
    step = _move(command, 600, then)
    cut_off = BookingActivities(stores.claims, Interrupted(stores, after=after))
    with pytest.raises(ApplicationError):
        await cut_off.move(step)
    for _ in range(2):
        assert (await cut_off.move(step)).applied
        seen = await _look(stores, command)
        assert (seen.start, seen.end, seen.capacity) == (step.command.start, step.command.end, then)
        assert (seen.closes_at, seen.waiting_for) == (step.command.closes_at, step.advance.waiting_for)
        assert [one.start for one in seen.history] == [None, step.command.start]
        assert await _claims(stores, command) == [step.command.start]
        assert seen.claim == step.command.claim


@pytest.mark.parametrize(("before", "then"), MOVES)
async def test_what_is_taken_leaves_everything_as_it_is(
    stores: Repositories, before: int | None, then: int | None
) -> None:
    command = await _booked(stores, before)
    await _booked(stores, None, command.practitioner_id, 600)
    moved = await BookingActivities(stores.claims, stores.appointments).move(_move(command, 600, then))
    assert (moved.applied, moved.state) == (False, AppointmentState.CONFIRMED)
    assert (await _look(stores, command)).start == command.start
    assert await _claims(stores, command) == [command.start]


async def test_a_hold_that_has_run_out_makes_room(stores: Repositories) -> None:
    command = await _booked(stores, None)
    lapsed = a_command(600, 30, practitioner_id=command.practitioner_id)
    assert await stores.claims.tentative(WORLD, lapsed, Intake(), command.start - timedelta(days=9999))
    assert (await BookingActivities(stores.claims, stores.appointments).move(_move(command, 600, None))).applied
    assert await _claims(stores, command) == [command.start + minutes(600)]


async def test_what_is_not_confirmed_any_more_does_not_move(stores: Repositories) -> None:
    command = await _booked(stores, None)
    await stores.appointments.advance(WORLD, an_advance(command, EventType.CHECKED_IN, AppointmentState.CHECKED_IN))
    moved = await BookingActivities(stores.claims, stores.appointments).move(_move(command, 600, None))
    assert (moved.applied, moved.state) == (False, AppointmentState.CHECKED_IN)
    assert await _claims(stores, command) == [command.start]


async def test_a_try_that_comes_much_too_late_finds_the_claim_elsewhere(stores: Repositories) -> None:
    command = await _booked(stores, None)
    first = _move(command, 600, None)
    second = _move(first.command, 600, None, 2)
    activities = BookingActivities(stores.claims, stores.appointments)
    assert (await activities.move(first)).applied
    assert (await activities.move(second)).applied
    assert not await stores.claims.move(WORLD, first.claim, first.command)
    assert await _claims(stores, command) == [second.command.start]
