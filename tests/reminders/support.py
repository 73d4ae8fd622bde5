"""Visits that only one test knows, and a worker in this process that reminds of them; what is told can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.reminders import ReminderActivities
from adapters.mongo.repositories import Repositories
from models.absence import OPEN, Offer, OfferState, offer_id
from models.booking import AppointmentState, EventType, PlaceBooking
from models.identity import System
from models.ids import notice_id, notice_workflow_id, random_id, reminder_workflow_id
from models.messaging import Template
from models.notices import Notice
from models.operations import WorkflowStatus
from models.policy import TenantPolicy
from models.providers import PaymentMode
from tests.adapters.mongo.builders import a_command, a_service, a_step, an_event
from tests.reminders.telling import Told
from tests.stack import Json, eventually
from workers.runner import workflow_runner
from workflows.policies import NOTIFY_QUEUE
from workflows.reminders import ReminderWorkflow
from workflows.reminding import ReminderFollower

TEST = System("tests")
State = AppointmentState
SOON = timedelta(seconds=2)
DAY = timedelta(days=1)


def now() -> datetime:
    """The instant as a database keeps it."""
    instant = datetime.now(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def seconds_until(start: datetime, due: datetime) -> int:
    """The lead by which a reminder of that start is due about then; a whole number, so up to a second earlier."""
    return round((start - due).total_seconds() + 0.5)


@dataclass
class Desk:
    """Where visits are planned, moved and cancelled, each change told to the follower as the relay does."""

    stores: Repositories
    client: Client

    @property
    def follower(self) -> ReminderFollower:
        return ReminderFollower(self.client)

    def worker(self, *others: type) -> Worker:
        """A worker that reminds."""
        steps = ReminderActivities(self.stores.reminders, self.stores.users, self.stores.notices, self.stores.offers)
        return Worker(
            self.client,
            task_queue=NOTIFY_QUEUE,
            workflows=[ReminderWorkflow, *(others or (Told,))],
            activities=[steps.look],
            workflow_runner=workflow_runner(),
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Somebody reminds within."""
        async with self.worker():
            yield

    async def plan(
        self, start: datetime, *leads: int, since: datetime | None = None, follow: bool = True
    ) -> PlaceBooking:
        """Book a visit that needs no payment, with leads in seconds; `since` is when that was, now if absent."""
        command = a_command(
            start=start,
            end=start + timedelta(minutes=30),
            service=a_service(payment=PaymentMode.AT_CLINIC),
            policy=TenantPolicy(reminder_lead_seconds=leads),
        )
        await self.stores.appointments.insert(TEST, a_step(command, at=since or now()), None)
        if follow:
            await self.stores.notices.open(TEST, _confirmation(command), since or now())
            await self.follow(command, EventType.CONFIRMED)
        return command

    async def move(self, command: PlaceBooking, start: datetime, *, follow: bool = True) -> None:
        """The visit is at another time."""
        await self._change(command, EventType.RESCHEDULED, {"start": start})
        if follow:
            await self.follow(command, EventType.RESCHEDULED)

    async def cancel(self, command: PlaceBooking, *, follow: bool = True) -> None:
        """The visit is not to be."""
        await self._change(command, EventType.CANCELLED, {"state": State.CANCELLED})
        if follow:
            await self.follow(command, EventType.CANCELLED)

    async def offers_other_times(self, command: PlaceBooking, deadline: datetime) -> None:
        """The doctor is away then: the patient may choose another time until that instant."""
        offer = _offer(command, deadline)
        await self.stores.offers.add(TEST, [offer], now())
        assert await self.stores.offers.advance(TEST, offer, OfferState.OFFERED, now(), [OfferState.NEW])

    async def settles(self, command: PlaceBooking, how: OfferState) -> None:
        """Their choice is over."""
        assert await self.stores.offers.advance(TEST, _offer(command, now()), how, now(), sorted(OPEN))

    async def _change(self, command: PlaceBooking, event: EventType, values: Json) -> None:
        entry = {"id": random_id("evt"), "state": State.CONFIRMED, "at": now(), "by": "patient", "event": event}
        await self.stores.database["appointments"].update_one(
            {"_id": command.appointment_id}, {"$set": values, "$push": {"history": entry}}
        )

    async def follow(self, command: PlaceBooking, kind: EventType) -> None:
        """The relay tells the follower."""
        await self.follower.follow(an_event(command, kind, at=now()))

    def handle(self, command: PlaceBooking) -> WorkflowHandle[ReminderWorkflow, tuple[str, ...]]:
        """The reminders of a visit."""
        return self.client.get_workflow_handle_for(ReminderWorkflow.run, reminder_workflow_id(command.appointment_id))

    async def status(self, command: PlaceBooking) -> WorkflowStatus:
        return await self.handle(command).query(ReminderWorkflow.status)

    async def waits_until(self, command: PlaceBooking, instant: datetime) -> None:
        """Return once the next reminder is due then."""

        async def look() -> datetime | None:
            waiting = (await self.status(command)).waiting_for
            return None if waiting is None else waiting.until

        await eventually(look, lambda seen: seen == instant, 30)

    async def outcomes(self, command: PlaceBooking) -> list[Json]:
        """What stands in the appointment, in order."""
        found = await self.stores.database["appointments"].find_one({"_id": command.appointment_id})
        assert found is not None
        reminders: Any = found.get("reminders", [])
        return list(reminders)

    async def fates(self, command: PlaceBooking) -> list[str]:
        return [str(one["fate"]) for one in await self.outcomes(command)]

    async def notices(self, command: PlaceBooking) -> list[str]:
        """The occurrences whose telling was begun."""
        found = []
        for one in await self.outcomes(command):
            notice = notice_id(
                command.appointment_id, str(one["id"]), Template.APPOINTMENT_REMINDER, command.subject_id
            )
            handle = self.client.get_workflow_handle(notice_workflow_id(notice))
            if one["fate"] == "told" and (await handle.describe()).id:
                found.append(str(one["id"]))
        return found


