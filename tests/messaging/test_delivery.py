"""Messages end to end: kept sealed, carried by the workers to the sandbox, their fate told by signed callbacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import pytest
import pytest_asyncio
from bson import json_util
from temporalio.client import Client

from adapters.connections import connect_temporal
from adapters.mongo.client import open_client
from adapters.temporal.in_clear import history_in_clear
from models.ids import message_workflow_id, random_id
from models.messaging import Channel, Message, MessageState
from sandbox.messages import sign
from tests.messaging.support import CODE, Send, an_invite, an_otp, ended, in_vain, messenger
from tests.stack import Json, Stack, eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def temporal(shared_stack: Stack) -> Client:
    return await connect_temporal(shared_stack.settings)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def send(shared_stack: Stack, temporal: Client) -> AsyncIterator[Send]:
    async with messenger(shared_stack, temporal) as sender:
        yield sender.send


def document(stack: Stack, message: Message) -> Json:
    found = stack.db.notifications.find_one({"_id": message.id})
    assert found is not None
    return found


async def until_state(stack: Stack, message: Message, *states: MessageState) -> Json:
    async def look() -> Json:
        return document(stack, message)

    return await eventually(look, lambda found: found["state"] in states, 30)


async def test_a_code_reaches_the_phone_once_however_often_it_is_sent(
    shared_stack: Stack, temporal: Client, send: Send
) -> None:
    message = an_otp()
    for _ in range(3):
        await send(message)
    assert await ended(temporal, message) in {"sent", "delivered"}
    [shown] = await shared_stack.messages(message.to)
    assert (shown["channel"], shown["to"]) == ("sms", message.to)
    assert shown["text"].startswith(f"{CODE} is your VisitNow code, good for 5 minutes")
    found = await until_state(shared_stack, message, MessageState.DELIVERED)
    assert (found["provider_id"], found["attempts"], found["uncertain"]) == (shown["id"], 1, 0)
    await send(message)
    assert len(await shared_stack.messages(message.to)) == 1


async def test_an_invitation_reaches_the_mailbox_in_its_language(
    shared_stack: Stack, temporal: Client, send: Send
) -> None:
    message = an_invite(locale="hi-IN")
    await send(message)
    assert await ended(temporal, message) == "sent"
    [shown] = await shared_stack.messages(message.to)
    assert shown["subject"] == "Arogya ने आपको VisitNow पर आमंत्रित किया है"
    assert message.params["link"] in shown["text"]
    assert shown["from"] == "no-reply@illajwala.com"


async def test_whatsapp_leaves_from_its_own_number(shared_stack: Stack, temporal: Client, send: Send) -> None:
    message = an_otp(channel=Channel.WHATSAPP)
    await send(message)
    await ended(temporal, message)
    [shown] = await shared_stack.messages(message.to)
    assert (shown["channel"], shown["from"]) == ("whatsapp", shared_stack.settings.twilio_whatsapp_from)


@pytest.mark.parametrize("mode", ["error", "rate_limited", "timeout", "timeout_after_success", "malformed"])
async def test_a_text_survives_what_its_carrier_does_and_comes_once(
    shared_stack: Stack, temporal: Client, send: Send, mode: str
) -> None:
    message = an_otp()
    await shared_stack.fault("message.create", mode, service="twilio", delay_seconds=4)
    await send(message)
    assert await ended(temporal, message) in {"sent", "delivered"}
    assert len(await shared_stack.messages(message.to)) == 1
    found = await until_state(shared_stack, message, MessageState.DELIVERED)
    # Only a clear no is certain; a lost answer may be told by the callback before anybody looks.
    uncertain = {"rate_limited": {0}, "error": {1}, "timeout": {1}}.get(mode, {0, 1})
    assert found["uncertain"] in uncertain


@pytest.mark.parametrize(("mode", "copies"), [("error", 1), ("rate_limited", 1), ("timeout", 1), ("malformed", 2)])
async def test_mail_survives_too_and_a_copy_bears_the_same_id(
    shared_stack: Stack, temporal: Client, send: Send, mode: str, copies: int
) -> None:
    message = an_invite()
    await shared_stack.fault("send", mode, service="smtp", delay_seconds=4)
    await send(message)
    assert await ended(temporal, message) == "sent"
    shown = await shared_stack.messages(message.to)
    assert len(shown) == copies
    assert len({one["message_id"] for one in shown}) == 1


@pytest.mark.parametrize(
    ("made", "operation", "code"),
    [
        (partial(an_otp, to="+15005550004"), None, "21610"),
        (partial(an_otp, to="+15005550001"), None, "21211"),
        (an_invite, "send", "550"),
    ],
)
async def test_what_is_refused_for_good_is_not_tried_again(
    shared_stack: Stack, temporal: Client, send: Send, made: Callable[[], Message], operation: str | None, code: str
) -> None:
    message = made()
    if operation is not None:
        await shared_stack.fault(operation, "error", service="smtp", status=550)
    await send(message)
    assert await ended(temporal, message) == "failed"
    found = document(shared_stack, message)
    assert (found["error_code"], found["attempts"]) == (code, 1)


async def test_what_has_expired_is_never_sent(shared_stack: Stack, temporal: Client, send: Send) -> None:
    message = an_otp(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await send(message)
    assert await ended(temporal, message) == "expired"
    assert document(shared_stack, message)["attempts"] == 0
    assert await shared_stack.messages(message.to) == []


async def test_nobody_tries_longer_than_it_is_worth(shared_stack: Stack, temporal: Client, send: Send) -> None:
    message = await in_vain(shared_stack, temporal, send)
    assert await ended(temporal, message) == "expired"
    assert document(shared_stack, message)["state"] == "expired"
    assert await shared_stack.messages(message.to) == []


async def test_a_dump_and_the_histories_show_neither_address_nor_words(
    shared_stack: Stack, temporal: Client, send: Send
) -> None:
    messages = [an_otp(), an_invite()]
    for message in messages:
        await send(message)
        await ended(temporal, message)
    dump = json_util.dumps([document(shared_stack, message) for message in messages])
    for message in messages:
        history = await history_in_clear(temporal, message_workflow_id(message.id))
        assert b'"subject_id"' in history, "payloads are read in clear"
        for secret in (message.to, message.to.removeprefix("+91"), *message.params.values()):
            if len(secret) > 1:
                assert secret not in dump
                assert secret.encode() not in history


# What becomes of it


async def callback(stack: Stack, message: Message, form: dict[str, str], *, token: str | None = None) -> httpx.Response:
    path = f"/v1/webhooks/twilio/status?message={message.id}"
    secret = token or (stack.sandbox.config.auth_token or "")
    async with stack.anonymous() as client:
        headers = {"X-Twilio-Signature": sign(secret, stack.api_url + path, form)}
        return await client.post(path, data=form, headers=headers)


async def test_the_phones_fate_is_noted_and_never_taken_back(shared_stack: Stack, temporal: Client, send: Send) -> None:
    message = an_otp()
    await send(message)
    await ended(temporal, message)
    await until_state(shared_stack, message, MessageState.DELIVERED)
    sid = document(shared_stack, message)["provider_id"]
    late = await callback(shared_stack, message, {"MessageSid": sid, "MessageStatus": "sent", "New": "field"})
    assert late.status_code == 204
    assert document(shared_stack, message)["state"] == "delivered"


async def test_a_phone_that_cannot_be_reached_is_noted_with_the_providers_code(
    shared_stack: Stack, temporal: Client, send: Send
) -> None:
    message = an_invite()
    await send(message)
    await ended(temporal, message)
    form = {"MessageSid": "SM" + "e" * 32, "MessageStatus": "undelivered", "ErrorCode": "30003"}
    assert (await callback(shared_stack, message, form)).status_code == 204
    found = document(shared_stack, message)
    assert (found["state"], found["error_code"]) == ("failed", "30003")


async def test_a_callback_without_our_id_is_found_by_the_providers(
    shared_stack: Stack, temporal: Client, send: Send
) -> None:
    message = an_invite()
    await send(message)
    await ended(temporal, message)
    sid = "SM" + random_id("x")[2:]
    shared_stack.db.notifications.update_one({"_id": message.id}, {"$set": {"provider_id": sid}})
    path, form = "/v1/webhooks/twilio/status", {"MessageSid": sid, "MessageStatus": "delivered"}
    signature = sign(shared_stack.sandbox.config.auth_token or "", shared_stack.api_url + path, form)
    async with shared_stack.anonymous() as client:
        answer = await client.post(path, data=form, headers={"X-Twilio-Signature": signature})
    assert answer.status_code == 204
    assert document(shared_stack, message)["state"] == "delivered"


async def test_a_forged_callback_changes_nothing(shared_stack: Stack, temporal: Client, send: Send) -> None:
    message = an_invite()
    await send(message)
    await ended(temporal, message)
    form = {"MessageSid": "SM1", "MessageStatus": "failed"}
    forged = await callback(shared_stack, message, form, token="guessed")
    async with shared_stack.anonymous() as client:
        unsigned = await client.post(f"/v1/webhooks/twilio/status?message={message.id}", data=form)
    for answer in (forged, unsigned):
        assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")
    assert document(shared_stack, message)["state"] == "sent"


async def test_an_erased_reader_gets_nothing(shared_stack: Stack, temporal: Client, send: Send) -> None:
    message = an_otp()
    await shared_stack.fault("message.create", "rate_limited", service="twilio", times=2)
    await send(message)
    client = open_client(shared_stack.servers.vault_mongodb_url(shared_stack.settings.vault_database), "tests")
    keys = client[shared_stack.settings.vault_database]["__keyVault"]
    await keys.delete_one({"keyAltNames": f"{message.subject_id}:identity"})
    client.close()
    assert await ended(temporal, message) == "failed"
    assert document(shared_stack, message)["error_code"] == "erased"
    assert await shared_stack.messages(message.to) == []
