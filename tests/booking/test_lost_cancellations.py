"""A cancellation was written and its request lost, so that its workflow knows nothing of it: the money goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from activities.booking import BookingActivities, CloseBooking
from models.booking import Actor, ActorKind, Appointment, EventType
from models.booking import AppointmentState as State
from models.identity import Role, System
from models.ids import booking_workflow_id
from models.visits import Attend, Attended
from tests.availability.away import after, free_on, offers_of, take_leave, workflow_result
from tests.booking.support import (
    book_paid,
    cancel,
    money_of,
    nothing_changes,
    ok,
    problem,
    somebody,
    start_in,
    temporal,
    the_books_hold,
    until_refunded,
)
from tests.clinics import employee, offer
from tests.messaging.readers import repositories
from tests.stack import Json, Stack, eventually
from workflows.booking import BookingWorkflow
from workflows.booking_steps import advance_step
from workflows.policies import BOOKING_QUEUE, TASK_TIMEOUT
from workflows.reviving import command_of

VISIT: Final = offer("steady", "visit")
FEE: Final = 60_000
CLINIC: Final = Actor(kind=ActorKind.CLINIC, id="usr_made_up")


async def _written(stack: Stack, paid: Json, by: Actor) -> Appointment:
    """What the step of a lost cancellation leaves behind."""
    async with repositories(stack) as stores:
        found = await stores.appointments.find(System("a test"), paid["id"], open_sealed=False)
        assert found is not None
        step = advance_step(
            command_of(found), EventType.CANCELLED, State.CANCELLED, None, by, at=datetime.now(UTC)
        ).model_copy(update={"sources": frozenset({State.CONFIRMED})})
        activities = BookingActivities(stores.claims, stores.appointments)
        assert (await activities.close(CloseBooking(advance=step, claim=found.claim))).state is State.CANCELLED
    return found


async def _went_back(stack: Stack, paid: Json, amount: int, reason: str) -> None:
    async with stack.client(employee("steady", Role.STAFF)) as desk:
        seen = await until_refunded(desk, paid["id"], "processed")
        assert [one["reason"] for one in seen["refunds"]] == [reason]
        async with nothing_changes(stack):
            problem(await cancel(desk, paid["id"]), 409, "state_conflict")
    assert (await money_of(stack, paid["id"])).kept == FEE - amount
    await the_books_hold(stack)


async def test_the_clinic_s_gives_everything_back_whoever_asks_again(shared_stack: Stack) -> None:
    """So late the patient's own cancellation would give nothing back."""
    async with shared_stack.client(somebody()) as who:
        paid = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 1.2))
        await _written(shared_stack, paid, CLINIC)
        again = ok(await cancel(who, paid["id"]))
        assert again["refund"]["amount"]["amount"] == FEE
    await _went_back(shared_stack, paid, FEE, "cancelled_by_clinic")


async def test_the_patient_s_gives_back_what_their_policy_gives(shared_stack: Stack) -> None:
    async with shared_stack.client(employee("steady", Role.STAFF)) as desk, shared_stack.client(somebody()) as who:
        paid = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 5.0))
        await _written(shared_stack, paid, Actor(kind=ActorKind.PATIENT, id="usr_made_up"))
        ok(await cancel(desk, paid["id"]))
    await _went_back(shared_stack, paid, FEE // 2, "cancelled_by_patient")


@pytest.mark.parametrize("says", ["check_in", "mark_no_show"])
async def test_whatever_is_said_next_finds_it(shared_stack: Stack, says: str) -> None:
    """The desk sees the visit before it is cancelled, and speaks of it after."""
    async with shared_stack.client(somebody()) as who:
        paid = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 13.0))
    await _written(shared_stack, paid, CLINIC)
    handle = (await temporal(shared_stack)).get_workflow_handle(booking_workflow_id(paid["id"]))
    said = await handle.execute_update(says, Attend(actor=CLINIC), result_type=Attended)
    assert said.conflict
    await _went_back(shared_stack, paid, FEE, "cancelled_by_clinic")


async def test_a_leave_does_not_take_it_for_done(shared_stack: Stack) -> None:
    """The leave's own cancellation was lost after its deed; its next look has the money given back."""
    away = offer("brisk", "visit")
    start = (await free_on(shared_stack, away, 45))[0]
    async with shared_stack.client(somebody()) as who:
        paid = await book_paid(shared_stack, who, away, start)
        leave = (await take_leave(shared_stack, away, start, after(start, 15)))["id"]
        await eventually(lambda: offers_of(shared_stack, leave), lambda seen: seen.total() == 1, 60)
        await _written(shared_stack, paid, Actor(kind=ActorKind.CLINIC, id=leave))
        await workflow_result(shared_stack, leave)
        assert await offers_of(shared_stack, leave) == {"cancelled": 1}
        seen = await until_refunded(who, paid["id"], "processed")
    assert [one["reason"] for one in seen["refunds"]] == ["cancelled_by_clinic"]
    assert (await money_of(shared_stack, paid["id"])).kept == 0


async def test_its_own_turn_finds_it_where_nobody_asks(shared_stack: Stack) -> None:
    """The visit's time has passed, and whoever has not come is about to be taken not to come any more."""
    async with shared_stack.client(somebody()) as who:
        paid = await book_paid(shared_stack, who, VISIT, await start_in(shared_stack, VISIT, 13.0))
    client = await temporal(shared_stack)
    await client.get_workflow_handle(booking_workflow_id(paid["id"])).terminate("begins anew, later in its day")
    found = await _written(shared_stack, paid, CLINIC)
    begun = datetime.now(UTC) - timedelta(minutes=45)
    later = command_of(found).model_copy(update={"start": begun, "end": begun + timedelta(minutes=15)})
    ended = await client.execute_workflow(
        BookingWorkflow.run,
        later,
        id=booking_workflow_id(paid["id"]),
        task_queue=BOOKING_QUEUE,
        task_timeout=TASK_TIMEOUT,
    )
    assert ended is State.CANCELLED
    await _went_back(shared_stack, paid, FEE, "cancelled_by_clinic")