def _confirmation(command: PlaceBooking) -> Notice:
    """What the patient is told when the visit is booked."""
    return Notice(
        tenant_id=command.tenant_id,
        appointment_id=command.appointment_id,
        recipient_id=command.subject_id,
        template=Template.APPOINTMENT_CONFIRMED,
        occurrence=f"{command.appointment_id}:placed",
        expires_at=now() + DAY,
    )


def _offer(command: PlaceBooking, deadline: datetime) -> Offer:
    owner = {"tenant_id", "clinic_id", "provider_id", "subject_id", "appointment_id", "start"}
    leave = f"lve_of_{command.appointment_id}"
    return Offer(
        id=offer_id(leave, command.appointment_id),
        leave_id=leave,
        deadline=deadline,
        **command.model_dump(include=owner),
    )


def occurrence(start: datetime, lead: int) -> str:
    """What a reminder is known by."""
    return f"{start:%Y%m%dT%H%M%SZ}.{lead}"


async def reminded(desk: Desk) -> PlaceBooking:
    """One reminder was past when the visit was booked, one is told."""
    start = _whole(now() + DAY)
    lead = seconds_until(start, now() + SOON)
    command = await desk.plan(start, lead, lead + 3600)
    await desk.handle(command).result()
    return command


async def moved(desk: Desk) -> PlaceBooking:
    """The visit is moved, and its reminder with it; then it is told."""
    start = _whole(now() + 2 * DAY)
    lead = seconds_until(start, now() + DAY)
    command = await desk.plan(start, lead)
    await desk.waits_until(command, start - timedelta(seconds=lead))
    await desk.move(command, _whole(now() + SOON) + timedelta(seconds=lead))
    await desk.handle(command).result()
    return command


async def called_off(desk: Desk) -> PlaceBooking:
    """The visit is cancelled before its reminder is due."""
    start = _whole(now() + 2 * DAY)
    command = await desk.plan(start, 3600)
    await desk.waits_until(command, start - timedelta(seconds=3600))
    await desk.cancel(command)
    await desk.handle(command).result()
    return command


def _whole(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


REMINDERS = {"reminded": reminded, "reminder_moved": moved, "reminder_called_off": called_off}
"""Every way in which reminders decide differently."""
