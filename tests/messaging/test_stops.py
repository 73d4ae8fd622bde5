"""STOP and START: true at once, for every tenant of the sender, in whatever order the words come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from adapters.mongo.repositories import Repositories
from models.identity import Account
from models.stops import START_WORDS, STOP_WORDS, stops
from sandbox.messages import sign
from tests.clinics import offer
from tests.messaging.readers import PROMPT, a_reader, books, notice, repositories, tries
from tests.stack import Stack, eventually

INBOUND = "/v1/webhooks/twilio/inbound"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stores(shared_stack: Stack) -> AsyncIterator[Repositories]:
    async with repositories(shared_stack) as found:
        yield found


@pytest.mark.parametrize(
    ("form", "meaning"),
    [
        *(({"Body": word.lower()}, True) for word in STOP_WORDS),
        *(({"Body": f" {word}. "}, False) for word in START_WORDS),
        ({"Body": "please stop", "OptOutType": "STOP"}, True),
        ({"Body": "STOP", "OptOutType": "HELP"}, None),
        ({"Body": "I cannot stop coughing"}, None),
        ({}, None),
    ],
)
def test_what_a_reply_means(form: dict[str, str], meaning: bool | None) -> None:  # noqa: FBT001  a table's column
    assert stops(form) is meaning


@given(st.text(max_size=50))
def test_any_reply_means_something_or_nothing(text: str) -> None:
    assert stops({"Body": text}) in {True, False, None}


async def replies(stack: Stack, reader: Account, text: str) -> None:
    """They answer the last text; returns once it has been noted."""
    before = {one["_id"]: one["version"] for one in stack.db.message_stops.find()}
    async with stack.control() as control:
        (await control.post("/_control/replies", json={"to": reader.phone, "text": text})).raise_for_status()

    async def look() -> bool:
        return {one["_id"]: one["version"] for one in stack.db.message_stops.find()} != before

    await eventually(look, bool)


async def test_stop_ends_texts_of_every_tenant_and_start_lets_them_come(
    shared_stack: Stack, stores: Repositories
) -> None:
    reader = await a_reader(stores)
    await notice(shared_stack, (await books(shared_stack, reader))["id"], "appointment_confirmed")
    assert len(await shared_stack.messages(reader.phone or "-")) == 1
    await replies(shared_stack, reader, "STOP")
    for at in (PROMPT, offer("steady", "free")):
        told = await notice(shared_stack, (await books(shared_stack, reader, at))["id"], "appointment_confirmed")
        by_channel = tries(shared_stack, told["_id"])
        assert (by_channel["sms"]["state"], by_channel["sms"]["error_code"]) == ("failed", "21610")
        assert by_channel["email"]["state"] == "sent"
    assert len(await shared_stack.messages(reader.phone or "-")) == 1
    assert (reader.phone or "-") not in str(list(shared_stack.db.message_stops.find()))
    await replies(shared_stack, reader, "start")
    await notice(shared_stack, (await books(shared_stack, reader))["id"], "appointment_confirmed")
    assert len(await shared_stack.messages(reader.phone or "-")) == 2


async def test_a_stop_between_two_tries_is_honoured(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores, email=None)
    await notice(shared_stack, (await books(shared_stack, reader))["id"], "appointment_confirmed")
    await shared_stack.fault("message.create", "rate_limited", service="twilio", times=2)
    booked = await books(shared_stack, reader)
    await replies(shared_stack, reader, "Stop")
    told = await notice(shared_stack, booked["id"], "appointment_confirmed")
    # Two tries were turned away before the word came, or the first one that was not came after it.
    assert tries(shared_stack, told["_id"])["sms"]["error_code"] == "21610"
    assert len(await shared_stack.messages(reader.phone or "-")) == 1
    async with shared_stack.control() as control:
        (await control.delete("/_control/faults")).raise_for_status()


async def test_who_stopped_at_the_provider_is_remembered(shared_stack: Stack, stores: Repositories) -> None:
    sender = shared_stack.settings.twilio_sms_from or "-"
    await stores.stops.note(sender, "+15005550004", stopped=False, reply_id="SM0", at=datetime.now(UTC))
    reader = await a_reader(stores, phone="+15005550004", email=None)
    told = await notice(shared_stack, (await books(shared_stack, reader))["id"], "appointment_confirmed")
    assert told["state"] == "failed"
    assert await stores.stops.stopped(sender, "+15005550004")


async def test_a_repeated_reply_does_not_undo_a_later_one(stores: Repositories) -> None:
    now = datetime.now(UTC)
    for stopped, reply_id in ((True, "SM1"), (False, "SM2"), (True, "SM1"), (False, "SM2"), (True, "SM1")):
        await stores.stops.note("+1", "+9198", stopped=stopped, reply_id=reply_id, at=now)
    assert not await stores.stops.stopped("+1", "+9198")
    assert not await stores.stops.stopped("+2", "+9198")


async def test_a_forged_reply_changes_nothing(shared_stack: Stack) -> None:
    form = {"From": "+919811111111", "To": shared_stack.settings.twilio_sms_from or "", "Body": "STOP"}
    before = shared_stack.db.message_stops.count_documents({})
    forged = sign("guessed", shared_stack.api_url + INBOUND, form)
    async with shared_stack.anonymous() as client:
        for headers in ({}, {"X-Twilio-Signature": forged}):
            answer = await client.post(INBOUND, data=form, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")
    assert shared_stack.db.message_stops.count_documents({}) == before
