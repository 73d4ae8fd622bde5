"""The reminders' workflow on real servers: timers that move, end, survive outages, and never tell twice."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus

from models.absence import OfferState
from models.booking import EventType, PlaceBooking
from models.ids import reminder_workflow_id
from models.policy import QuietHours, TenantPolicy
from tests.reminders.support import (
    DAY,
    REMINDERS,
    SOON,
    Desk,
    called_off,
    moved,
    now,
    occurrence,
    reminded,
    seconds_until,
)
from tests.stack import Json, eventually

HOUR = timedelta(hours=1)
LATER = 4 * SOON
"""Far enough ahead to be seen waiting, also on a busy machine."""

MOST_EVENTS = 40
"""Of a visit with two reminders; what is open for weeks is replayed from them."""


async def test_a_reminder_is_told_when_it_is_due_and_what_was_past_is_not(desk: Desk) -> None:
    async with desk.at_work():
        command = await reminded(desk)
    outcomes = await desk.outcomes(command)
    assert [one["fate"] for one in outcomes] == ["past_when_planned", "superseded", "told"]
    told = outcomes[-1]
    assert timedelta() <= told["at"] - told["reminder"]["due_at"] < timedelta(seconds=20)
    assert await desk.notices(command) == [told["id"]]
    history = [event async for event in desk.handle(command).fetch_history_events()]
    assert len(history) <= MOST_EVENTS


async def test_an_operator_sees_what_is_awaited_and_what_became_of_each(desk: Desk) -> None:
    start = now().replace(microsecond=0) + 2 * DAY
    async with desk.at_work():
        command = await desk.plan(start, 3600, 3 * 86_400)
        await desk.waits_until(command, start - HOUR)
        status = await desk.status(command)
        assert status.waiting_for is not None
        assert (status.state, status.waiting_for.event) == ("waiting", "reminder")
        assert status.done == (
            f"259200 s before {start:%Y-%m-%d %H:%M} UTC: past_when_planned",
            "at once: just_confirmed",
        )
        await desk.cancel(command)
        assert await desk.handle(command).result() == status.done
    described = await desk.handle(command).describe()
    attributes = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert attributes["TenantId"] == command.tenant_id
    assert attributes["SubjectRef"] == command.subject_id


async def test_a_moved_visit_takes_its_reminder_along(desk: Desk) -> None:
    async with desk.at_work():
        command = await moved(desk)
    [told] = await desk.outcomes(command)
    assert told["fate"] == "told"
    assert await desk.notices(command) == [told["id"]]


async def test_a_visit_that_is_moved_after_its_last_reminder_is_reminded_of_again(desk: Desk) -> None:
    async with desk.at_work():
        command = await reminded(desk)
        [*_, first] = await desk.outcomes(command)
        lead = first["reminder"]["lead_seconds"]
        later = now().replace(microsecond=0) + SOON + timedelta(seconds=lead)
        await desk.move(command, later)
        await desk.handle(command).result()
    assert (await desk.notices(command))[-1] == occurrence(later, lead)
    assert (await desk.fates(command)).count("told") == 2


async def test_a_cancelled_visit_ends_its_reminders(desk: Desk) -> None:
    async with desk.at_work():
        command = await called_off(desk)
    assert await desk.outcomes(command) == []


async def test_how_the_visit_stands_is_looked_at_when_a_reminder_is_due(desk: Desk) -> None:
    """Nobody has said anything to the workflow: it finds out by itself."""
    start = now().replace(microsecond=0) + DAY
    lead = seconds_until(start, now() + LATER)

    async def ends(state: str) -> list[Json]:
        command = await desk.plan(start, lead)
        await desk.waits_until(command, start - timedelta(seconds=lead))
        appointments = desk.stores.database["appointments"]
        await appointments.update_one({"_id": command.appointment_id}, {"$set": {"state": state}})
        await desk.handle(command).result()
        return await desk.outcomes(command)

    async with desk.at_work():
        states = ("cancelled", "checked_in", "no_show", "completed", "expired")
        assert await asyncio.gather(*(ends(state) for state in states)) == [[]] * len(states)


async def test_nobody_is_reminded_while_their_doctor_is_away_and_they_may_choose(desk: Desk) -> None:
    start = now().replace(microsecond=0) + DAY
    lead = seconds_until(start, now() + LATER)
    due = start - timedelta(seconds=lead)

    async def away(until: timedelta) -> PlaceBooking:
        command = await desk.plan(start, lead)
        await desk.waits_until(command, due)
        await desk.offers_other_times(command, due + until)
        return command

    async with desk.at_work():
        stays, moves = await asyncio.gather(away(LATER), away(HOUR))
        for command, until in ((stays, LATER), (moves, HOUR)):
            await desk.waits_until(command, due + until)
            assert await desk.fates(command) == []
        await desk.settles(stays, OfferState.KEPT)
        later = start + DAY
        await desk.move(moves, later)
        await desk.settles(moves, OfferState.REBOOKED)
        await desk.waits_until(moves, later - timedelta(seconds=lead))
        await desk.handle(stays).result()
        await desk.cancel(moves)
        await desk.handle(moves).result()
    assert await desk.fates(stays) == ["told"]
    assert await desk.notices(moves) == []


async def test_repeated_and_disordered_words_change_nothing(desk: Desk) -> None:
    start = now().replace(microsecond=0) + DAY
    lead = seconds_until(start, now() + 2 * SOON)
    kinds = [EventType.RESCHEDULED, EventType.CANCELLED, EventType.CONFIRMED, EventType.NO_SHOW]
    async with desk.at_work():
        command = await desk.plan(start, lead)
        for kind in kinds * 3:
            await desk.follow(command, kind)
        await desk.handle(command).result()
        # After the end they only start what looks and ends.
        for kind in kinds:
            await desk.follow(command, kind)
        await eventually(lambda: desk.handle(command).describe(), lambda seen: seen.status != _RUNNING)
    assert await desk.fates(command) == ["told"]


_RUNNING = WorkflowExecutionStatus.RUNNING


async def test_a_word_about_what_was_cancelled_before_starts_what_ends_at_once(desk: Desk) -> None:
    async with desk.at_work():
        command = await desk.plan(now() + DAY, 60, follow=False)
        await desk.cancel(command)
        found = [one async for one in desk.client.list_workflows(_query(command.appointment_id))]
        assert found == []
        await desk.follow(command, EventType.CONFIRMED)
        assert await desk.handle(command).result() == ()


async def test_an_appointment_that_is_gone_has_no_reminders(desk: Desk) -> None:
    async with desk.at_work():
        command = await desk.plan(now() + DAY, 60, follow=False)
        await desk.stores.database["appointments"].delete_one({"_id": command.appointment_id})
        await desk.follow(command, EventType.CONFIRMED)
        assert await desk.handle(command).result() == ()


async def test_after_an_outage_only_what_is_useful_goes_out_and_the_rest_says_why(desk: Desk) -> None:
    start = now().replace(microsecond=0) + HOUR
    near = now().replace(microsecond=0) + timedelta(minutes=20)
    since = now() - 2 * DAY
    both, late = await desk.plan(start, 86_400, 7200, since=since), await desk.plan(near, 86_400, 7200, since=since)
    one = await desk.plan(start + DAY - 2 * HOUR, 86_400, 7200, since=since)
    async with desk.at_work():
        await desk.handle(both).result()
        await desk.handle(late).result()
        await desk.waits_until(one, start + DAY - 4 * HOUR)
        await desk.cancel(one)
        await desk.handle(one).result()
    assert await desk.fates(both) == ["superseded", "told"]
    assert await desk.fates(late) == ["too_late", "too_late"]
    assert await desk.fates(one) == ["told"]
    assert await desk.notices(both) == [occurrence(start, 7200)]


async def test_a_worker_that_was_away_when_it_was_due_catches_up(desk: Desk) -> None:
    start = now().replace(microsecond=0) + DAY
    lead = seconds_until(start, now() + LATER)
    async with desk.at_work():
        command = await desk.plan(start, lead)
        await desk.waits_until(command, start - timedelta(seconds=lead))
    await asyncio.sleep(max(0.0, (start - timedelta(seconds=lead) - now()).total_seconds()) + 1)
    assert await desk.outcomes(command) == []
    async with desk.at_work():
        await desk.handle(command).result()
    assert await desk.fates(command) == ["told"]


async def test_quiet_hours_are_those_of_the_reader(desk: Desk) -> None:
    """Nothing is told while it is quiet where the reader lives; the clinic's own clock does not matter."""
    start = now().replace(microsecond=0) + DAY
    here = now() + timedelta(seconds=1)
    quiet = QuietHours(start=(here - HOUR).time().replace(second=0, microsecond=0), end=(here + HOUR).time())
    policy = TenantPolicy(reminder_lead_seconds=(86_400 - 60,), quiet_hours=quiet)
    async with desk.at_work():
        # By the clinic's clock in India it is not quiet; by the reader's, in UTC, it is.
        command = await desk.plan(start, 60, follow=False)
        appointments, users = desk.stores.database["appointments"], desk.stores.database["users"]
        change = {"policy": policy.model_dump(mode="json")}
        await appointments.update_one({"_id": command.appointment_id}, {"$set": change})
        reader = {"locale": "en", "timezone": "UTC"}
        await users.insert_one({"_id": command.subject_id, "subject_id": command.subject_id, **reader})
        await desk.follow(command, EventType.CONFIRMED)
        # Nobody has told them anything, but now it is quiet: they are told when it no longer is.
        await eventually(lambda: desk.fates(command), bool)
        waiting = (await desk.status(command)).waiting_for
        assert waiting is not None
        assert waiting.until.time() == quiet.end.replace(second=0, microsecond=0)
    assert await desk.fates(command) == ["past_when_planned"]


