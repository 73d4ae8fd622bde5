"""What has waited for its carrier is looked at again before it leaves: whether it is true still, and at what hour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.failures import NOT_TAKEN, QUIET_HOURS
from activities.messaging import FRESH, Delivery, MessagingActivities
from activities.notices import Try
from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.texts import FileTexts
from models.absence import Offer, OfferState
from models.booking import AppointmentState, PlaceBooking
from models.errors import DeliveryError
from models.identity import Account, System
from models.ids import notice_workflow_id, random_id
from models.messaging import Channel, Letter, Message, MessageState, Template, Word
from models.notices import Notice, again
from models.policy import QuietHours, TenantPolicy
from models.quiet_hours import quiet_period
from models.reminders import Reminder
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.builders import a_message, a_notice
from tests.installation import installed
from tests.messaging.lives import PROMPT, SENDERS, Lives
from tests.messaging.readers import a_reader
from tests.stack import eventually
from workers.runner import workflow_runner
from workflows.notifying import NotifyWorkflow
from workflows.policies import NOTIFY_QUEUE

TEST: Final = System("tests")
HOUR: Final = timedelta(hours=1)
INDIA: Final = ZoneInfo("Asia/Kolkata")


class Carrier:
    """Implements `models.notice_ports.Carrier`: takes nothing while it is down, and cannot tell what it took."""

    def __init__(self) -> None:
        self.down = False
        self.took: list[str] = []

    async def send(self, message: Message, letter: Letter) -> Word:
        del letter
        if self.down:
            raise DeliveryError("20003", permanent=False)
        self.took.append(message.id)
        return Word(state=MessageState.SENT, provider_id=random_id("SM"))

    async def find(self, message: Message, letter: Letter, since: datetime) -> Word | None:  # noqa: ARG002  its port
        return None

    async def fetch(self, message: Message, provider_id: str) -> Word | None:  # noqa: ARG002  its port
        return None


class Wait:
    """A clinic whose carrier comes and goes."""

    def __init__(self, lives: Lives) -> None:
        self.lives = lives
        self.stores: Repositories = lives.stores
        self.carrier = Carrier()

    @property
    def messages(self) -> MessagingActivities:
        return MessagingActivities(
            self.stores.notifications,
            FileTexts(),
            self.carrier,
            self.stores.stops,
            senders=SENDERS,
            leaves=self.stores.deletions.standing,
            still=self.lives.steps.still,
        )

    async def prepared(self, notice: Notice) -> Delivery:
        """Its words, kept for the phone."""
        assert (await self.lives.steps.plan(notice)).skip is None
        found = await self.lives.steps.prepare(Try(notice=notice, channel=Channel.SMS))
        assert found.delivery is not None
        return found.delivery

    async def refused(self, delivery: Delivery) -> None:
        """The carrier does not take it now."""
        self.carrier.down = True
        with pytest.raises(ApplicationError) as refusal:
            await self.messages.deliver(delivery)
        assert (refusal.value.type, refusal.value.non_retryable) == (NOT_TAKEN, False)
        self.carrier.down = False

    async def ends(self, delivery: Delivery) -> tuple[MessageState, str | None]:
        """How it is delivered now; whoever asks once more changes nothing."""
        state, before = await self.messages.deliver(delivery), list(self.carrier.took)
        assert await self.messages.deliver(delivery) is state
        assert self.carrier.took == before
        code = (await self.document(delivery))["error_code"]
        return state, None if code is None else str(code)

    async def document(self, delivery: Delivery) -> Document:
        found = await self.stores.database["notifications"].find_one({"_id": delivery.message_id})
        assert found is not None
        return found

    async def becomes(self, visit: PlaceBooking, **change: object) -> None:
        appointments = self.stores.database["appointments"]
        await appointments.update_one({"_id": visit.appointment_id}, {"$set": change})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lives(servers: Addresses, settings: Settings) -> AsyncIterator[Lives]:
    async with installed(servers, settings) as (stores, client):
        yield await Lives.at(stores, client)


@pytest.fixture
def wait(lives: Lives) -> Wait:
    return Wait(lives)


def a_telling(visit: PlaceBooking, reader: Account, template: Template, **change: object) -> Notice:
    reminder = Reminder(start=visit.start, lead_seconds=7200, due_at=visit.start - 2 * HOUR)
    occurrence = reminder.occurrence if template is Template.APPOINTMENT_REMINDER else random_id("evt")
    ids = {"tenant_id": visit.tenant_id, "appointment_id": visit.appointment_id, "recipient_id": reader.id}
    return a_notice(**ids, **{"template": template, "occurrence": occurrence, "expires_at": visit.start, **change})


async def test_the_old_time_never_leaves_once_the_visit_has_another(wait: Wait) -> None:
    reader = await a_reader(wait.stores)
    visit = await wait.lives.booked(reader)
    kinds = (Template.APPOINTMENT_CONFIRMED, Template.APPOINTMENT_REMINDER)
    old = [await wait.prepared(a_telling(visit, reader, kind)) for kind in kinds]
    for one in old:
        await wait.refused(one)
    await wait.becomes(visit, start=visit.start + 5 * HOUR)
    new = await wait.prepared(a_telling(visit, reader, Template.APPOINTMENT_RESCHEDULED))
    await wait.refused(new)

    assert [await wait.ends(one) for one in old] == [(MessageState.EXPIRED, "superseded")] * 2
    assert await wait.ends(new) == (MessageState.SENT, None)
    # Back and forth: what names the time that the visit has again is true again.
    await wait.becomes(visit, start=visit.start)
    back = await wait.prepared(a_telling(visit, reader, Template.APPOINTMENT_RESCHEDULED))
    await wait.refused(back)
    assert await wait.ends(back) == (MessageState.SENT, None)
    assert wait.carrier.took == [new.message_id, back.message_id]


@pytest.mark.parametrize("template", [Template.APPOINTMENT_CONFIRMED, Template.APPOINTMENT_REMINDER])
async def test_a_visit_that_was_cancelled_meanwhile_is_not_told_of(wait: Wait, template: Template) -> None:
    reader = await a_reader(wait.stores)
    visit = await wait.lives.booked(reader)
    delivery = await wait.prepared(a_telling(visit, reader, template))
    await wait.refused(delivery)
    await wait.becomes(visit, state=AppointmentState.CANCELLED)
    assert await wait.ends(delivery) == (MessageState.EXPIRED, "superseded")
    assert wait.carrier.took == []


async def test_other_times_are_not_offered_once_the_offer_is_over(wait: Wait) -> None:
    reader = await a_reader(wait.stores)
    visit = await wait.lives.booked(reader)
    same = visit.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id", "appointment_id", "start"})
    leave = random_id("lve")
    offer = Offer(id=f"{leave}:1", leave_id=leave, deadline=visit.start, **same)
    await wait.stores.offers.add(TEST, [offer], datetime.now(UTC))
    notices = [a_telling(visit, reader, Template.ABSENCE_OFFER) for _ in range(2)]
    first, second = [await wait.prepared(one) for one in notices]
    for one in (first, second):
        await wait.refused(one)
    assert await wait.ends(first) == (MessageState.SENT, None)
    await wait.stores.offers.advance(TEST, offer, OfferState.KEPT, datetime.now(UTC), [OfferState.NEW])
    assert await wait.ends(second) == (MessageState.EXPIRED, "superseded")
    assert (await wait.lives.steps.plan(a_telling(visit, reader, Template.ABSENCE_OFFER))).skip == "superseded"
    assert wait.carrier.took == [first.message_id]


async def test_words_that_have_lain_are_looked_at_before_their_first_try(wait: Wait) -> None:
    reader = await a_reader(wait.stores)
    visit = await wait.lives.booked(reader)
    fresh, stale = [await wait.prepared(a_telling(visit, reader, Template.APPOINTMENT_CONFIRMED)) for _ in range(2)]
    kept = datetime.now(UTC) - FRESH - timedelta(seconds=1)
    # The other one is as old as it gets in a slow test.
    later = datetime.now(UTC) + HOUR
    for one, at in ((stale, kept), (fresh, later)):
        await wait.stores.database["notifications"].update_one({"_id": one.message_id}, {"$set": {"created_at": at}})
    await wait.becomes(visit, start=visit.start + HOUR)
    assert await wait.ends(stale) == (MessageState.EXPIRED, "superseded")
    assert await wait.ends(fresh) == (MessageState.SENT, None), "what goes out at once costs no second look"


async def test_what_is_no_notices_is_left_alone(wait: Wait) -> None:
    code = a_message(id=random_id("msg"), to=(await a_reader(wait.stores)).phone or "")
    await wait.stores.notifications.keep(TEST, code, datetime.now(UTC))
    delivery = Delivery(
        tenant_id=code.tenant_id, subject_id=code.subject_id, message_id=code.id, expires_at=code.expires_at
    )
    await wait.refused(delivery)
    assert await wait.ends(delivery) == (MessageState.SENT, None)


async def test_an_erased_visit_is_told_of_to_nobody(wait: Wait) -> None:
    reader = await a_reader(wait.stores)
    visit = await wait.lives.booked(reader)
    delivery = await wait.prepared(a_telling(visit, reader, Template.APPOINTMENT_CONFIRMED))
    await wait.refused(delivery)
    await wait.stores.database["notices"].delete_one({"appointment_id": visit.appointment_id})
    assert await wait.ends(delivery) == (MessageState.EXPIRED, "gone")
    assert wait.carrier.took == []


# Quiet hours


def quiet_now() -> tuple[TenantPolicy, datetime]:
    """Rules by which it is quiet now in India, and until when."""
    here = datetime.now(INDIA)
    start, end = ((here + step).time().replace(second=0, microsecond=0) for step in (-2 * HOUR, 2 * HOUR))
    quiet = QuietHours(start=start, end=end)
    period = quiet_period(here, quiet, INDIA)
    assert period is not None
    return PROMPT.model_copy(update={"quiet_hours": quiet}), period.end


async def in_quiet(wait: Wait, template: Template, **change: object) -> tuple[Delivery, datetime]:
    """Something that was worded before the quiet began and could not leave; until when it is quiet."""
    reader = await a_reader(wait.stores)
    visit = await wait.lives.booked(reader)
    if template not in {Template.APPOINTMENT_REMINDER, Template.APPOINTMENT_CONFIRMED}:
        await wait.becomes(visit, state=AppointmentState.COMPLETED)
    delivery = await wait.prepared(a_telling(visit, reader, template, **change))
    await wait.refused(delivery)
    policy, end = quiet_now()
    await wait.becomes(visit, policy=policy.model_dump(mode="json"))
    return delivery, end


KEPT: Final = [
    Template.APPOINTMENT_REMINDER,
    Template.FEEDBACK_REQUEST,
    Template.FEEDBACK_REMINDER,
    Template.REVISIT_REMINDER,
]


@pytest.mark.parametrize("template", KEPT)
async def test_what_leaves_people_in_peace_waits_for_the_end_of_their_quiet_hours(
    wait: Wait, template: Template
) -> None:
    delivery, end = await in_quiet(wait, template)
    with pytest.raises(ApplicationError) as waits:
        await wait.messages.deliver(delivery)
    failure = waits.value
    assert (failure.type, failure.non_retryable) == (QUIET_HOURS, False)
    assert failure.next_retry_delay is not None
    assert abs(datetime.now(UTC) + failure.next_retry_delay - end) < timedelta(minutes=1)
    assert wait.carrier.took == []
    found = await wait.document(delivery)
    assert (found["state"], found.get("attempted_at")) == ("queued", None), "nobody need be asked whether it left"


async def test_what_is_worth_nothing_by_the_morning_expires(wait: Wait) -> None:
    delivery, _ = await in_quiet(wait, Template.FEEDBACK_REQUEST, expires_at=datetime.now(UTC) + HOUR)
    assert await wait.ends(delivery) == (MessageState.EXPIRED, "quiet_hours")
    assert wait.carrier.took == []


async def test_a_confirmation_comes_at_any_hour(wait: Wait) -> None:
    delivery, _ = await in_quiet(wait, Template.APPOINTMENT_CONFIRMED)
    assert await wait.ends(delivery) == (MessageState.SENT, None)


async def test_nothing_is_worded_in_quiet_hours_unless_somebody_asks_for_it(wait: Wait) -> None:
    reader = await a_reader(wait.stores)
    policy, end = quiet_now()
    visit = await wait.lives.booked(reader, policy=policy)
    remind = a_telling(visit, reader, Template.APPOINTMENT_REMINDER)
    with pytest.raises(ApplicationError) as waits:
        await wait.lives.steps.prepare(Try(notice=remind, channel=Channel.SMS))
    assert waits.value.type == QUIET_HOURS
    assert waits.value.next_retry_delay is not None
    assert abs(datetime.now(UTC) + waits.value.next_retry_delay - end) < timedelta(minutes=1)
    soon = remind.model_copy(update={"expires_at": datetime.now(UTC) + HOUR})
    late = await wait.lives.steps.prepare(Try(notice=soon, channel=Channel.SMS))
    assert (late.delivery, late.skip) == (None, "expired")
    asked = again(remind, "a key", datetime.now(UTC) + HOUR)
    delivery = await wait.prepared(asked)
    await wait.refused(delivery)
    assert await wait.ends(delivery) == (MessageState.SENT, None)


async def test_a_telling_sleeps_until_the_quiet_is_over(wait: Wait) -> None:
    """Within the workflow service: neither refused for good, nor tried again and again through the night."""
    reader = await a_reader(wait.stores)
    policy, end = quiet_now()
    visit = await wait.lives.booked(reader, policy=policy)
    remind = a_telling(visit, reader, Template.APPOINTMENT_REMINDER)
    steps, messages = wait.lives.steps, wait.messages
    told = wait.lives.client.get_workflow_handle(notice_workflow_id(remind.id))
    async with Worker(
        wait.lives.client,
        task_queue=NOTIFY_QUEUE,
        workflows=[NotifyWorkflow],
        activities=[steps.plan, steps.prepare, steps.close, messages.deliver, messages.look],
        workflow_runner=workflow_runner(),
    ):
        await wait.lives.notifier.notify(remind)

        async def next_try() -> datetime | None:
            pending = (await told.describe()).raw_description.pending_activities
            waits = [one for one in pending if one.attempt > 1]
            return waits[0].scheduled_time.ToDatetime(tzinfo=UTC) if waits else None

        at = await eventually(next_try, lambda found: found is not None, 30)
        assert at is not None
        assert abs(at - end) < timedelta(minutes=1)
        assert wait.carrier.took == []
        await told.terminate("the night is long")
