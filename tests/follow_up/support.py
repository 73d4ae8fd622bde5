"""Completed visits that only one test knows, and a worker in this process that follows them up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.follow_up import FollowUpActivities, FollowUpSources
from adapters.mongo.repositories import Repositories
from models.booking import Advance, AppointmentState, EventType, PlaceBooking
from models.consents import Purpose
from models.consultation import Summary
from models.follow_up import TEMPLATES, Part
from models.identity import Subject, System
from models.ids import follow_up_workflow_id, notice_id, notice_workflow_id, random_id
from models.operations import WorkflowStatus
from models.policy import QuietHours, TenantPolicy
from models.providers import PaymentMode
from models.reviews import Opinion, review_of
from tests.adapters.mongo.builders import a_command, a_service, a_step, an_event
from tests.adapters.mongo.people import an_answer
from tests.adapters.mongo.visit_calls import a_record, a_version
from tests.reminders.support import now
from tests.reminders.telling import Told
from tests.stack import Json, eventually
from workers.runner import workflow_runner
from workflows.follow_up import FollowUpWorkflow
from workflows.following_up import FollowUps
from workflows.policies import NOTIFY_QUEUE

TEST: Final = System("tests")
DAY: Final = timedelta(days=1)
LIFE: Final = (
    (EventType.CHECKED_IN, AppointmentState.CHECKED_IN),
    (EventType.CONSULTATION_STARTED, AppointmentState.IN_CONSULTATION),
    (EventType.COMPLETED, AppointmentState.COMPLETED),
)
ALWAYS_AWAKE: Final = QuietHours(start=QuietHours().start, end=QuietHours().start)
SLOW: Final = TenantPolicy(quiet_hours=ALWAYS_AWAKE)
"""Nobody is asked before two hours are over."""


def quick(**change: object) -> TenantPolicy:
    """Asked after a second, again after another one, and shown the way back after two."""
    fields: dict[str, object] = {
        "feedback_after_seconds": 1,
        "feedback_reminder_hours": 1 / 3600,
        "revisit_after_seconds": 2,
    }
    return TenantPolicy.model_validate({**fields, **change})


@dataclass
class Aftercare:
    """Where visits are completed, each told to the follower as the relay does."""

    stores: Repositories
    client: Client

    @property
    def follow_ups(self) -> FollowUps:
        return FollowUps(self.client)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Somebody follows visits up within."""
        stores = self.stores
        sources = FollowUpSources(
            stores.follow_ups, stores.consultations, stores.reviews, stores.consents, stores.users
        )
        steps = FollowUpActivities(sources, stores.staff_tasks)
        worker = Worker(
            self.client,
            task_queue=NOTIFY_QUEUE,
            workflows=[FollowUpWorkflow, Told],
            activities=[steps.look, steps.raise_task],
            workflow_runner=workflow_runner(),
        )
        async with worker:
            yield

    async def visit(
        self,
        policy: TenantPolicy,
        *,
        at: datetime | None = None,
        of: PlaceBooking | None = None,
        dependant_id: str | None = None,
        follow: bool = True,
    ) -> PlaceBooking:
        """A visit that was completed then, now if absent; `of` whoever had that one, with the same doctor."""
        done = at or now()
        same = of.model_dump(include={"subject_id", "practitioner_id", "tenant_id"}) if of is not None else {}
        command = a_command(
            start=done - timedelta(minutes=30),
            end=done,
            service=a_service(payment=PaymentMode.AT_CLINIC),
            policy=policy,
            dependant_id=dependant_id,
            **{"practitioner_id": random_id("prc"), **same},
        )
        await self.stores.appointments.insert(TEST, a_step(command, at=done - DAY), None)
        for event, state in LIFE:
            await self._advance(command, event, state, done)
        if follow:
            await self.completed(command)
        return command

    async def books_again(self, visit: PlaceBooking, state: AppointmentState | None = None, **change: object) -> None:
        """They have another visit with the same doctor in a week, which came so far."""
        same = {**visit.model_dump(include={"subject_id", "practitioner_id", "tenant_id", "dependant_id"}), **change}
        later = visit.start + 7 * DAY
        service = a_service(payment=PaymentMode.AT_CLINIC)
        command = a_command(start=later, end=later + timedelta(minutes=30), service=service, **same)
        await self.stores.appointments.insert(TEST, a_step(command, at=now()), None)
        if state is not None:
            await self._advance(command, EventType.CANCELLED, state, now())

    async def _advance(self, of: PlaceBooking, event: EventType, to: AppointmentState, at: datetime) -> None:
        step = Advance(
            tenant_id=of.tenant_id,
            appointment_id=of.appointment_id,
            event=event,
            event_id=random_id("evt"),
            at=at,
            to=to,
        )
        assert (await self.stores.appointments.advance(TEST, step)).applied

    async def completed(self, command: PlaceBooking) -> None:
        """The relay tells the follower that it is over."""
        await self.follows(command, EventType.COMPLETED)

    async def follows(self, command: PlaceBooking, kind: EventType) -> None:
        """The relay tells the follower of an event."""
        event = an_event(command, kind, at=now(), state=AppointmentState.COMPLETED)
        await self.follow_ups.follow(event)

    async def says(self, command: PlaceBooking) -> None:
        """The API tells that something has happened."""
        await self.follow_ups.look_again(command.tenant_id, command.appointment_id, command.subject_id)

    async def writes(
        self, command: PlaceBooking, follow_up_on: date | None = None, *, version: int = 1, at: datetime | None = None
    ) -> None:
        """The doctor writes the summary."""
        record = a_record(summary=Summary(notes="Rest", follow_up_on=follow_up_on))
        await self.stores.consultations.add(TEST, a_version(command, version, at=at or now(), record=record))

    async def rates(self, command: PlaceBooking, stars: int) -> None:
        """The patient says how it was, and the API tells the follow-up."""
        appointment = await self.stores.appointments.find(TEST, command.appointment_id, open_sealed=False)
        assert appointment is not None
        await self.stores.reviews.put(TEST, review_of(appointment, Opinion(rating=stars), now()))
        await self.says(command)

    async def withdraws(self, command: PlaceBooking, about: str | None = None) -> None:
        """The patient does not want to be asked any more, or not about one whom they book for."""
        who = command.subject_id
        no = an_answer(who, purpose=Purpose.FOLLOW_UP, granted=False, about=about or who)
        await self.stores.consents.record(Subject(who), no)

    def handle(self, command: PlaceBooking) -> WorkflowHandle[FollowUpWorkflow, tuple[str, ...]]:
        """The follow-up of a visit."""
        return self.client.get_workflow_handle_for(FollowUpWorkflow.run, follow_up_workflow_id(command.appointment_id))

    async def ends(self, command: PlaceBooking) -> dict[str, str]:
        """What became of each part, once nothing more follows, in the order in which it was decided."""
        await self.handle(command).result()
        return await self.fates(command)

    async def fates(self, command: PlaceBooking) -> dict[str, str]:
        """What is noted at the appointment."""
        appointments = self.stores.database["appointments"]
        found = await appointments.find_one({"_id": command.appointment_id}, ["follow_up"]) or {}
        noted: Any = found.get("follow_up", [])
        assert len({one["key"] for one in noted}) == len(noted)
        return {str(one["key"]): str(one["fate"]) for one in noted}

    async def waits_for(self, command: PlaceBooking, event: str) -> datetime:
        """Until when that is awaited, once it is."""

        async def look() -> WorkflowStatus:
            return await self.handle(command).query(FollowUpWorkflow.status)

        seen = await eventually(look, lambda one: one.waiting_for is not None and one.waiting_for.event == event, 30)
        assert seen.waiting_for is not None
        return seen.waiting_for.until

    async def told(self, command: PlaceBooking) -> list[str]:
        """The parts whose telling was begun, each found at the workflow service."""
        found = [key for key, fate in (await self.fates(command)).items() if fate == "told"]
        for key in found:
            template = TEMPLATES[Part(key.partition(".")[0])]
            notice = notice_id(command.appointment_id, key, template, command.subject_id)
            assert (await self.client.get_workflow_handle(notice_workflow_id(notice)).describe()).id
        return found

    async def tasks(self, command: PlaceBooking) -> list[Json]:
        """What the practice is to do about it."""
        found = self.stores.database["staff_tasks"].find({"appointment_id": command.appointment_id})
        return [dict(one) for one in await found.to_list(None)]


