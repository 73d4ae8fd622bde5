"""The act of a visit: told, moved, reminded of, kept, followed up and rated, as the patient's phone sees it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, NamedTuple

from cli.accounts import ACCOUNTS
from cli.demo.stage import PATIENCE, POLL_SECONDS, Ending, Person, Say, Stage, StoryError, Time, Visitor, insist, seen
from cli.demo.views import AppointmentSeen, ProviderSeen, ReviewsSeen, SettingsSeen, WorkflowSeen
from models.booking import AppointmentState
from models.ids import reminder_workflow_id
from workflows.placement import OFFERING_SECONDS

PHONE: Final = "+919800077001"
NAME: Final = "Sunita Verma"
DOCTOR: Final = "Ananya Rao"
SERVICE: Final = "Consultation"
BEFORE: Final = timedelta(seconds=12)
"""How far off the reminder of the earlier time is when the lead is set: the story's booking takes less."""

SUMMARY: Final = {
    "notes": "Blood pressure 128/82, chest clear. Rest, fluids, and come back if the fever stays.",
    "diagnosis": "Acute viral fever",
    "prescription": [
        {"medicine": "Paracetamol 500 mg tablet", "dose": "1 tablet", "frequency": "1-1-1", "duration": "3 days"}
    ],
}
REVIEW: Final = {"rating": 5, "nps": 10, "comment": "Took her time and explained everything."}


async def a_visit(stage: Stage, say: Say) -> Ending:
    """Book, be told, move the visit and its reminder with it, come, be treated, be asked, rate."""
    sunita = await stage.newcomer(PHONE, NAME)
    times = await _two_times(stage)
    await _remind_before(stage, times.sooner)
    booked = await _booked(stage, sunita, times.later)
    await _told(stage, "confirmed", booked.reference)
    due = await _reminder_due(stage, booked.id)
    say(f"Sunita's phone says that {times.later} is confirmed; she takes an earlier time")
    moved = await sunita.reschedule(booked.id, times.sooner)
    insist(moved.id == booked.id and moved.start == times.sooner.start, "the visit has not moved")
    insist(await _reminder_due(stage, booked.id, before=due) < due, "the reminder has not moved with the visit")
    await _told(stage, "reminder", booked.reference)
    say("the reminder has come, at the time of the moved visit; Sunita goes there")
    await _is_seen(stage, moved)
    await _told(stage, "the summary of your visit", booked.reference)
    say("seen and treated, the summary is on her phone; now she is asked how it was")
    await _told(stage, "how was your visit", "/v1/links/")
    await _rated(stage, sunita, moved)
    completed = await sunita.until(moved.id, lambda one: one.state is AppointmentState.COMPLETED, "it is completed")
    return Ending(completed, f"moved, reminded, seen and rated: {completed.reference}")


class _Times(NamedTuple):
    """Two free times of the same doctor, one after the other."""

    sooner: Time
    later: Time


async def _two_times(stage: Stage) -> _Times:
    sooner = await stage.free_time(DOCTOR, SERVICE, timedelta(days=1), timedelta(days=10))
    apart = sooner.start - datetime.now(UTC) + timedelta(minutes=10)
    return _Times(sooner, await stage.free_time(DOCTOR, SERVICE, apart, timedelta(days=12)))


async def _remind_before(stage: Stage, when: Time) -> None:
    """Have the practice remind its patients at such a lead that nobody in this story waits long for it."""
    admin = stage.person(ACCOUNTS["tenant_admin"])
    settings = seen(await admin.get("/tenant/settings"), SettingsSeen)
    lead = int((when.start - datetime.now(UTC) - BEFORE).total_seconds())
    changed = {**settings.model_dump(mode="json"), "reminder_lead_seconds": [lead]}
    answer = await admin.put("/tenant/settings", changed)
    insist(answer.status_code == HTTPStatus.OK, f"the settings were not changed: {answer.text[:200]}")
    await asyncio.sleep(OFFERING_SECONDS)  # as long as a booking may go by the policy of before


async def _booked(stage: Stage, sunita: Visitor, when: Time) -> AppointmentSeen:
    held = await sunita.book(when)
    if held.payment is None or held.payment.order_id is None:
        raise StoryError("there is no order to pay")
    await sunita.report_payment(held.id, await stage.somebody_pays(held.payment.order_id, "authorized"))
    return await sunita.until(held.id, lambda one: one.state is AppointmentState.CONFIRMED, "it is confirmed")


async def _told(stage: Stage, words: str, more: str) -> None:
    """Wait until the phone has a message with these words, in whichever case, and with what else it needs."""
    give_up = time.monotonic() + PATIENCE
    while not any(words in one.lower() and more in one for one in await stage.letters_to(PHONE)):
        if time.monotonic() > give_up:
            raise StoryError(f"no message with {words!r} has come")
        await asyncio.sleep(POLL_SECONDS)


async def _reminder_due(stage: Stage, appointment_id: str, before: datetime | None = None) -> datetime:
    """When the next reminder is due, as its workflow says; one that is due before that instant, where one is given."""
    admin = stage.person(ACCOUNTS["admin"])
    give_up = time.monotonic() + PATIENCE
    while True:
        answer = await admin.get(f"/operations/workflows/{reminder_workflow_id(appointment_id)}")
        if answer.status_code == HTTPStatus.OK:
            waiting = seen(answer, WorkflowSeen).waiting_for
            if waiting is not None and (before is None or waiting.until < before):
                return waiting.until
        if time.monotonic() > give_up:
            raise StoryError("no reminder is due")
        await asyncio.sleep(POLL_SECONDS)


async def _is_seen(stage: Stage, visit: AppointmentSeen) -> None:
    """The front desk checks in, the doctor begins, writes and ends."""
    desk, doctor = stage.person(ACCOUNTS["staff"]), stage.person(ACCOUNTS["doctor"])
    path = f"/appointments/{visit.id}"
    steps: tuple[tuple[Person, str], ...] = ((desk, "check-in"), (doctor, "start"))
    for who, step in steps:
        seen(await who.post(f"{path}/{step}", {}), AppointmentSeen)
    written = await doctor.put(f"{path}/summary", SUMMARY)
    insist(written.is_success, f"the summary was not kept: {written.text[:200]}")
    seen(await doctor.post(f"{path}/complete", {}), AppointmentSeen)


async def _rated(stage: Stage, sunita: Visitor, visit: AppointmentSeen) -> None:
    """Rate it, and see the words on the doctor's profile and the stars in the search."""
    given = await sunita.review(visit.id, REVIEW)
    insist(given.is_success, f"the review was not taken: {given.text[:200]}")
    page = seen(await stage.api.get(f"/providers/{visit.provider.id}/reviews"), ReviewsSeen)
    insist(any(one.comment == REVIEW["comment"] for one in page.items), "the review is not published")
    give_up = time.monotonic() + PATIENCE
    while not seen(await stage.api.get(f"/providers/{visit.provider.id}"), ProviderSeen).rating:
        insist(time.monotonic() < give_up, "the doctor's stars are not shown")
        await asyncio.sleep(POLL_SECONDS)
