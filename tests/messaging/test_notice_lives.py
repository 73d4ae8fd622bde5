"""A notice on its way through its channels: on each at most once, counted where it arrives, and on no other after one
has brought it; whatever fails, falls silent, calls back twice or dies meanwhile.

Lives are random and repeatable by their number (see `lives`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import pytest_asyncio

from activities.notices import CloseNotice, Try
from adapters.settings import Settings
from models.absence import Offer, OfferState
from models.booking import AppointmentState
from models.consents import Purpose
from models.identity import Account, Subject, System
from models.ids import random_id
from models.messaging import Channel, Template
from models.notices import Ending, Notice, NoticeState, Skip
from models.reminders import Reminder
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.builders import a_notice
from tests.adapters.mongo.people import an_answer
from tests.installation import installed
from tests.messaging.lives import Life, Lives
from tests.messaging.readers import a_reader

pytestmark = pytest.mark.filterwarnings("ignore:Cannot find activity to cancel:UserWarning")
"""The library's word about a local step that ended just when its workflow made room for another one."""

TEST: Final = System("tests")
AT_ONCE: Final = 64
"""So many are told side by side: most of a life is waiting."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lives(servers: Addresses, settings: Settings) -> AsyncIterator[Lives]:
    async with installed(servers, settings) as (stores, client):
        yield await Lives.at(stores, client)


async def prove(lives: Lives, first: int, count: int) -> Counter[str]:
    """Live so many; how they ended. Fails with everything that must not have happened."""
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            life = await lives.life(number)
            state = await lives.live(life)
        wrong.extend([*life.violations(state), *await _as_noted(lives, life, state)])
        by = "+".join(life.arrived) or "nothing"
        ends[f"{state} by {by}{', stopped' if life.stopped else ''}"] += 1

    async with lives.told():
        await asyncio.gather(*(one(first + number) for number in range(count)))
        await lives.fates.fall_silent()
    assert wrong == []
    return ends


async def _as_noted(lives: Lives, life: Life, state: NoticeState) -> list[str]:
    """What the document says of it otherwise than the workflow."""
    found = await lives.stores.notices.find(TEST, life.notice.id)
    noted = None if found is None else found.state
    return [] if noted is state else [f"life {life.number}: {state}, and {noted} is noted"]


@pytest.mark.timeout(180)
async def test_some_notices_come_at_most_once_on_each_channel(lives: Lives) -> None:
    ends = await prove(lives, 0, 48)
    assert sum(ends.values()) == 48
    # The lives are worth living: they end on every channel, and on several.
    assert {end.partition(" ")[0] for end in ends} >= {"sent", "delivered"}
    arrived = [set(end.partition(" by ")[2].partition(",")[0].split("+")) for end in ends]
    assert set.union(*arrived) >= set(Channel)
    assert max(map(len, arrived)) > 1


@pytest.mark.fault_matrix
@pytest.mark.timeout(1800)
async def test_thousands_of_notices_come_at_most_once_on_each_channel(lives: Lives) -> None:
    ends = await prove(lives, 100_000, 2_000)
    assert sum(ends.values()) == 2_000
    print(dict(ends))  # noqa: T201  what the lives were like


async def test_what_has_ended_is_planned_as_it_ended(lives: Lives) -> None:
    """A worker that dies after its last step leaves a telling that is planned once more."""
    reader = await a_reader(lives.stores, phone=None)
    visit = await lives.booked(reader)
    notice = a_notice(tenant_id=visit.tenant_id, appointment_id=visit.appointment_id, recipient_id=reader.id)
    assert (await lives.steps.plan(notice)).channels == (Channel.EMAIL,)
    ending = Ending(state=NoticeState.SENT)
    await lives.steps.close(CloseNotice(tenant_id=notice.tenant_id, notice_id=notice.id, ending=ending))
    plan = await lives.steps.plan(notice)
    assert (plan.ended, plan.channels) == (ending, ())
    # Told once more, it may have heard of the receipt by then; nothing else changes what has ended.
    for state, noted in ((NoticeState.DELIVERED, NoticeState.DELIVERED), (NoticeState.FAILED, NoticeState.DELIVERED)):
        again = CloseNotice(tenant_id=notice.tenant_id, notice_id=notice.id, ending=Ending(state=state))
        await lives.steps.close(again)
        found = await lives.stores.notices.find(TEST, notice.id)
        assert found is not None
        assert found.state is noted


async def test_a_reminder_that_is_under_way_is_not_sent_while_other_times_are_offered(lives: Lives) -> None:
    reader = await a_reader(lives.stores)
    visit = await lives.booked(reader)
    reminder = Reminder(start=visit.start, lead_seconds=7200, due_at=visit.start - timedelta(hours=2))
    told = {
        kind: Notice(
            tenant_id=visit.tenant_id,
            appointment_id=visit.appointment_id,
            recipient_id=reader.id,
            template=kind,
            occurrence=reminder.occurrence,
            expires_at=visit.start,
        )
        for kind in (Template.APPOINTMENT_REMINDER, Template.ABSENCE_OFFER)
    }
    steps, remind = lives.steps, told[Template.APPOINTMENT_REMINDER]
    assert (await steps.plan(remind)).skip is None

    same = visit.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id", "appointment_id", "start"})
    offer = Offer(id="lve_1:1", leave_id="lve_1", deadline=visit.start, **same)
    now = datetime.now(UTC)
    await lives.stores.offers.add(TEST, [offer], now)
    for state in (OfferState.NEW, OfferState.OFFERED):
        await lives.stores.offers.advance(TEST, offer, state, now, [OfferState.NEW])
        prepared = await steps.prepare(Try(notice=remind, channel=Channel.SMS))
        assert (prepared.delivery, prepared.skip) == (None, Skip.SUPERSEDED)
        assert (await steps.plan(remind)).skip is Skip.SUPERSEDED
        assert (await steps.plan(told[Template.ABSENCE_OFFER])).skip is None, "the offer itself is told"
    await lives.stores.offers.advance(TEST, offer, OfferState.KEPT, now, [OfferState.OFFERED])
    assert (await steps.prepare(Try(notice=remind, channel=Channel.SMS))).delivery is not None


async def test_a_no_about_a_child_is_kept_at_the_last_moment_too(lives: Lives) -> None:
    reader, child = await a_reader(lives.stores), random_id("dep")
    kinds = (Template.FEEDBACK_REQUEST, Template.FEEDBACK_REMINDER, Template.REVISIT_REMINDER, Template.VISIT_SUMMARY)
    told = {whom: [await _after_visit(lives, reader, whom, kind) for kind in kinds] for whom in (child, None)}

    async def skips(whom: str | None) -> list[Skip | None]:
        tries = [Try(notice=notice, channel=Channel.SMS) for notice in told[whom]]
        prepared = [(await lives.steps.prepare(one)).skip for one in tries]
        assert [(await lives.steps.plan(one.notice)).skip for one in tries] == prepared
        return prepared

    assert await skips(child) == [None] * 4, "nobody was asked about the child"
    no = an_answer(reader.id, about=child, purpose=Purpose.FOLLOW_UP, granted=False)
    await lives.stores.consents.record(Subject(reader.id), no)
    assert await skips(child) == [*[Skip.NO_CONSENT] * 3, None], "the summary is part of the visit"
    assert await skips(None) == [None] * 4, "one's own visits are another matter"
    await lives.stores.consents.record(Subject(reader.id), no.model_copy(update={"granted": True}))
    assert await skips(child) == [None] * 4
    await lives.stores.consents.record(Subject(reader.id), no.model_copy(update={"about": reader.id}))
    for whom in told:
        assert await skips(whom) == [*[Skip.NO_CONSENT] * 3, None], "it would have gone to whoever wants none"


async def _after_visit(lives: Lives, reader: Account, dependant_id: str | None, template: Template) -> Notice:
    visit = await lives.booked(reader, dependant_id)
    appointments = lives.stores.database["appointments"]
    await appointments.update_one({"_id": visit.appointment_id}, {"$set": {"state": AppointmentState.COMPLETED}})
    return a_notice(
        tenant_id=visit.tenant_id, appointment_id=visit.appointment_id, recipient_id=reader.id, template=template
    )
