"""People who are told things, and a clinic where nobody waits long for a receipt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
from temporalio.client import Client

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from models.identity import PLATFORM, Account, Role, System
from models.ids import notice_workflow_id, random_id
from tests.booking.support import a_start, book
from tests.clinics import Offer, offer
from tests.stack import Json, Stack, eventually

WORLD: Final = System("tests make people")
PROMPT: Final = offer("prompt", "free")


@asynccontextmanager
async def repositories(stack: Stack) -> AsyncIterator[Repositories]:
    """The stack's own stores."""
    stores = Repositories.connect(mongo_addresses(stack.settings), on_time_changed=_nobody)
    try:
        yield stores
    finally:
        await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


def a_phone() -> str:
    """A number that no other test writes to."""
    return f"+9198{int(random_id('x').encode().hex(), 16) % 10**8:08d}"


async def a_reader(stores: Repositories, **change: object) -> Account:
    """A patient with a phone and a mailbox, whom no other test knows."""
    key = random_id("usr")
    account = Account.model_validate(
        {
            "id": key,
            "tenant_id": PLATFORM,
            "roles": {Role.PATIENT},
            "name": "Asha Patil",
            "phone": a_phone(),
            "email": f"{key}@example.in",
            **change,
        }
    )
    await stores.users.put(WORLD, account)
    return account


async def books(stack: Stack, reader: Account, at: Offer = PROMPT) -> Json:
    """Somebody books a free visit."""
    async with stack.client(reader) as who:
        return await book(stack, who, at, await a_start(stack, at))


async def cancels(who: httpx.AsyncClient, appointment_id: str) -> None:
    """They cancel it."""
    answer = await who.post(f"/v1/appointments/{appointment_id}/cancel", json={"reason": "not needed any more"})
    assert answer.is_success, answer.text


async def notice(stack: Stack, appointment_id: str, template: str, seconds: float = 30) -> Json:
    """The notice of that kind, once its telling has ended."""

    async def look() -> Json:
        return stack.db.notices.find_one({"appointment_id": appointment_id, "template": template}) or {}

    return await eventually(look, lambda found: found.get("state", "planned") != "planned", seconds)


def tries(stack: Stack, notice_id: str) -> dict[str, Json]:
    """What became of each channel."""
    return {one["channel"]: one for one in stack.db.notifications.find({"notice_id": notice_id})}


async def told(temporal: Client, notice_id: str) -> str:
    """How the telling ended, by its workflow."""
    return str(await temporal.get_workflow_handle(notice_workflow_id(notice_id)).result())


async def phone_behaves(stack: Stack, number: str, **how: object) -> None:
    """A phone's messages reach so far and no further."""
    async with stack.control() as control:
        (await control.post("/_control/phones", json={"to": number, **how})).raise_for_status()


async def agrees_to_whatsapp(stack: Stack, reader: Account) -> None:
    """They say yes to the notice that is shown."""
    async with stack.client(reader) as who:
        shown = (await who.get("/v1/me/consents")).json()["items"]
        version = next(one["notice"]["version"] for one in shown if one["purpose"] == "whatsapp")
        body = {"granted": True, "notice_version": version, "language": "en"}
        (await who.put("/v1/me/consents/whatsapp", json=body)).raise_for_status()


# Every way in which a telling decides differently


async def _at_once(stack: Stack, stores: Repositories) -> str:
    booked = await books(stack, await a_reader(stores, email=None))
    return str((await notice(stack, booked["id"], "appointment_confirmed"))["_id"])


async def _received(stack: Stack, stores: Repositories) -> str:
    booked = await books(stack, await a_reader(stores))
    return str((await notice(stack, booked["id"], "appointment_confirmed"))["_id"])


async def _silent(stack: Stack, stores: Repositories) -> str:
    reader = await a_reader(stores)
    await phone_behaves(stack, reader.phone or "", reaches="sent")
    booked = await books(stack, reader)
    return str((await notice(stack, booked["id"], "appointment_confirmed"))["_id"])


async def _unheard(stack: Stack, stores: Repositories) -> str:
    """The provider takes nothing for now, until the next channel's turn has come."""
    await stack.fault("message.create", "rate_limited", service="twilio", times=20)
    try:
        return await _received(stack, stores)
    finally:
        async with stack.control() as control:
            (await control.delete("/_control/faults")).raise_for_status()


async def _nobody_there(stack: Stack, stores: Repositories) -> str:
    booked = await books(stack, await a_reader(stores, phone=None, email=None))
    return str((await notice(stack, booked["id"], "appointment_confirmed"))["_id"])


TELLINGS: Final = {
    "told_at_once": _at_once,
    "told_with_receipt": _received,
    "told_by_mail": _silent,
    "told_by_mail_later": _unheard,
    "told_nobody": _nobody_there,
}
"""By the name of its history; each gives the notice's id."""
