"""Booking over HTTP with workers at work: the contract's words, its retries and its refusals."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest
from icalendar import Calendar

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from cli.accounts import ACCOUNTS, patient
from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR
from cli.seed.sanjeevani import TENANT as HASTY_TENANT
from cli.seed.sanjeevani import ZOYA_MERCHANT
from models.errors import Code
from models.identity import System
from models.ids import reference
from models.providers import PaymentMode
from models.signatures import sign
from models.tenancy import Branding, TenantSettings
from tests.adapters.mongo.builders import an_entry
from tests.stack import SHORT, Json, Stack, eventually

PROVIDER: Final = ANANYA_RAO.provider
ONLINE: Final = next(one for one in PROVIDER.services if one.payment is PaymentMode.ONLINE)
AT_CLINIC: Final = next(one for one in PROVIDER.services if one.payment is PaymentMode.AT_CLINIC)
HASTY: Final = ZOYA_MERCHANT.provider
HASTY_SERVICE: Final = next(one for one in HASTY.services if one.payment is PaymentMode.ONLINE)
_TAKEN: Final = itertools.count()


async def _start(stack: Stack, service_id: str = ONLINE.id) -> str:
    """A free start that no other test of this module takes: they go through the list from its front."""
    starts = await stack.free_starts(PROVIDER.id, service_id)
    return starts[next(_TAKEN) % 40]


async def _held(stack: Stack, client: httpx.AsyncClient, reason: str | None = None) -> Json:
    answer = await stack.place(client, PROVIDER.id, ONLINE.id, await _start(stack), reason=reason)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def _shown(client: httpx.AsyncClient, appointment_id: str) -> Json:
    answer = await client.get(f"/v1/appointments/{appointment_id}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def _confirmed(stack: Stack, client: httpx.AsyncClient, held: Json, webhook: str = "never") -> Json:
    """Pay, and report it as the browser does; unless told otherwise the gateway never says a word about it."""
    paid = await stack.pay(held["payment"]["order_id"], webhook=webhook)
    answer = await client.post(f"/v1/appointments/{held['id']}/payment", json=_report(paid))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def _report(paid: Json) -> Json:
    return {
        "razorpay_payment_id": paid["payment_id"],
        "razorpay_order_id": paid["order_id"],
        "razorpay_signature": paid["signature"],
    }


# Placing


async def test_a_booking_has_the_contract_s_form(stack: Stack) -> None:
    start = await _start(stack)
    who = {"name": "Aarav Iyer", "date_of_birth": "2019-05-01", "relation": "son"}
    began = datetime.now(UTC)
    async with stack.client() as client:
        answer = await stack.place(client, PROVIDER.id, ONLINE.id, start, patient=who, reason="  fever\nsince Monday ")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/appointments/{made['id']}"
    assert made.keys() == {
        "id", "reference", "state", "payment_state", "provider", "clinic", "service", "start", "end", "timezone",
        "version", "payment", "policy", "refunds", "actions", "waiting_for", "patient", "reason", "history",
        "server_time",
    }  # fmt: skip
    assert made["reference"] == reference(made["id"])
    assert (made["state"], made["payment_state"]) == ("held", "pending")
    assert (made["provider"]["name"], made["clinic"]["slug"]) == (PROVIDER.name, INDIRANAGAR.slug)
    assert (made["start"], made["timezone"]) == (start, "Asia/Kolkata")
    assert (made["patient"], made["reason"]) == (who, "fever\nsince Monday")
    assert made["actions"] == ["pay", "cancel"]
    assert made["waiting_for"]["event"] == "payment"
    first_step = made["history"][0]
    assert (first_step["state"], first_step["by"]) == ("held", "patient")
    assert abs(datetime.fromisoformat(made["server_time"]) - datetime.now(UTC)) < timedelta(minutes=1)
    payment = made["payment"]
    assert payment.keys() == {"status", "order_id", "key_id", "amount", "deadline", "checkout_url"}
    assert payment["amount"] == {"amount": ONLINE.fee.amount, "currency": "INR"}
    assert payment["checkout_url"] == f"{stack.sandbox.url}/checkout/{payment['order_id']}"
    assert timedelta(minutes=9) < datetime.fromisoformat(payment["deadline"]) - began < timedelta(minutes=11)
    assert made["policy"]["refund_percent_now"] == 100
    assert not {"subject_id", "tenant_id", "practitioner_id", "body_hash"} & made.keys()


async def test_the_clinic_is_told_who_comes_when_somebody_books_for_themselves(stack: Stack) -> None:
    async with stack.client() as client:
        booked = (await stack.place(client, PROVIDER.id, ONLINE.id, await _start(stack))).json()
        assert booked["patient"] is None
        assert (await _shown(client, booked["id"]))["patient"] is None
    who = {"name": ACCOUNTS["patient"].name, "date_of_birth": None, "relation": "self"}
    async with stack.client("doctor") as doctor, stack.client("staff") as staff:
        assert (await _shown(doctor, booked["id"]))["patient"] == who
        assert (await _shown(staff, booked["id"]))["patient"] == who
        listed = (await staff.get("/v1/appointments", params={"patient_id": ACCOUNTS["patient"].id})).json()["items"]
    assert {one["id"]: one["patient"] for one in listed}[booked["id"]] == who


async def test_what_is_paid_at_the_clinic_is_confirmed_at_once(stack: Stack) -> None:
    async with stack.client() as client:
        answer = await stack.place(client, PROVIDER.id, AT_CLINIC.id, await _start(stack, AT_CLINIC.id))
    made = answer.json()
    assert (answer.status_code, made["state"], made["payment_state"]) == (201, "confirmed", "due_at_clinic")
    assert made["payment"] is None
    assert made["actions"] == ["cancel", "reschedule"]


async def test_a_retry_gets_the_same_appointment_as_it_is_now(stack: Stack, key: str) -> None:
    start = await _start(stack)
    async with stack.client() as client:
        first = await stack.place(client, PROVIDER.id, ONLINE.id, start, key=key, reason="cough")
        india = datetime.fromisoformat(start).astimezone().isoformat()
        again = await stack.place(client, PROVIDER.id, ONLINE.id, india, key=key, reason="cough ")
        assert (again.status_code, again.headers["location"]) == (201, first.headers["location"])
        await client.post(f"/v1/appointments/{first.json()['id']}/cancel", json={"reason": "made up"})
        after = await stack.place(client, PROVIDER.id, ONLINE.id, start, key=key, reason="cough")
        assert (after.status_code, after.json()["state"]) == (201, "cancelled")
        assert after.headers["location"] == first.headers["location"]


async def test_a_key_is_good_for_one_request(stack: Stack, key: str) -> None:
    start = await _start(stack)
    async with stack.client() as client, stack.client("other_patient") as other:
        first = await stack.place(client, PROVIDER.id, ONLINE.id, start, key=key)
        assert first.status_code == 201
        for changed in (
            {"reason": "another"},
            {"patient": {"name": "B", "date_of_birth": "2000-01-01", "relation": "x"}},
        ):
            reused = await stack.place(client, PROVIDER.id, ONLINE.id, start, key=key, **changed)
            assert (reused.status_code, reused.json()["code"]) == (422, Code.IDEMPOTENCY_KEY_REUSED)
        somebody_else_s = await stack.place(other, PROVIDER.id, ONLINE.id, await _start(stack), key=key)
        assert somebody_else_s.status_code == 201
        assert somebody_else_s.json()["id"] != first.json()["id"]


async def test_the_same_request_ten_times_at_once_is_one_booking(stack: Stack, key: str) -> None:
    start = await _start(stack)
    async with stack.client() as client:
        answers = await asyncio.gather(
            *(stack.place(client, PROVIDER.id, ONLINE.id, start, key=key) for _ in range(10))
        )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_refused_key_may_be_tried_again(stack: Stack, key: str) -> None:
    start = await _start(stack)
    async with stack.client() as client, stack.client("other_patient") as other:
        winner = await stack.place(other, PROVIDER.id, ONLINE.id, start)
        refused = await stack.place(client, PROVIDER.id, ONLINE.id, start, key=key)
        assert (refused.status_code, refused.json()["code"]) == (409, Code.SLOT_TAKEN)
        await other.post(f"/v1/appointments/{winner.json()['id']}/cancel", json={"reason": "made up"})
        again = await stack.place(client, PROVIDER.id, ONLINE.id, start, key=key)
        assert again.status_code == 201


async def test_a_taken_time_comes_with_three_alternatives(stack: Stack) -> None:
    start = await _start(stack)
    async with stack.client() as client, stack.client("other_patient") as other:
        assert (await stack.place(client, PROVIDER.id, ONLINE.id, start)).status_code == 201
        refused = await stack.place(other, PROVIDER.id, ONLINE.id, start)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["code"] == Code.SLOT_TAKEN
    assert len(problem["alternatives"]) == 3
    free = await stack.free_starts(PROVIDER.id, ONLINE.id)
    assert problem["alternatives"] == [one for one in free if one > start][:3]


async def test_twenty_after_one_slot_have_one_winner(stack: Stack) -> None:
    start = await _start(stack)
    clients = [stack.client(patient(number)) for number in range(100, 120)]
    answers = await asyncio.gather(*(stack.place(one, PROVIDER.id, ONLINE.id, start) for one in clients))
    for client in clients:
        await client.aclose()
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]


@pytest.mark.parametrize(
    ("move", "code"),
    [
        (timedelta(minutes=5), Code.SLOT_INVALID),
        (timedelta(seconds=1), Code.SLOT_INVALID),
        (timedelta(days=-400), Code.TOO_SOON),
        (timedelta(days=400), Code.TOO_FAR),
    ],
)
async def test_a_time_that_cannot_be_booked(stack: Stack, move: timedelta, code: Code) -> None:
    start = datetime.fromisoformat(await _start(stack)) + move
    async with stack.client() as client:
        answer = await stack.place(client, PROVIDER.id, ONLINE.id, start.isoformat())
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("provider", "service"), [("prv_unknown", ONLINE.id), (PROVIDER.id, "svc_unknown")])
async def test_an_unknown_provider_or_service(stack: Stack, provider: str, service: str) -> None:
    async with stack.client() as client:
        answer = await stack.place(client, provider, service, await _start(stack))
    assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND)


# Reading


async def test_lists_are_paged_and_filtered(stack: Stack) -> None:
    who = patient(300)
    async with stack.client(who) as client:
        made = [await _held(stack, client) for _ in range(5)]
        await client.post(f"/v1/appointments/{made[2]['id']}/cancel", json={"reason": "made up"})
        ids: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get("/v1/appointments", params={"limit": "2", **cursor})).json()
            ids += [one["id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        newest_first = sorted(made, key=lambda one: str(one["start"]), reverse=True)
        assert ids == [one["id"] for one in newest_first]
        cancelled = (await client.get("/v1/appointments", params={"state": "cancelled"})).json()["items"]
        assert [one["id"] for one in cancelled] == [made[2]["id"]]
        first = min(str(one["start"]) for one in made)
        span = (await client.get("/v1/appointments", params={"from": first, "to": first})).json()["items"]
        assert span == []
        day = (await client.get("/v1/appointments", params={"from": first[:10], "to": first[:10]})).json()["items"]
        assert {one["id"] for one in day} == {one["id"] for one in made if str(one["start"])[:10] == first[:10]}
        for bad in ("x", "W10"):
            answer = await client.get("/v1/appointments", params={"cursor": bad})
            assert (answer.status_code, answer.json()["code"]) == (400, Code.CURSOR_INVALID)


async def test_the_clinic_sees_its_own_view(stack: Stack) -> None:
    async with stack.client() as client, stack.client("staff") as staff, stack.client("doctor") as doctor:
        held = await _held(stack, client, reason="fever")
        for reader in (staff, doctor):
            shown = await _shown(reader, held["id"])
            assert shown["reason"] == "fever"
            assert shown["actions"] == ["cancel"]
            assert shown["policy"]["refund_percent_now"] == 100


async def test_the_calendar_file(stack: Stack) -> None:
    async with stack.client() as client:
        held = await _held(stack, client, reason="canary-words")
        path = f"/v1/appointments/{held['id']}/calendar.ics"
        answer = await client.get(path)
        assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
        assert answer.headers["content-disposition"] == f'attachment; filename="{held["reference"]}.ics"'
        [event] = Calendar.from_ical(answer.text).events
        assert event.start == datetime.fromisoformat(held["start"])
        assert event["status"] == "TENTATIVE"
        assert PROVIDER.name in str(event["summary"])
        assert "canary" not in answer.text
        await client.post(f"/v1/appointments/{held['id']}/cancel", json={"reason": "made up"})
        after = await client.get(path)
        [cancelled] = Calendar.from_ical(after.text).events
        assert (cancelled["uid"], cancelled["status"]) == (event["uid"], "CANCELLED")
        assert int(str(cancelled["sequence"])) > int(str(event["sequence"]))


# Paying


async def test_a_reported_payment_is_answered_with_the_confirmed_appointment(stack: Stack) -> None:
    async with stack.client() as client:
        held = await _held(stack, client)
        confirmed = await _confirmed(stack, client, held)
        assert (confirmed["state"], confirmed["payment_state"]) == ("confirmed", "captured")
        assert confirmed["payment"] is None
        assert confirmed["actions"] == ["cancel", "reschedule"]


async def test_reporting_twice_changes_nothing(stack: Stack) -> None:
    async with stack.client() as client:
        held = await _held(stack, client)
        paid = await stack.pay(held["payment"]["order_id"])
        first = await client.post(f"/v1/appointments/{held['id']}/payment", json=_report(paid))
        again = await client.post(f"/v1/appointments/{held['id']}/payment", json=_report(paid))
        assert {**again.json(), "server_time": 0} == {**first.json(), "server_time": 0}


async def test_a_genuine_signature_of_somebody_else_s_payment_confirms_nothing(stack: Stack) -> None:
    async with stack.client() as client, stack.client("other_patient") as other:
        mine, theirs = await _held(stack, client), await _held(stack, other)
        paid = await stack.pay(theirs["payment"]["order_id"], webhook="never")
        for report in (_report(paid), {**_report(paid), "razorpay_order_id": mine["payment"]["order_id"]}):
            answer = await client.post(f"/v1/appointments/{mine['id']}/payment", json=report)
            assert (answer.status_code, answer.json()["code"]) == (400, Code.SIGNATURE_INVALID)
        assert (await _shown(client, mine["id"]))["state"] == "held"


async def test_a_genuine_report_of_a_payment_that_the_gateway_does_not_know_confirms_nothing(stack: Stack) -> None:
    """Whoever has the key's secret still cannot invent money: the gateway is asked."""
    async with stack.client() as client:
        held = await _held(stack, client)
        order_id = held["payment"]["order_id"]
        secret = stack.settings.razorpay_key_secret.get_secret_value().encode()
        report = {
            "razorpay_payment_id": "pay_invented",
            "razorpay_order_id": order_id,
            "razorpay_signature": sign(secret, f"{order_id}|pay_invented".encode()),
        }
        answer = await client.post(f"/v1/appointments/{held['id']}/payment", json=report)
        assert (answer.status_code, answer.json()["state"]) == (200, "held")


