"""A clinic's own words are read by its patients; WhatsApp comes first where both agree; the desk tells again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import pytest_asyncio

from adapters.mongo.repositories import Repositories
from models.consents import Purpose
from models.identity import Role, Subject
from models.ids import reference
from models.links import Link, LinkPurpose, link_token
from models.messaging import Channel
from tests.booking.support import book
from tests.clinics import employee, offer
from tests.messaging.readers import (
    a_reader,
    agrees_to_whatsapp,
    books,
    cancels,
    notice,
    phone_behaves,
    repositories,
    tries,
)
from tests.stack import Json, Stack, eventually

DESK: Final = employee("prompt", Role.STAFF)
ADMIN: Final = employee("prompt", Role.ADMIN)
SID: Final = "HX" + "a" * 32
CANCELLED: Final = {
    "short": "{{ clinic }} {{ registration }}: no visit {{ when }}",
    "subject": "No visit {{ when }}",
    "text": "Dear {{ name }}, {{ doctor }} ({{ registration }}) will not see you.",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stores(shared_stack: Stack) -> AsyncIterator[Repositories]:
    async with repositories(shared_stack) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_words(shared_stack: Stack) -> None:
    """The prompt clinics' own cancellation, which WhatsApp has approved."""
    body = {
        "language": "en",
        "words": CANCELLED,
        "content_sid": SID,
        "content_variables": ["doctor", "when", "reference"],
    }
    async with shared_stack.client(ADMIN) as admin:
        path = "/v1/message-templates/appointment_cancelled"
        (await admin.put(path, json=body, headers={"If-Match": '"0"'})).raise_for_status()


async def booked_and_cancelled(stack: Stack, stores: Repositories, *, whatsapp: bool, **change: object) -> Json:
    """Somebody's cancelled visit, with how its telling ended."""
    reader = await a_reader(stores, **change)
    if whatsapp:
        await agrees_to_whatsapp(stack, reader)
    booked = await books(stack, reader)
    await notice(stack, booked["id"], "appointment_confirmed")
    async with stack.client(reader) as who:
        await cancels(who, booked["id"])
    found = await notice(stack, booked["id"], "appointment_cancelled")
    return {"reader": reader, "appointment": booked["id"], "notice": found}


async def newest(stack: Stack, told: Json) -> Json:
    """The last message to their phone."""
    return (await stack.messages(told["reader"].phone))[0]


@pytest.mark.usefixtures("own_words")
async def test_own_words_are_said_by_text_where_nobody_agreed_to_whatsapp(
    shared_stack: Stack, stores: Repositories
) -> None:
    told = await booked_and_cancelled(shared_stack, stores, whatsapp=False)
    shown = await newest(shared_stack, told)
    assert shown["channel"] == "sms"
    assert shown["text"].startswith("Prompt Clinics Central Maharashtra Medical Council open-1: no visit ")


@pytest.mark.usefixtures("own_words")
async def test_whatsapp_comes_first_with_what_it_has_approved(shared_stack: Stack, stores: Repositories) -> None:
    told = await booked_and_cancelled(shared_stack, stores, whatsapp=True)
    shown = await newest(shared_stack, told)
    assert (shown["channel"], shown["text"].partition(" ")[0]) == ("whatsapp", SID)
    assert reference(told["appointment"]) in shown["text"]
    assert told["notice"]["state"] == "delivered"
    assert set(tries(shared_stack, told["notice"]["_id"])) == {"whatsapp"}


@pytest.mark.usefixtures("own_words")
async def test_a_lost_answer_of_whatsapp_is_found_again_by_what_fills_it(
    shared_stack: Stack, stores: Repositories
) -> None:
    reader = await a_reader(stores)
    await agrees_to_whatsapp(shared_stack, reader)
    booked = await books(shared_stack, reader)
    await notice(shared_stack, booked["id"], "appointment_confirmed")
    await shared_stack.fault("message.create", "timeout_after_success", service="twilio", delay_seconds=4)
    async with shared_stack.client(reader) as who:
        await cancels(who, booked["id"])
    found = await notice(shared_stack, booked["id"], "appointment_cancelled")
    assert found["state"] == "delivered"
    shown = await shared_stack.messages(reader.phone or "-")
    assert [one["channel"] for one in shown].count("whatsapp") == 1


@pytest.mark.usefixtures("own_words")
async def test_whatsapp_that_says_nothing_is_followed_by_text_then_mail(
    shared_stack: Stack, stores: Repositories
) -> None:
    reader = await a_reader(stores)
    await agrees_to_whatsapp(shared_stack, reader)
    await phone_behaves(shared_stack, reader.phone or "", channel="whatsapp", reaches="sent")
    booked = await books(shared_stack, reader)
    await notice(shared_stack, booked["id"], "appointment_confirmed")
    await phone_behaves(shared_stack, reader.phone or "", channel="sms", reaches="undelivered", error_code=30005)
    async with shared_stack.client(reader) as who:
        await cancels(who, booked["id"])
    found = await notice(shared_stack, booked["id"], "appointment_cancelled")
    states = {channel: one["state"] for channel, one in tries(shared_stack, found["_id"]).items()}
    assert states == {"whatsapp": "sent", "sms": "failed", "email": "sent"}


async def test_the_channel_that_somebody_prefers_comes_first(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores)
    async with shared_stack.client(reader) as who:
        answer = await who.patch("/v1/me", json={"preferred_channel": "email"})
        assert answer.json()["preferred_channel"] == "email"
    booked = await books(shared_stack, reader)
    found = await notice(shared_stack, booked["id"], "appointment_confirmed")
    assert set(tries(shared_stack, found["_id"])) == {Channel.EMAIL}


