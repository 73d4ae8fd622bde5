"""Messages that only one test knows, somebody who sends them, and the ways that a delivery can go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from models.ids import message_workflow_id, random_id
from models.messaging import Channel, Message, Template
from tests.stack import Stack
from workflows.messenger import DurableMessenger

CODE: Final = "135790"
Send = Callable[[Message], Awaitable[None]]


@asynccontextmanager
async def messenger(stack: Stack, temporal: Client) -> AsyncIterator[DurableMessenger]:
    """What the API and the workers send with, over the stack's own stores."""
    stores = Repositories.connect(mongo_addresses(stack.settings), on_time_changed=_nobody)
    try:
        yield DurableMessenger(temporal, stores.notifications)
    finally:
        await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


def an_otp(**change: object) -> Message:
    """A code to a phone that no other test writes to."""
    fields: dict[str, object] = {
        "id": random_id("msg"),
        "tenant_id": "platform",
        "subject_id": random_id("usr"),
        "channel": Channel.SMS,
        "to": f"+9198{int(random_id('x').encode().hex(), 16) % 10**8:08d}",
        "template": Template.OTP,
        "params": {"code": CODE, "minutes": "5"},
        "expires_at": datetime.now(UTC) + timedelta(minutes=5),
        **change,
    }
    return Message.model_validate(fields)


def an_invite(**change: object) -> Message:
    params = {"practice": "Arogya", "link": "https://arogya.illajwala.com/invite?token=t0"}
    to = f"{random_id('mail')}@example.in"
    return an_otp(**{"channel": Channel.EMAIL, "to": to, "template": Template.INVITE, "params": params, **change})


async def ended(temporal: Client, message: Message) -> str:
    return str(await temporal.get_workflow_handle(message_workflow_id(message.id)).result())


async def at_once(stack: Stack, temporal: Client, send: Send) -> Message:  # noqa: ARG001  as the others
    """The first try is taken."""
    message = an_otp()
    await send(message)
    await ended(temporal, message)
    return message


async def repeated(stack: Stack, temporal: Client, send: Send) -> Message:
    """The first try is refused for now."""
    message = an_otp()
    await stack.fault("message.create", "rate_limited", service="twilio", times=2)
    await send(message)
    await ended(temporal, message)
    return message


async def in_vain(stack: Stack, temporal: Client, send: Send) -> Message:
    """Nobody takes it for as long as it is worth sending."""
    message = an_otp(expires_at=datetime.now(UTC) + timedelta(seconds=4))
    await stack.fault("message.create", "rate_limited", service="twilio", times=20)
    try:
        await send(message)
        await ended(temporal, message)
    finally:
        async with stack.control() as control:
            (await control.delete("/_control/faults")).raise_for_status()
    return message


DELIVERIES: Final = {"sent_at_once": at_once, "sent_later": repeated, "sent_in_vain": in_vain}
"""Every way in which a delivery decides differently."""