# After the deadline


@pytest.fixture(scope="module")
async def hasty(stack: Stack) -> AsyncIterator[Stack]:
    """The same stack, whose second tenant waits a few seconds only."""

    async def nobody_listens(practitioner_id: str) -> None:
        del practitioner_id

    stores = Repositories.connect(mongo_addresses(stack.settings), on_time_changed=nobody_listens)
    settings = TenantSettings.of(SHORT, ("en",), Branding())
    await stores.tenancy.replace_settings(
        System("a test"), HASTY_TENANT.id, settings, replaces=1, entry=an_entry(at=datetime.now(UTC))
    )
    yield stack
    await stores.close()


async def _hasty_hold(stack: Stack, client: httpx.AsyncClient, number: int) -> Json:
    starts = await stack.free_starts(HASTY.id, HASTY_SERVICE.id)
    answer = await stack.place(client, HASTY.id, HASTY_SERVICE.id, starts[number])
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def test_who_watches_sees_the_expiry_and_then_the_end(hasty: Stack) -> None:
    async with hasty.client() as client:
        held = await _hasty_hold(hasty, client, 0)
        async with asyncio.timeout(30), client.stream("GET", f"/v1/appointments/{held['id']}/events") as stream:
            lines = [line async for line in stream.aiter_lines()]
    seen = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [one["state"] for one in seen] == ["held", "expired"]
    assert [one["version"] for one in seen] == sorted(one["version"] for one in seen)
    assert seen[-1]["actions"] == []
    assert seen[-1]["payment"] is None