@pytest.mark.parametrize("seed", [0, *(pytest.param(one, marks=pytest.mark.fault_matrix) for one in range(1, 10))])
async def test_a_visit_that_is_moved_while_its_reminder_fires_is_told_of_as_it_is(desk: Desk, seed: int) -> None:
    """Whichever comes first: of each time at most once, of the new one surely, and nothing else."""
    chance = random.Random(seed)  # noqa: S311  a test's choice
    start = now().replace(microsecond=0) + DAY
    lead = seconds_until(start, now() + SOON)
    due = start - timedelta(seconds=lead)

    async def race() -> None:
        command = await desk.plan(start, lead)
        await asyncio.sleep(max(0.0, (due - now()).total_seconds() + chance.uniform(-0.05, 0.15)))
        later = now().replace(microsecond=0) + SOON + timedelta(seconds=lead)
        await desk.move(command, later)
        await eventually(lambda: desk.notices(command), lambda seen: occurrence(later, lead) in seen, 30)
        await desk.handle(command).result()
        told = await desk.notices(command)
        assert told in ([occurrence(later, lead)], [occurrence(start, lead), occurrence(later, lead)])

    async with desk.at_work():
        await asyncio.gather(*(race() for _ in range(8)))


def _query(appointment_id: str) -> str:
    return f"WorkflowId = '{reminder_workflow_id(appointment_id)}'"


def test_each_way_has_a_name() -> None:
    assert set(REMINDERS) == {"reminded", "reminder_moved", "reminder_called_off"}