# Every way in which follow-ups decide differently


async def followed(care: Aftercare) -> PlaceBooking:
    """Nobody answers, nobody books: everything goes out."""
    command = await care.visit(quick())
    await care.waits_for(command, "the answer how it was")
    await care.writes(command, now().date() + 30 * DAY)
    await care.says(command)
    await care.ends(command)
    return command


async def rated_low(care: Aftercare) -> PlaceBooking:
    """Somebody says how it was before they are asked, and it was bad."""
    command = await care.visit(SLOW)
    await care.writes(command)
    await care.waits_for(command, "the question how it was")
    await care.rates(command, 1)
    await care.ends(command)
    return command


async def unwanted(care: Aftercare) -> PlaceBooking:
    """Somebody objects after they were asked."""
    command = await care.visit(quick(feedback_reminder_hours=2 / 3600, revisit_after_seconds=6), follow=False)
    await care.writes(command, now().date() + 30 * DAY)
    await care.completed(command)
    await care.waits_for(command, "the answer how it was")
    await care.withdraws(command)
    await care.ends(command)
    return command


FOLLOW_UPS: Final[Mapping[str, Callable[[Aftercare], Awaitable[PlaceBooking]]]] = {
    "followed_up": followed,
    "followed_up_low": rated_low,
    "followed_up_unwanted": unwanted,
}
"""By the name of its history."""