async def test_a_report_after_expiry_is_answered_and_the_money_is_not_kept(hasty: Stack) -> None:
    async with hasty.client() as client:
        held = await _hasty_hold(hasty, client, 1)

        async def shown() -> Json:
            return await _shown(client, held["id"])

        await eventually(shown, lambda seen: bool(seen["state"] == "expired"), 30)
        paid = await hasty.pay(held["payment"]["order_id"], webhook="never")
        answer = await client.post(f"/v1/appointments/{held['id']}/payment", json=_report(paid))
        assert (answer.status_code, answer.json()["state"]) == (200, "expired")
        late = await eventually(shown, lambda seen: bool(seen["payment_state"] != "pending"))
    assert (late["state"], late["payment_state"]) == ("expired", "voided")


# Cancelling and refunds


async def test_cancelling_in_time_gives_everything_back(stack: Stack) -> None:
    async with stack.client() as client:
        confirmed = await _confirmed(stack, client, await _held(stack, client))
        answer = await client.post(f"/v1/appointments/{confirmed['id']}/cancel", json={"reason": "better again"})
        assert answer.status_code == 200, answer.text
        cancelled = answer.json()
        assert cancelled["state"] == "cancelled"
        assert cancelled["refund"]["amount"] == {"amount": ONLINE.fee.amount, "currency": "INR"}
        assert cancelled["refund"]["state"] in {"pending", "processed"}
        assert cancelled["actions"] == []
        again = await client.post(f"/v1/appointments/{confirmed['id']}/cancel", json={"reason": "twice"})
        assert (again.status_code, again.json()["code"]) == (409, Code.STATE_CONFLICT)


