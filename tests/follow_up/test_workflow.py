"""What follows a visit, on the real database and the real workflow service; only the telling itself is stood in for."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import WorkflowExecutionStatus

from models.booking import AppointmentState, EventType
from models.identity import Clinics
from models.ids import random_id
from models.staff_tasks import TaskState
from tests.follow_up.support import DAY, SLOW, Aftercare, followed, quick, rated_low, unwanted
from tests.reminders.support import now
from tests.stack import Json, eventually

HOUR: Final = timedelta(hours=1)
MOST_EVENTS: Final = 80
"""What the whole course of one visit costs at the workflow service."""


async def test_the_whole_course(care: Aftercare) -> None:
    async with care.at_work():
        command = await followed(care)
    assert await care.told(command) == ["feedback", "summary", "feedback_again", "revisit.v1"]
    history = [event async for event in care.handle(command).fetch_history_events()]
    assert len(history) <= MOST_EVENTS
    assert await care.tasks(command) == []


async def test_an_operator_sees_what_is_awaited_and_what_was_done(care: Aftercare) -> None:
    async with care.at_work():
        command = await care.visit(SLOW)
        until = await care.waits_for(command, "the question how it was")
        assert abs(until - now() - 2 * HOUR) < timedelta(minutes=1)
        await care.rates(command, 5)
        assert await care.waits_for(command, "the summary") - now() <= DAY
        await care.writes(command)
        await care.says(command)
        assert await care.handle(command).result() == ("feedback: reviewed", "summary: told")
    described = await care.handle(command).describe()
    attributes = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert (attributes["TenantId"], attributes["SubjectRef"]) == (command.tenant_id, command.subject_id)


async def test_who_objects_in_the_middle_is_left_in_peace_but_gets_the_summary(care: Aftercare) -> None:
    async with care.at_work():
        command = await unwanted(care)
        assert await care.fates(command) == {
            "summary": "told", "feedback": "told", "feedback_again": "no_consent", "revisit.v1": "no_consent",
        }  # fmt: skip
        late = await care.visit(quick())
        await care.waits_for(late, "the answer how it was")
        await care.withdraws(late)
        await care.waits_for(late, "the summary")
        await care.writes(late, now().date() + 30 * DAY)
        await care.says(late)
        assert (await care.ends(late))["summary"] == "told"
    assert await care.told(late) == ["feedback", "summary"]


async def test_a_low_rating_before_anybody_asked_is_one_task_and_no_question(care: Aftercare) -> None:
    async with care.at_work():
        command = await rated_low(care)
        # The same again, and a different one, and the relay once more: after the end and beside each other.
        await asyncio.gather(*(care.rates(command, stars) for stars in (1, 2, 1)), care.completed(command))
        await eventually(lambda: care.handle(command).describe(), lambda seen: seen.status != _RUNNING)
    assert await care.fates(command) == {"summary": "told", "feedback": "reviewed", "low_rating": "raised"}
    [task] = await care.tasks(command)
    assert (task["kind"], task["state"], task["subject_id"]) == ("low_rating", "open", command.subject_id)
    scope = Clinics(command.tenant_id, frozenset({command.clinic_id}))
    for who in ("usr_first", "usr_second"):
        done = await care.stores.staff_tasks.finish(scope, command.clinic_id, task["_id"], who, now())
        assert (done.state, done.done_by) == (TaskState.DONE, "usr_first")


async def test_a_low_rating_after_the_end_is_a_task_all_the_same(care: Aftercare) -> None:
    async with care.at_work():
        command = await care.visit(quick(), follow=False)
        await care.writes(command)
        await care.completed(command)
        assert await care.ends(command) == {"summary": "told", "feedback": "told", "feedback_again": "told"}
        first = (await care.handle(command).describe()).run_id
        await care.rates(command, 2)
        assert (await care.ends(command))["low_rating"] == "raised"
        assert (await care.handle(command).describe()).run_id != first
        # A better opinion later leaves the task where it is, and a task that was raised is raised no more.
        await care.rates(command, 5)
        await care.ends(command)
    assert len(await care.tasks(command)) == 1
    assert await care.told(command) == ["summary", "feedback", "feedback_again"]


async def test_a_content_patient_is_nobodys_task(care: Aftercare) -> None:
    async with care.at_work():
        command = await care.visit(SLOW, follow=False)
        await care.writes(command)
        await care.rates(command, 3)
        assert await care.ends(command) == {"summary": "told", "feedback": "reviewed"}
    assert await care.tasks(command) == []


@pytest.mark.parametrize(("state", "fate"), [(None, "booked"), (AppointmentState.CANCELLED, "told")])
async def test_a_new_visit_ends_the_way_back_unless_it_is_cancelled(
    care: Aftercare, state: AppointmentState | None, fate: str
) -> None:
    """Nobody tells the follow-up of the booking: it looks when the reminder is due."""
    async with care.at_work():
        command = await care.visit(quick(revisit_after_seconds=3), follow=False)
        await care.writes(command, now().date() + 30 * DAY)
        await care.rates(command, 5)
        await care.waits_for(command, "the follow-up date")
        await care.books_again(command, state)
        assert (await care.ends(command))["revisit.v1"] == fate


@pytest.mark.parametrize(("whom", "fate"), [("dep_sister", "booked"), ("dep_brother", "told"), (None, "told")])
async def test_the_visit_of_another_of_the_family_is_not_the_way_back(
    care: Aftercare, whom: str | None, fate: str
) -> None:
    async with care.at_work():
        command = await care.visit(quick(revisit_after_seconds=3), dependant_id="dep_sister", follow=False)
        await care.writes(command, now().date() + 30 * DAY)
        await care.rates(command, 5)
        await care.waits_for(command, "the follow-up date")
        await care.books_again(command, dependant_id=whom)
        assert (await care.ends(command))["revisit.v1"] == fate


async def test_a_no_about_a_child_ends_what_follows_its_visits_and_nobody_elses(care: Aftercare) -> None:
    child, brother = random_id("dep"), random_id("dep")
    async with care.at_work():
        hers = await care.visit(quick(), dependant_id=child, follow=False)
        his = await care.visit(quick(), of=hers, at=now() - HOUR, dependant_id=brother, follow=False)
        await care.withdraws(hers, about=child)
        for command in (hers, his):
            await care.writes(command, now().date() + 30 * DAY)
            await care.completed(command)
        assert await care.ends(hers) == {"summary": "told", "feedback": "no_consent", "revisit.v1": "no_consent"}
        assert (await care.ends(his))["feedback"] == "told", "what was never asked about him is assumed"
        # Whoever the messages go to does not want them about anybody.
        after = await care.visit(quick(), of=hers, dependant_id=brother, follow=False)
        await care.withdraws(after)
        await care.writes(after)
        await care.completed(after)
        assert (await care.ends(after))["feedback"] == "no_consent"


async def test_the_way_back_is_due_on_the_morning_before_where_the_patient_lives(care: Aftercare) -> None:
    zone = ZoneInfo("America/New_York")
    day = now().astimezone(zone).date() + 20 * DAY
    async with care.at_work():
        command = await care.visit(SLOW, follow=False)
        person: Json = {
            "_id": command.subject_id,
            "subject_id": command.subject_id,
            "timezone": zone.key,
            "locale": "en",
        }
        await care.stores.database["users"].insert_one(person)
        await care.writes(command, day)
        await care.rates(command, 5)
        due = await care.waits_for(command, "the follow-up date")
        assert due == datetime.combine(day - DAY, datetime.min.time(), zone).replace(hour=9)
        # An amended summary with another date moves it.
        await care.writes(command, day - 7 * DAY, version=2)
        await care.says(command)

        async def due_now() -> datetime:
            return await care.waits_for(command, "the follow-up date")

        await eventually(due_now, lambda seen: seen == due - 7 * DAY)
        await care.withdraws(command)
        await care.says(command)
        assert (await care.ends(command))["revisit.v2"] == "no_consent"


async def test_what_was_missed_while_nobody_worked_is_told_if_it_is_still_useful(care: Aftercare) -> None:
    long_ago = await care.visit(quick(), at=now() - 20 * DAY)
    lately = await care.visit(quick(), at=now() - 2 * DAY)
    for command in (long_ago, lately):
        await care.writes(command, now().date() - DAY, at=now() - DAY - HOUR)
    async with care.at_work():
        assert await care.ends(long_ago) == {"summary": "told", "feedback": "too_late", "revisit.v1": "too_late"}
        assert (await care.ends(lately))["feedback"] == "told"


async def test_a_visit_that_is_not_completed_has_no_follow_up(care: Aftercare) -> None:
    command = await care.visit(quick(), follow=False)
    appointments = care.stores.database["appointments"]
    await appointments.update_one({"_id": command.appointment_id}, {"$set": {"state": "in_consultation"}})
    async with care.at_work():
        await care.says(command)
        assert await care.ends(command) == {}
        await appointments.delete_one({"_id": command.appointment_id})
        await care.says(command)
        assert await care.handle(command).result() == ()


async def test_only_a_completed_visit_begins_one(care: Aftercare) -> None:
    command = await care.visit(SLOW, follow=False)
    for kind in set(EventType) - {EventType.COMPLETED}:
        await care.follows(command, kind)
    found = [one async for one in care.client.list_workflows(f"WorkflowId = '{care.handle(command).id}'")]
    assert found == []


async def test_a_flood_of_words_tells_nothing_twice(care: Aftercare) -> None:
    async with care.at_work():
        command = await care.visit(quick(), follow=False)
        await care.writes(command, now().date() + 30 * DAY)
        for _ in range(4):
            await asyncio.gather(*(care.completed(command) for _ in range(5)))
            await asyncio.sleep(0.5)
        await care.ends(command)
    appointments = care.stores.database["appointments"]
    found = await appointments.find_one({"_id": command.appointment_id}) or {}
    noted: Any = found["follow_up"]
    # The reminder of the feedback and the one of the revisit are due at nearly the same time: either may be the first.
    assert sorted(one["key"] for one in noted) == ["feedback", "feedback_again", "revisit.v1", "summary"]
    assert all(before["at"] <= after["at"] for before, after in pairwise(noted))


_RUNNING = WorkflowExecutionStatus.RUNNING
