"""People are told what happens to their appointments: once, on the first channel that brings it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from bson import json_util
from temporalio.client import Client

from adapters.connections import connect_temporal
from adapters.mongo.repositories import Repositories
from models.identity import Account
from models.ids import notice_workflow_id, reference
from tests.clinics import offer
from tests.messaging.readers import a_reader, books, cancels, notice, phone_behaves, repositories, told, tries
from tests.stack import Json, Stack, eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def temporal(shared_stack: Stack) -> Client:
    return await connect_temporal(shared_stack.settings)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stores(shared_stack: Stack) -> AsyncIterator[Repositories]:
    async with repositories(shared_stack) as found:
        yield found


async def inbox(stack: Stack, reader: Account) -> dict[str, list[Json]]:
    return {"phone": await stack.messages(reader.phone or "-"), "mail": await stack.messages(reader.email or "-")}


async def test_a_booking_is_confirmed_by_text_and_its_end_too(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores)
    # Another clinic than the others': that one may have words of its own.
    booked = await books(shared_stack, reader, offer("steady", "free"))
    confirmed = await notice(shared_stack, booked["id"], "appointment_confirmed")
    async with shared_stack.client(reader) as who:
        await cancels(who, booked["id"])
    cancelled = await notice(shared_stack, booked["id"], "appointment_cancelled")
    assert {confirmed["state"], cancelled["state"]} <= {"sent", "delivered"}
    found = await inbox(shared_stack, reader)
    texts = [one["text"] for one in reversed(found["phone"])]
    assert found["mail"] == []
    assert ["confirmed" in texts[0], "cancelled" in texts[1], len(texts)] == [True, True, 2]
    for text in texts:
        assert reference(booked["id"]) in text
        assert "Dr. Steady Open (Reg. Maharashtra Medical Council open-1)" in text
    assert f"{shared_stack.api_url}/v1/links/lnk." in texts[0]


async def test_a_word_that_is_not_so_any_more_is_not_told(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores)
    await phone_behaves(shared_stack, reader.phone or "", reaches="queued")
    await shared_stack.fault("message.create", "slow", service="twilio", delay_seconds=1)
    booked = await books(shared_stack, reader)
    async with shared_stack.client(reader) as who:
        await cancels(who, booked["id"])
    found = await notice(shared_stack, booked["id"], "appointment_confirmed")
    # Whichever was first: the text, or the cancellation that makes it untrue; never a second channel for it.
    assert found["state"] in {"sent", "delivered"} or (found["state"], found["reason"]) == ("skipped", "superseded")
    assert (await shared_stack.messages(reader.email or "-"))[1:] == []


@pytest.mark.parametrize(
    ("how", "first"),
    [
        ({"reaches": "sent"}, "sent"),
        ({"reaches": "undelivered", "error_code": 30003}, "failed"),
        ({"reaches": "undelivered", "error_code": 30003, "callbacks": "never"}, "failed"),
    ],
    ids=["no receipt", "undelivered", "undelivered and nobody said so"],
)
async def test_a_silent_phone_is_followed_by_a_mail(
    shared_stack: Stack, stores: Repositories, how: dict[str, object], first: str
) -> None:
    reader = await a_reader(stores)
    await phone_behaves(shared_stack, reader.phone or "", **how)
    booked = await books(shared_stack, reader)
    found = await notice(shared_stack, booked["id"], "appointment_confirmed")
    assert found["state"] == "sent"
    by_channel = tries(shared_stack, found["_id"])
    assert {channel: one["state"] for channel, one in by_channel.items()} == {"sms": first, "email": "sent"}
    boxes = await inbox(shared_stack, reader)
    assert {box: len(messages) for box, messages in boxes.items()} == {"phone": 1, "mail": 1}
    assert boxes["mail"][0]["subject"].startswith("Confirmed: Dr. Prompt Open, ")


async def test_a_receipt_that_nobody_sent_is_asked_for(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores)
    await phone_behaves(shared_stack, reader.phone or "", callbacks="never")
    booked = await books(shared_stack, reader)
    found = await notice(shared_stack, booked["id"], "appointment_confirmed")
    assert found["state"] == "delivered"
    assert await shared_stack.messages(reader.email or "-") == []


async def test_a_number_that_takes_nothing_is_followed_at_once(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores)
    await shared_stack.fault("message.create", "error", service="twilio", status=400)
    booked = await books(shared_stack, reader)
    found = await notice(shared_stack, booked["id"], "appointment_confirmed")
    assert found["state"] == "sent"
    assert {one: len(messages) for one, messages in (await inbox(shared_stack, reader)).items()} == {
        "phone": 0,
        "mail": 1,
    }


async def test_who_cannot_be_reached_is_noted(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores, phone=None, email=None)
    booked = await books(shared_stack, reader)
    found = await notice(shared_stack, booked["id"], "appointment_confirmed")
    assert (found["state"], found["reason"]) == ("skipped", "no_channel")


async def test_it_is_told_in_the_readers_language(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores, locale="hi-IN", phone=None, timezone="America/New_York")
    booked = await books(shared_stack, reader)
    await notice(shared_stack, booked["id"], "appointment_confirmed")
    [mail] = await eventually(lambda: shared_stack.messages(reader.email or "-"), bool)
    assert mail["subject"].startswith("पक्की: Dr. Prompt Open, ")
    # The clinic's clock, named, since the reader's shows another time.
    assert " (Kolkata)\n" in mail["text"]


async def test_nothing_personal_is_in_the_notice_nor_in_its_history(
    shared_stack: Stack, stores: Repositories, temporal: Client
) -> None:
    reader = await a_reader(stores, name="Unmistakable Person")
    booked = await books(shared_stack, reader)
    found = await notice(shared_stack, booked["id"], "appointment_confirmed")
    assert await told(temporal, found["_id"]) in {"sent", "delivered"}
    dump = json_util.dumps([found, *tries(shared_stack, found["_id"]).values()])
    history = (await temporal.get_workflow_handle(notice_workflow_id(found["_id"])).fetch_history()).to_json()
    for secret in (reader.phone or "-", reader.email or "-", reader.name or "-", "lnk."):
        assert secret not in dump
        assert secret not in history