async def test_cancelling_what_was_not_paid_gives_nothing_back(stack: Stack) -> None:
    async with stack.client() as client:
        held = await _held(stack, client)
        answer = await client.post(f"/v1/appointments/{held['id']}/cancel", json={"reason": "changed my mind"})
        assert (answer.status_code, answer.json()["refund"]) == (200, None)


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": "x" * 501}, {"reason": "x", "refund": 1}, {"reason": 1}]
)
async def test_cancelling_takes_a_reason_and_nothing_else(stack: Stack, body: Json) -> None:
    async with stack.client() as client:
        held = await _held(stack, client)
        answer = await client.post(f"/v1/appointments/{held['id']}/cancel", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)
        assert (await _shown(client, held["id"]))["state"] == "held"


async def test_the_clinic_refunds_by_parts_and_never_too_much(stack: Stack) -> None:
    async with stack.client() as client, stack.client("staff") as staff:
        confirmed = await _confirmed(stack, client, await _held(stack, client), webhook="once")
        path = f"/v1/appointments/{confirmed['id']}/refunds"
        half = {"amount": {"amount": ONLINE.fee.amount // 2, "currency": "INR"}, "reason": "the doctor was late"}
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        first = await staff.post(path, json=half, headers=headers)
        assert first.status_code == 201, first.text
        assert first.json()["amount"] == half["amount"]
        again = await staff.post(path, json=half, headers=headers)
        assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
        other = await staff.post(path, json={**half, "reason": "another"}, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, Code.IDEMPOTENCY_KEY_REUSED)
        too_much = {"amount": {"amount": ONLINE.fee.amount, "currency": "INR"}, "reason": "everything"}
        refused = await staff.post(path, json=too_much, headers={"Idempotency-Key": secrets.token_hex(8)})
        assert (refused.status_code, refused.json()["code"]) == (422, Code.REFUND_EXCEEDS_PAYMENT)

        async def listed() -> Json:
            found: Json = (await staff.get(path)).json()
            return found

        done = await eventually(listed, lambda seen: bool(seen["items"][0]["state"] == "processed"))
        assert [one["id"] for one in done["items"]] == [first.json()["id"]]
        assert done["items"][0]["note"] == "the doctor was late"
        theirs = (await client.get(path)).json()["items"]
        assert [(one["id"], one["reason"], one["note"]) for one in theirs] == [(first.json()["id"], "goodwill", None)]
        shown = await _shown(client, confirmed["id"])
        assert (shown["state"], shown["payment_state"]) == ("confirmed", "partially_refunded")
        forbidden = await client.post(path, json=half, headers={"Idempotency-Key": "x"})
        assert (forbidden.status_code, forbidden.json()["code"]) == (403, Code.FORBIDDEN)


# Operations


async def test_an_operator_reads_what_a_booking_waits_for(stack: Stack) -> None:
    async with stack.client() as client, stack.client("admin") as admin:
        held = await _held(stack, client)
        answer = await admin.get(f"/v1/operations/workflows/booking:{held['id']}")
        assert answer.status_code == 200, answer.text
        seen = answer.json()
        assert (seen["type"], seen["status"], seen["waiting_for"]["event"]) == ("BookingWorkflow", "running", "payment")
        assert seen["temporal_ui_url"].startswith(stack.settings.temporal_ui_url)
        assert held["id"] in seen["temporal_ui_url"]
        assert str(ACCOUNTS["patient"].name) not in answer.text
    acts = list(stack.db.audit.find({"action": "admin.act", "actor": ACCOUNTS["admin"].id}))
    assert [one["target"] for one in acts] == [f"booking:{held['id']}"]


async def test_everything_is_ready(stack: Stack) -> None:
    async with stack.anonymous() as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