# The desk


async def test_the_log_shows_each_channel_and_try_and_the_patient_their_own(
    shared_stack: Stack, stores: Repositories
) -> None:
    reader = await a_reader(stores)
    await phone_behaves(shared_stack, reader.phone or "", reaches="undelivered", error_code=30003)
    booked = await books(shared_stack, reader)
    await notice(shared_stack, booked["id"], "appointment_confirmed")
    for account in (DESK, reader):
        async with shared_stack.client(account) as who:
            answer = await who.get(f"/v1/appointments/{booked['id']}/messages")
        [shown] = answer.json()["items"]
        assert (shown["template"], shown["recipient_id"]) == ("appointment_confirmed", reader.id)
        first, second = shown["channels"]
        assert (first["channel"], first["state"], first["error_code"]) == ("sms", "failed", "30003")
        assert (second["channel"], second["state"]) == ("email", "sent")
        assert [first["log"][at]["what"] for at in (0, -1)] == ["tried", "failed"]
        for secret in (reader.phone, reader.email, reader.name):
            assert str(secret) not in answer.text


async def test_the_desk_tells_it_again_once_per_key(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores)
    async with shared_stack.client(reader) as who:
        booked = await book(shared_stack, who, offer("prompt", "free"))
    first = await notice(shared_stack, booked["id"], "appointment_confirmed")
    path = f"/v1/appointments/{booked['id']}/messages/{first['_id']}/resend"
    async with shared_stack.client(DESK) as desk:
        answers = [await desk.post(path, headers={"Idempotency-Key": "again"}) for _ in range(2)]
        assert [one.status_code for one in answers] == [202, 202]
        assert answers[0].json() == answers[1].json() != {"id": first["_id"]}
        await eventually(lambda: shared_stack.messages(reader.phone or "-"), lambda found: len(found) == 2)
        missing = await desk.post(f"/v1/appointments/{booked['id']}/messages/apt_x/resend")
        assert missing.status_code == 404
    async with shared_stack.client(reader) as who:
        assert (await who.post(path)).status_code == 403
        await cancels(who, booked["id"])
    async with shared_stack.client(DESK) as desk:
        late = await desk.post(path)
    assert (late.status_code, late.json()["code"]) == (409, "state_conflict")
    assert len([one for one in await shared_stack.messages(reader.phone or "-") if "confirmed" in one["text"]]) == 2


# E-mails


async def test_a_mail_bears_the_clinics_looks_and_brings_the_visit_for_the_calendar(
    shared_stack: Stack, stores: Repositories
) -> None:
    reader = await a_reader(stores, phone=None, name="Asha <b>Patil</b>")
    booked = await books(shared_stack, reader)
    await notice(shared_stack, booked["id"], "appointment_confirmed")
    async with shared_stack.client(reader) as who:
        await cancels(who, booked["id"])
    await notice(shared_stack, booked["id"], "appointment_cancelled")
    cancelled, confirmed = await eventually(
        lambda: shared_stack.messages(reader.email or "-"), lambda found: len(found) == 2
    )
    assert confirmed["headers"]["From"].startswith("Prompt Clinics Central <")
    assert "Asha &lt;b&gt;Patil&lt;/b&gt;" in confirmed["html"]
    assert f'<a href="{shared_stack.api_url}/v1/links/lnk.' in confirmed["html"]
    assert "Asha <b>Patil</b>" in confirmed["text"]
    # What a visit itself needs cannot be unsubscribed from.
    assert "List-Unsubscribe" not in confirmed["headers"]
    first, second = (_calendar(one) for one in (confirmed, cancelled))
    assert (first["METHOD"], second["METHOD"]) == ("REQUEST", "CANCEL")
    assert first["UID"] == second["UID"] == booked["id"]
    assert int(first["SEQUENCE"]) < int(second["SEQUENCE"])
    assert f"mailto:{reader.email}" in confirmed["attachments"][0]["text"].replace("\r\n ", "").replace("\n ", "")
    assert confirmed["message_id"] != cancelled["message_id"]


def _calendar(mail: Json) -> dict[str, str]:
    [attached] = mail["attachments"]
    assert (attached["name"], attached["type"]) == ("visit.ics", "application/ics")
    lines = attached["text"].splitlines()
    return {line.partition(":")[0]: line.partition(":")[2] for line in lines if ":" in line}


async def test_one_click_ends_what_was_not_asked_for(shared_stack: Stack, stores: Repositories) -> None:
    reader = await a_reader(stores)
    opens = Link(
        purpose=LinkPurpose.UNSUBSCRIBE,
        tenant_id="tnt_prompt",
        appointment_id="apt_1",
        subject_id=reader.id,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    path = f"/v1/links/{link_token(shared_stack.settings.id_secret, opens)}/unsubscribe"
    scope = Subject(reader.id)
    async with shared_stack.anonymous() as anybody:
        page = await anybody.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert await stores.consents.allows(scope, reader.id, Purpose.FOLLOW_UP)
        for _ in range(2):
            answer = await anybody.post(path, data={"List-Unsubscribe": "One-Click"})
            assert answer.status_code == 200, answer.text
        assert (await anybody.post(path.replace("lnk.", "lnk.x"))).status_code == 404
    assert not await stores.consents.allows(scope, reader.id, Purpose.FOLLOW_UP)
    assert await stores.consents.allows(scope, reader.id, Purpose.CARE)
