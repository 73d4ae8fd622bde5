"""A reminder on its whole way to the phone, on real processes: also where the worker dies at any of its steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from adapters.connections import connect_temporal
from models.booking import EventType, PlaceBooking
from models.identity import Account
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.builders import a_command
from tests.booking.support import ok
from tests.clinics import catalogue, offer
from tests.faults import dying, held_up
from tests.messaging.readers import a_reader, books, notice, repositories
from tests.reminders.support import Desk, now, seconds_until
from tests.stack import LONG, Json, Stack, eventually, running

pytestmark = pytest.mark.timeout(240)

CLINIC: Final = offer("steady", "free")
LATER: Final = timedelta(seconds=8)
STEPS: Final = ("reminders.look", "notices.plan", "notices.prepare", "messaging.deliver", "notices.close")
IN_CI: Final = "after:reminders.look"


def _points() -> list[ParameterSet]:
    points = [f"{moment}:{step}" for step in STEPS for moment in ("before", "after")]
    return [pytest.param(one, marks=() if one == IN_CI else (pytest.mark.fault_matrix,)) for one in points]


class Waiting:
    """A visit whose reminder is about to be due, and whoever is to get it."""

    def __init__(self, stack: Stack, desk: Desk, reader: Account, command: PlaceBooking) -> None:
        self.stack = stack
        self.desk = desk
        self.reader = reader
        self.command = command

    async def reminded(self) -> Json:
        """The one reminder that reaches the phone, once nothing of it is under way any more."""

        async def look() -> list[Json]:
            kinds = list(self.stack.db.notices.find({"appointment_id": self.command.appointment_id}))
            told = [one for one in kinds if one["template"] == "appointment_reminder"]
            assert len(told) <= 1
            return [one for one in told if one["state"] in {"sent", "delivered"}]

        await eventually(look, bool, 90)
        await self.desk.handle(self.command).result()
        texts = [one for one in await self.stack.messages(self.reader.phone or "-") if "Reminder" in one["text"]]
        assert len(texts) == 1
        assert (await self.desk.fates(self.command))[-1:] == ["told"]
        assert (await self.desk.fates(self.command)).count("told") == 1
        return texts[0]


@asynccontextmanager
async def waiting(stack: Stack) -> AsyncIterator[Waiting]:
    """Somebody has booked, and is to be reminded within seconds."""
    async with repositories(stack) as stores:
        desk = Desk(stores, await connect_temporal(stack.settings))
        reader = await a_reader(stores)
        booked = await books(stack, reader, CLINIC)
        await notice(stack, booked["id"], "appointment_confirmed")
        found = stack.db.appointments.find_one({"_id": booked["id"]})
        assert found is not None
        lead = seconds_until(found["start"], now() + LATER)
        stack.db.appointments.update_one({"_id": booked["id"]}, {"$set": {"policy.reminder_lead_seconds": [lead]}})
        owner = {"tenant_id": found["tenant_id"], "clinic_id": found["clinic_id"], "subject_id": reader.id}
        yield Waiting(stack, desk, reader, a_command(appointment_id=booked["id"], start=found["start"], **owner))


@pytest.fixture(scope="module")
def mortal(servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose worker may be killed, with the tests' own clinics."""
    folder = tmp_path_factory.mktemp("mortal")
    with running(servers, f"{module_database_name}_mortal", folder, LONG, catalogue=catalogue(LONG)) as started:
        yield started


async def test_a_reminder_reaches_the_phone_with_a_link_that_works(shared_stack: Stack) -> None:
    async with waiting(shared_stack) as visit:
        await visit.desk.follow(visit.command, EventType.CONFIRMED)
        text = (await visit.reminded())["text"]
        link = next(word for word in text.split() if "/v1/links/" in word)
        assert link.startswith(shared_stack.api_url)
        async with shared_stack.anonymous() as anybody:
            assert ok(await anybody.post(f"{link}/confirm"))["attending"] is True


async def test_a_visit_that_is_moved_while_its_reminder_is_worded_is_not_told_of_at_the_old_time(
    mortal: Stack,
) -> None:
    async with waiting(mortal) as visit, mortal.client(visit.reader) as patient:
        appointment = visit.command.appointment_id
        starts = await mortal.free_starts(CLINIC.provider_id, CLINIC.service_id, days=(8, 9))

        async def move() -> None:
            ok(await patient.post(f"/v1/appointments/{appointment}/reschedule", json={"start": starts[0]}))

        async with held_up(mortal, "before:notices.prepare", move):
            await visit.desk.follow(visit.command, EventType.CONFIRMED)
            found = await notice(mortal, appointment, "appointment_reminder")
        assert (found["state"], found["reason"]) == ("skipped", "superseded")
        texts = [one["text"] for one in await mortal.messages(visit.reader.phone or "-")]
        assert not [text for text in texts if "Reminder" in text]


@pytest.mark.parametrize("point", _points())
async def test_a_worker_that_dies_costs_no_reminder_and_sends_none_twice(mortal: Stack, point: str) -> None:
    async with waiting(mortal) as visit:
        await visit.desk.follow(visit.command, EventType.CONFIRMED)
        async with dying(mortal, point):
            await visit.desk.follow(visit.command, EventType.RESCHEDULED)
            await visit.reminded()
