"""Webhooks and payment reports: what is genuine is kept once, what is not changes nothing. Nobody works here."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from adapters.mongo.repositories import Repositories
from api.edge import MAX_BODY_BYTES
from api.routers.booking import PLACEMENTS
from api.routers.payments import SECOND_WORD_SECONDS
from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO
from models.booking import Appointment, Intake
from models.errors import Code
from models.signatures import sign
from sandbox.servers.stack import Addresses
from tests.api.conftest import WEBHOOK_SECRETS, Api, a_booking, hold, reread, serving

Json = dict[str, Any]
NEWEST: Final = WEBHOOK_SECRETS[0].encode()
WEBHOOK: Final = "/v1/webhooks/razorpay"
CANARY: Final = "canary-93b1"


def _envelope(kind: str = "payment.captured", **entity: object) -> bytes:
    payment = {
        "id": f"pay_{secrets.token_hex(7)}",
        "order_id": f"order_{secrets.token_hex(7)}",
        "email": f"{CANARY}@example.com",
        "contact": CANARY,
        "vpa": f"{CANARY}@upi",
        "notes": {"reason": CANARY},
        **entity,
    }
    sent = int(datetime.now(UTC).timestamp()) - 2
    payload = {"payment": {"entity": payment}}
    return json.dumps({"entity": "event", "event": kind, "payload": payload, "created_at": sent}).encode()


@pytest.fixture
async def gateway(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client(**{"Content-Type": "application/json"}) as client:
        yield client


@pytest.fixture(scope="module")
def inbox(servers: Addresses, api: Api) -> Iterator[Collection[Json]]:
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database), tz_aware=True) as client:
        yield client[api.settings.database]["webhook_inbox"]


def _headers(body: bytes, event_id: str | None = None, secret: bytes = NEWEST) -> dict[str, str]:
    return {
        "X-Razorpay-Signature": sign(secret, body),
        "X-Razorpay-Event-Id": event_id or f"evt_{secrets.token_hex(8)}",
    }


async def _passed_on(inbox: Collection[Json], event_id: str) -> Json:
    async with asyncio.timeout(20):
        while True:
            found = inbox.find_one({"_id": event_id})
            assert found is not None
            if "passed_on_at" in found:
                return found
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("secret", [one.encode() for one in WEBHOOK_SECRETS], ids=["newest", "older"])
async def test_a_genuine_event_is_kept_and_passed_on(
    gateway: httpx.AsyncClient, inbox: Collection[Json], secret: bytes
) -> None:
    body = _envelope()
    headers = _headers(body, secret=secret)
    answer = await gateway.post(WEBHOOK, content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    kept = await _passed_on(inbox, headers["X-Razorpay-Event-Id"])
    assert CANARY not in str(kept)


async def test_a_further_word_about_a_payment_waits_until_the_first_has_had_its_effect(
    gateway: httpx.AsyncClient, inbox: Collection[Json]
) -> None:
    payment = {"id": f"pay_{secrets.token_hex(7)}", "order_id": f"order_{secrets.token_hex(7)}"}
    began = time.monotonic()
    for kind in ("payment.authorized", "payment.captured"):
        body = _envelope(kind, **payment)
        headers = _headers(body)
        assert (await gateway.post(WEBHOOK, content=body, headers=headers)).status_code == 200
        await _passed_on(inbox, headers["X-Razorpay-Event-Id"])
    assert time.monotonic() - began >= SECOND_WORD_SECONDS


async def test_an_event_of_an_unknown_kind_is_kept_and_passed_on(
    gateway: httpx.AsyncClient, inbox: Collection[Json]
) -> None:
    body = json.dumps({"event": "invoice.expired", "payload": {}, "created_at": 1_772_000_000}).encode()
    headers = _headers(body)
    assert (await gateway.post(WEBHOOK, content=body, headers=headers)).status_code == 200
    assert (await _passed_on(inbox, headers["X-Razorpay-Event-Id"]))["type"] == "invoice.expired"


async def test_twenty_at_once_are_one(gateway: httpx.AsyncClient, inbox: Collection[Json]) -> None:
    body = _envelope()
    headers = _headers(body)
    answers = await asyncio.gather(*(gateway.post(WEBHOOK, content=body, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert inbox.count_documents({"_id": headers["X-Razorpay-Event-Id"]}) == 1


async def test_without_an_event_id_the_same_body_is_kept_once(
    gateway: httpx.AsyncClient, inbox: Collection[Json]
) -> None:
    body = _envelope()
    before = inbox.count_documents({})
    for _ in range(3):
        answer = await gateway.post(WEBHOOK, content=body, headers={"X-Razorpay-Signature": sign(NEWEST, body)})
        assert answer.status_code == 200
    assert inbox.count_documents({}) == before + 1


FORGED: Final = {
    "no signature": {},
    "empty": {"X-Razorpay-Signature": ""},
    "not hex": {"X-Razorpay-Signature": "z" * 64},
    "not ASCII": {"X-Razorpay-Signature": "é" * 64},
    "too long": {"X-Razorpay-Signature": "0" * 4000},
    "of nothing": {"X-Razorpay-Signature": sign(NEWEST, b"")},
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_event_is_refused_and_leaves_nothing(
    gateway: httpx.AsyncClient, inbox: Collection[Json], name: str
) -> None:
    before = inbox.count_documents({})
    headers = {key.encode(): value.encode("latin-1") for key, value in FORGED[name].items()}
    answer = await gateway.post(WEBHOOK, content=_envelope(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, Code.SIGNATURE_INVALID)
    assert inbox.count_documents({}) == before


@pytest.mark.parametrize("secret", [b"retired", b"", b"another-merchants"])
async def test_another_secret_is_no_secret(gateway: httpx.AsyncClient, secret: bytes) -> None:
    body = _envelope()
    answer = await gateway.post(WEBHOOK, content=body, headers=_headers(body, secret=secret))
    assert (answer.status_code, answer.json()["code"]) == (400, Code.SIGNATURE_INVALID)


async def test_a_changed_body_is_refused(gateway: httpx.AsyncClient) -> None:
    body = _envelope()
    for changed in [body + b" ", body.replace(b"captured", b"failed.."), body[:-1], body.upper(), b""]:
        answer = await gateway.post(WEBHOOK, content=changed, headers=_headers(body))
        assert (answer.status_code, answer.json()["code"]) == (400, Code.SIGNATURE_INVALID)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"not json", b"\xff\xfe", b"[" * 30_000])
async def test_a_genuine_body_that_is_no_event_is_malformed(
    gateway: httpx.AsyncClient, inbox: Collection[Json], body: bytes
) -> None:
    before = inbox.count_documents({})
    answer = await gateway.post(WEBHOOK, content=body, headers=_headers(body))
    assert (answer.status_code, answer.json()["code"]) == (400, Code.MALFORMED)
    assert inbox.count_documents({}) == before


async def test_a_huge_body_is_refused(gateway: httpx.AsyncClient) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    answer = await gateway.post(WEBHOOK, content=body, headers=_headers(body))
    assert (answer.status_code, answer.json()["code"]) == (413, Code.TOO_LARGE)


async def test_an_unconfigured_secret_accepts_nothing(api: Api) -> None:
    empty = type(api.settings.razorpay_webhook_secrets)(" , ")
    settings = api.settings.model_copy(update={"razorpay_webhook_secrets": empty})
    async with serving(settings) as bare, bare.client() as client:
        for secret in (b"", b" ", NEWEST):
            body = _envelope()
            answer = await client.post(WEBHOOK, content=body, headers=_headers(body, secret=secret))
            assert (answer.status_code, answer.json()["code"]) == (503, Code.WEBHOOK_UNCONFIGURED)


async def test_outcomes_are_counted(api: Api, gateway: httpx.AsyncClient) -> None:
    def count(outcome: str) -> float:
        found = api.services.metrics.registry.get_sample_value("visitnow_webhooks_total", {"outcome": outcome})
        return found or 0.0

    before = {outcome: count(outcome) for outcome in ("stored", "duplicate", "forged", "malformed")}
    body = _envelope()
    headers = _headers(body)
    for _ in range(2):
        await gateway.post(WEBHOOK, content=body, headers=headers)
    await gateway.post(WEBHOOK, content=body)
    await gateway.post(WEBHOOK, content=b"{}", headers=_headers(b"{}"))
    assert {outcome: count(outcome) - before[outcome] for outcome in before} == {
        "stored": 1,
        "duplicate": 1,
        "forged": 1,
        "malformed": 1,
    }


# What Checkout returned to the browser


@pytest.fixture(scope="module")
async def held(stores: Repositories) -> Appointment:
    start = datetime(2031, 3, 3, 4, 30, tzinfo=UTC)
    return await hold(stores, a_booking(ANANYA_RAO, ACCOUNTS["patient"].id, start), "order_held", Intake())


@pytest.fixture(scope="module")
async def preparing(stores: Repositories) -> Appointment:
    start = datetime(2031, 3, 3, 4, 30, tzinfo=UTC) + timedelta(hours=1)
    return await hold(stores, a_booking(ANANYA_RAO, ACCOUNTS["patient"].id, start), None, Intake())


def _report(api: Api, order_id: str = "order_held", signed_order: str | None = None) -> Json:
    secret = api.settings.razorpay_key_secret.get_secret_value().encode()
    return {
        "razorpay_payment_id": "pay_1",
        "razorpay_order_id": order_id,
        "razorpay_signature": sign(secret, f"{signed_order or order_id}|pay_1".encode()),
    }


async def test_a_report_that_is_not_about_this_order_is_refused(
    api: Api, stores: Repositories, held: Appointment
) -> None:
    reports = [
        {**_report(api), "razorpay_signature": "0" * 64},
        {**_report(api), "razorpay_signature": "A" * 128},
        {**_report(api), "razorpay_payment_id": "pay_2"},
        _report(api, "order_of_somebody_else"),  # genuine, but for another order
        _report(api, "order_held", "order_of_somebody_else"),
        {**_report(api, "order_held"), "razorpay_order_id": "order_of_somebody_else"},
    ]
    async with api.client("patient") as client:
        for report in reports:
            answer = await client.post(f"/v1/appointments/{held.id}/payment", json=report)
            assert (answer.status_code, answer.json()["code"]) == (400, Code.SIGNATURE_INVALID)
    assert await reread(stores, held.id) == held


async def test_nothing_can_be_reported_before_there_is_an_order(api: Api, preparing: Appointment) -> None:
    async with api.client("patient") as client:
        for order_id in ("order_held", "None", ""):
            answer = await client.post(f"/v1/appointments/{preparing.id}/payment", json=_report(api, order_id or "x"))
            assert (answer.status_code, answer.json()["code"]) == (400, Code.SIGNATURE_INVALID)
        shown = (await client.get(f"/v1/appointments/{preparing.id}")).json()
    assert shown["payment"]["status"] == "preparing"
    assert shown["payment"]["order_id"] is shown["payment"]["checkout_url"] is None
    assert shown["actions"] == ["cancel"]


@pytest.mark.parametrize(
    "bad",
    [
        {"razorpay_payment_id": {"$ne": ""}},
        {"razorpay_payment_id": "pay 1"},
        {"razorpay_order_id": None},
        {"razorpay_signature": ""},
        {"razorpay_signature": "0" * 129},
        {"amount": 1},
    ],
)
async def test_a_report_of_another_form_is_invalid(api: Api, held: Appointment, bad: Json) -> None:
    async with api.client("patient") as client:
        answer = await client.post(f"/v1/appointments/{held.id}/payment", json={**_report(api), **bad})
    assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)


# Refunds by the clinic


@pytest.mark.parametrize(
    "amount",
    [
        None, 100, "100", {"amount": 99}, {"amount": 0}, {"amount": -100}, {"amount": 100.5}, {"amount": "100"},
        {"amount": True}, {"amount": 10**12}, {"amount": 100, "currency": "USD"}, {"amount": 100, "to": "me"},
    ],
)  # fmt: skip
async def test_an_amount_that_is_none(api: Api, held: Appointment, key: str, amount: object) -> None:
    async with api.client("staff", **{"Idempotency-Key": key}) as client:
        body = {"amount": amount, "reason": "made up"}
        answer = await client.post(f"/v1/appointments/{held.id}/refunds", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)


async def test_what_was_never_paid_is_not_refunded(api: Api, held: Appointment, key: str) -> None:
    async with api.client("staff", **{"Idempotency-Key": key}) as client:
        body = {"amount": {"amount": 100, "currency": "INR"}, "reason": "made up"}
        answer = await client.post(f"/v1/appointments/{held.id}/refunds", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, Code.STATE_CONFLICT)
        assert (await client.get(f"/v1/appointments/{held.id}/refunds")).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 400, Code.IDEMPOTENCY_KEY_REQUIRED),
        ("", 400, Code.IDEMPOTENCY_KEY_REQUIRED),
        ("x" * 256, 422, Code.INVALID),
        ("ключ", 422, Code.INVALID),
    ],
)
@pytest.mark.parametrize("path", ["/v1/appointments", "/v1/appointments/{id}/refunds"])
async def test_creating_takes_a_key(
    api: Api, held: Appointment, path: str, header: str | None, status: int, code: Code
) -> None:
    headers = {} if header is None else {b"Idempotency-Key": header.encode()}
    who = "staff" if "refunds" in path else "patient"
    body: Json = {"amount": {"amount": 100}, "reason": "made up"}
    if who == "patient":
        body = {"provider_id": "prv_1", "service_id": "svc_1", "start": "2031-03-03T04:30:00Z"}
    async with api.client(who) as client:
        answer = await client.post(path.format(id=held.id), json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_asking_too_often_is_slowed_down(api: Api) -> None:
    eager = ACCOUNTS["patient"].model_copy(update={"id": "usr_eager"})
    body = {"provider_id": "prv_unknown", "service_id": "svc_1", "start": "2031-03-03T04:30:00Z"}
    async with api.client(eager) as client:
        for _ in range(2 * PLACEMENTS.hits + 1):  # the window may turn in between
            answer = await client.post("/v1/appointments", json=body, headers={"Idempotency-Key": "made-up"})
            if answer.status_code == 429:
                break
        else:
            pytest.fail("never slowed down")
    assert answer.json()["code"] == Code.RATE_LIMITED
    assert 0 < int(answer.headers["retry-after"]) <= 60
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", json=body, headers={"Idempotency-Key": secrets.token_hex(8)})
        assert answer.status_code == 404, "only the one who asks too often"
