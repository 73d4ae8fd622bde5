"""Payloads in clear: for people of the platform who have just signed in, and each look is noted."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pyotp
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from pymongo import MongoClient
from pymongo.database import Database
from temporalio.api.common.v1 import Payload, Payloads

from adapters.mongo.repositories import Repositories
from adapters.passwords import Argon2
from adapters.settings import Profile, parse_keys
from adapters.temporal.codec import ENCODING, EncryptionCodec
from adapters.tokens import Purpose, PurposeTokens, TokenMinter
from api.codec import LASTING, MAX_NAMED, named_in
from api.edge import MAX_BODY_BYTES
from cli.accounts import ACCOUNTS, PASSWORD
from models.compliance import AuditAction
from models.errors import Code
from models.identity import Account, Permission, Subject, System
from models.ids import random_id
from models.sessions import DEVELOPMENT_SESSION, EndReason, Session
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api, serving, signed_in

Json = dict[str, Any]
UI: Final = "http://127.0.0.1:8233"
RECORD: Final = random_id("apt")
HELLO: Final = Payload(metadata={"encoding": b"json/plain"}, data=f'{{"id": "{RECORD}", "n": 1}}'.encode())
ADMIN: Final = ACCOUNTS["admin"]
COOKIE: Final = "visitnow-codec"


@pytest.fixture(scope="module")
def database(servers: Addresses, api: Api) -> Iterator[Database[Json]]:
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database), tz_aware=True) as client:
        yield client[api.settings.database]


@pytest.fixture
async def anybody(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


def _payloads(*payloads: Payload) -> Json:
    message: Json = MessageToDict(Payloads(payloads=payloads))
    return message


def _read(answer: httpx.Response) -> list[Payload]:
    assert answer.status_code == 200, answer.text
    return list(ParseDict(answer.json(), Payloads()).payloads)


def _looks(database: Database[Json], since: datetime) -> list[Json]:
    query = {"action": AuditAction.PAYLOADS_READ, "at": {"$gte": since - timedelta(milliseconds=1)}}
    return list(database["audit"].find(query))


# What it does


async def test_payloads_go_round(api: Api) -> None:
    async with api.client("admin") as client:
        [sealed] = _read(await client.post("/codec/encode", json=_payloads(HELLO)))
        assert sealed.metadata["encoding"] == ENCODING
        assert RECORD.encode() not in sealed.data
        assert _read(await client.post("/codec/decode", json=_payloads(sealed, HELLO))) == [HELLO, HELLO]


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"payloads": 1}', b'{"other": []}', b"\xff", b"[" * 5000, b""])
async def test_what_is_no_payloads_is_malformed(api: Api, content: bytes) -> None:
    async with api.client("admin") as client:
        answer = await client.post("/codec/decode", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, Code.MALFORMED)


async def test_a_payload_of_another_key_or_changed_is_not_opened(api: Api) -> None:
    other = parse_keys(f"other:{base64.b64encode(secrets.token_bytes(32)).decode()}", "codec key")
    [foreign] = await EncryptionCodec(other).encode([HELLO])
    [changed] = await EncryptionCodec(api.settings.payload_keys).encode([HELLO])
    changed.data = changed.data[:-1] + bytes([changed.data[-1] ^ 1])
    async with api.client("admin") as client:
        for payload in (foreign, changed):
            answer = await client.post("/codec/decode", json=_payloads(payload))
            assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)


async def test_a_whole_page_of_payloads_is_read(api: Api) -> None:
    big = Payload(metadata={"encoding": b"json/plain"}, data=b"x" * (4 * MAX_BODY_BYTES))
    async with api.client("admin") as client:
        [sealed] = _read(await client.post("/codec/encode", json=_payloads(big)))
        assert _read(await client.post("/codec/decode", json=_payloads(sealed))) == [big]


# Each look is noted


async def test_a_look_is_noted_with_the_records_that_were_seen(api: Api, database: Database[Json]) -> None:
    other = random_id("rfd")
    also = Payload(metadata={"encoding": b"json/plain"}, data=f'["{other}", "refund:{other}", "Meena"]'.encode())
    [sealed] = await EncryptionCodec(api.settings.payload_keys).encode([also])
    began = datetime.now(UTC)
    async with api.client("admin") as client:
        assert _read(await client.post("/codec/decode", json=_payloads(HELLO, sealed, HELLO))) == [HELLO, also, HELLO]
    looks = _looks(database, began)
    why = {one["target"]: one["why"] for one in looks}
    counts = "POST /codec/decode: 3 payloads, 1 encrypted, 1 records"
    assert why == {Permission.CODEC_USE: counts, other: "POST /codec/decode"}, "what came in clear was no secret"
    assert {(one["actor"], one["subject_id"]) for one in looks} == {(ADMIN.id, None)}
    assert "Meena" not in str(looks)


async def test_made_up_ids_hide_no_record(api: Api, database: Database[Json]) -> None:
    made_up = " ".join(random_id("apt") for _ in range(MAX_NAMED + 1)).encode()
    plain = Payload(metadata={"encoding": b"json/plain"}, data=made_up)
    own, secret = await EncryptionCodec(api.settings.payload_keys).encode([plain, HELLO])
    began = datetime.now(UTC)
    async with api.client("admin") as client:
        assert _read(await client.post("/codec/decode", json=_payloads(plain, secret))) == [plain, HELLO]
        assert {one["target"] for one in _looks(database, began)} == {Permission.CODEC_USE, RECORD}
        answer = await client.post("/codec/decode", json=_payloads(own, secret))
    assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)
    assert RECORD not in answer.text
    assert len(_looks(database, began)) == 2, "nothing more was seen"


async def test_a_look_at_what_names_nothing_is_noted_too(api: Api, database: Database[Json]) -> None:
    began = datetime.now(UTC)
    async with api.client("admin") as client:
        _read(await client.post("/codec/decode", json=_payloads(Payload(data=b"7"))))
    assert [one["target"] for one in _looks(database, began)] == [Permission.CODEC_USE]


async def test_what_nobody_opened_nobody_saw(api: Api, database: Database[Json]) -> None:
    began = datetime.now(UTC)
    async with api.client("admin") as client:
        await client.post("/codec/decode", content=b"{")
    async with api.client("staff") as client:
        await client.post("/codec/decode", json=_payloads(HELLO))
    assert _looks(database, began) == []
    refused = database["audit"].find_one({"action": AuditAction.REFUSED, "at": {"$gte": began}})
    assert refused is not None
    assert (refused["actor"], refused["target"]) == (ACCOUNTS["staff"].id, Permission.CODEC_USE)


def test_only_ids_are_named_and_each_once() -> None:
    many = [random_id("apt") for _ in range(5)]
    said = [
        "Meena Iyer, +919800000001, meena@illajwala.example",
        "apt_short",
        f"x{many[0]}",
        f"{many[0]}x",
        *many,
        *many,
    ]
    assert named_in([Payload(data=one.encode()) for one in said]) == tuple(many)


# Who is let in


async def test_without_a_sign_in_nobody_reads_not_even_the_ui_of_this_machine(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.post("/codec/decode", json=_payloads(HELLO), headers={"Origin": UI})
    assert (answer.status_code, answer.json()["code"]) == (401, Code.TOKEN_MISSING)


@pytest.mark.parametrize("account", ["patient", "doctor", "staff", "tenant_admin"])
@pytest.mark.parametrize("path", ["/codec/encode", "/codec/decode"])
async def test_a_token_that_is_not_the_platform_s_admin_s_is_refused(api: Api, account: str, path: str) -> None:
    async with api.client(account, Origin=UI) as client:
        answer = await client.post(path, json=_payloads(HELLO))
    assert (answer.status_code, answer.json()["code"]) == (403, Code.FORBIDDEN)


async def test_a_token_of_a_sign_in_of_long_ago_needs_a_fresh_proof(api: Api, stores: Repositories) -> None:
    now = datetime.now(UTC)
    session = Session(
        id=random_id("ses"),
        subject_id=ADMIN.id,
        tenant_id=ADMIN.tenant_id,
        token_hash=random_id("x"),
        signed_in_at=now - timedelta(hours=13),
        rotated_at=now,
        expires_at=now + timedelta(hours=1),
    )
    await stores.sessions.add(System("a test signs in"), session)
    token = TokenMinter(api.settings.token_keys).mint(ADMIN.principal(session.id), timedelta(minutes=5), now)
    async with api.client(None, Authorization=f"Bearer {token}") as client:
        refused = await client.post("/codec/decode", json=_payloads(HELLO))
        assert (refused.status_code, refused.json()["code"]) == (403, Code.STEP_UP_REQUIRED)
        proved = await client.post("/v1/auth/step-up", json={"password": PASSWORD})
        assert proved.status_code == 200, proved.text
        headers = {"Step-Up": proved.json()["step_up_token"]}
        assert _read(await client.post("/codec/decode", json=_payloads(HELLO), headers=headers)) == [HELLO]


# A browser


async def _sign_in(client: httpx.AsyncClient, email: str, password: str, totp: str = "") -> httpx.Response:
    return await client.post("/codec/sign-in", data={"email": email, "password": password, "totp": totp})


@pytest.fixture
async def browser(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """One in which the platform's admin has just signed in."""
    async with api.client() as client:
        answer = await _sign_in(client, ADMIN.email or "", PASSWORD)
        assert (answer.status_code, answer.headers["location"]) == (303, "/codec/sign-in"), answer.text
        yield client


async def test_an_operator_signs_in_and_reads(api: Api, browser: httpx.AsyncClient, database: Database[Json]) -> None:
    [sealed] = await EncryptionCodec(api.settings.payload_keys).encode([HELLO])
    began = datetime.now(UTC)
    answer = await browser.post(
        "/codec/decode?preserveStorageRefs=true", json=_payloads(sealed), headers={"Origin": UI}
    )
    assert _read(answer) == [HELLO]
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "origin" in answer.headers["vary"].lower()
    looks = _looks(database, began)
    assert {(one["actor"], one["target"]) for one in looks} == {(ADMIN.id, RECORD), (ADMIN.id, Permission.CODEC_USE)}
    assert "Sign out" in (await browser.get("/codec/sign-in")).text


async def test_the_cookie_is_for_the_codec_server_and_its_pages_only(api: Api) -> None:
    async with api.client() as client:
        answer = await _sign_in(client, ADMIN.email or "", PASSWORD)
        said = answer.headers["set-cookie"].lower()
        for part in ("httponly", "samesite=strict", "path=/codec", f"max-age={int(LASTING.total_seconds())}"):
            assert part in said
        value = client.cookies[COOKIE]
        for path in ("/v1/me", "/v1/appointments", "/v1/operations/workflows/x"):
            as_token = await client.get(path, headers={"Authorization": f"Bearer {value}"})
            as_cookie = await client.get(path, headers={"Cookie": f"{COOKIE}={value}"})
            assert (as_token.status_code, as_cookie.status_code) == (401, 401), path
        access = await client.post(
            "/codec/decode", json=_payloads(HELLO), headers={"Authorization": f"Bearer {value}", "Origin": UI}
        )
        assert access.json()["code"] == Code.TOKEN_INVALID


STRANGERS: Final = ("https://evil.example", "null", "http://127.0.0.1:8234", f"{UI}.evil.example", "")


@pytest.mark.parametrize("origin", [None, *STRANGERS])
async def test_another_page_s_request_does_not_use_the_cookie(browser: httpx.AsyncClient, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = await browser.post("/codec/decode", json=_payloads(HELLO), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, Code.TOKEN_MISSING)
    assert "access-control-allow-origin" not in answer.headers


async def test_signing_out_ends_it(api: Api, browser: httpx.AsyncClient) -> None:
    value = browser.cookies[COOKIE]
    left = await browser.post("/codec/sign-out")
    assert (left.status_code, left.headers["location"]) == (303, "/codec/sign-in")
    assert COOKIE not in browser.cookies
    async with api.client(None, Cookie=f"{COOKIE}={value}", Origin=UI) as thief:
        answer = await thief.post("/codec/decode", json=_payloads(HELLO))
    assert answer.json()["code"] == Code.TOKEN_INVALID
    assert (await browser.post("/codec/sign-out")).status_code == 303


async def test_a_revoked_session_reads_no_more(api: Api, browser: httpx.AsyncClient) -> None:
    grant = PurposeTokens(api.settings.token_keys).read(Purpose.CODEC, browser.cookies[COOKIE], datetime.now(UTC))
    assert grant is not None
    await api.services.sessions.end_all(ADMIN.id, EndReason.REVOKED, spare=DEVELOPMENT_SESSION)
    answer = await browser.post("/codec/decode", json=_payloads(HELLO), headers={"Origin": UI})
    assert answer.json()["code"] == Code.TOKEN_INVALID


async def test_after_an_hour_one_signs_in_again(api: Api) -> None:
    now = datetime.now(UTC)
    tokens = PurposeTokens(api.settings.token_keys)
    old = tokens.mint(Purpose.CODEC, ADMIN.id, DEVELOPMENT_SESSION, now - timedelta(minutes=1), now - LASTING)
    other = tokens.mint(Purpose.STEP_UP, ADMIN.id, DEVELOPMENT_SESSION, now + LASTING, now)
    for value in (old, other, "made.up.token", ""):
        async with api.client(None, Cookie=f"{COOKIE}={value}", Origin=UI) as client:
            answer = await client.post("/codec/decode", json=_payloads(HELLO))
        assert answer.json()["code"] == Code.TOKEN_INVALID


@pytest.mark.parametrize(
    ("email", "password", "status", "said"),
    [
        (ADMIN.email, "made up", 401, "is wrong"),
        ("nobody@nowhere.example", PASSWORD, 401, "is wrong"),
        ("no address", PASSWORD, 401, "is wrong"),
        (ACCOUNTS["tenant_admin"].email, PASSWORD, 403, "not allow"),
        (ACCOUNTS["staff"].email, PASSWORD, 403, "not allow"),
    ],
)
async def test_others_are_told_what_is_wrong(
    anybody: httpx.AsyncClient, email: str, password: str, status: int, said: str
) -> None:
    answer = await _sign_in(anybody, email, password)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert said in answer.text
    assert email not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/codec/sign-in", "/codec/sign-out"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", UI])
async def test_nobody_is_signed_in_or_out_by_another_site(browser: httpx.AsyncClient, path: str, origin: str) -> None:
    form = {"email": ADMIN.email or "", "password": PASSWORD}
    answer = await browser.post(path, data=form, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "Sign out" in (await browser.get("/codec/sign-in")).text


async def test_the_page_s_own_form_is_taken(api: Api, anybody: httpx.AsyncClient) -> None:
    page = await anybody.get("/codec/sign-in")
    assert page.headers["referrer-policy"] == "same-origin", "else a browser would say Origin: null"
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    form = {"email": ADMIN.email or "", "password": PASSWORD}
    assert (await anybody.post("/codec/sign-in", data=form, headers={"Origin": api.url})).status_code == 303


# In production


@pytest.fixture(scope="module")
async def strict(api: Api) -> AsyncIterator[Api]:
    """A production profile refuses to start here (loopback addresses), so only the routes are told that it is one."""
    changes = {"profile": Profile.PRODUCTION, "public_url": "https://visits.example"}
    async with serving(api.settings.model_copy(update=changes)) as running:
        yield running


async def test_in_production_a_token_of_a_real_session_reads(strict: Api, stores: Repositories) -> None:
    token = await signed_in(stores, strict.settings, ADMIN)
    async with strict.client(Origin=UI) as client:
        assert (await client.post("/codec/decode", json=_payloads(HELLO))).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.post("/codec/decode", json=_payloads(HELLO), headers=headers)
        assert _read(answer) == [HELLO]


async def _another_admin(stores: Repositories) -> Account:
    email = f"{random_id('ops')}@illajwala.example"
    account = ADMIN.model_copy(update={"id": random_id("usr"), "email": email})
    assert await stores.users.add(System("a test"), account, Argon2().hash(PASSWORD))
    return account


async def test_in_production_an_authenticator_is_needed(
    strict: Api, stores: Repositories, database: Database[Json]
) -> None:
    admin = await _another_admin(stores)
    async with strict.client() as client:
        without = await _sign_in(client, admin.email or "", PASSWORD)
        assert (without.status_code, "authenticator" in without.text) == (403, True)
    refusal = database["audit"].find_one({"action": AuditAction.REFUSED, "actor": admin.id})
    assert refusal is not None, "somebody has the password"
    assert refusal["target"] == Permission.CODEC_USE
    async with strict.client(None, Authorization=f"Bearer {await signed_in(stores, strict.settings, admin)}") as own:
        secret = (await own.post("/v1/auth/totp", json={})).json()["secret"]
        code = pyotp.TOTP(secret).now()
        assert (await own.post("/v1/auth/totp/confirm", json={"code": code})).status_code == 204
    async with strict.client() as client:
        asked = await _sign_in(client, admin.email or "", PASSWORD)
        assert (asked.status_code, "code of your authenticator" in asked.text) == (401, True)
        spent = await _sign_in(client, admin.email or "", PASSWORD, code)
        assert (spent.status_code, "is wrong" in spent.text) == (401, True)
        refusals = database["audit"].find({"action": AuditAction.SIGN_IN_REFUSED, "target": admin.id})
        assert [one["why"] for one in refusals] == ["POST /codec/sign-in: the password was right"] * 2
        later = pyotp.TOTP(secret).at(datetime.now(UTC) + timedelta(seconds=30))
        done = await _sign_in(client, admin.email or "", PASSWORD, later)
        assert done.status_code == 303, done.text
        said = done.headers["set-cookie"]
        assert said.startswith("__Secure-visitnow-codec=")
        assert "secure" in said.lower().split("; ")
        cookie = said.partition(";")[0]
        answer = await client.post("/codec/decode", json=_payloads(HELLO), headers={"Origin": UI, "Cookie": cookie})
        assert _read(answer) == [HELLO]
        going_on = await stores.sessions.live(Subject(admin.id), admin.id, datetime.now(UTC))
        assert max(one.expires_at for one in going_on) <= datetime.now(UTC) + LASTING


# Pages that may ask


@pytest.mark.parametrize("origin", [UI, "http://localhost:8233"])
async def test_a_browser_may_ask_first(anybody: httpx.AsyncClient, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await anybody.options("/codec/decode?preserveStorageRefs=true", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "x-namespace" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("origin", STRANGERS)
async def test_no_other_origin_is_let_in_or_reflected(anybody: httpx.AsyncClient, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    asked = await anybody.options("/codec/decode", headers=headers)
    assert "access-control-allow-origin" not in asked.headers
    refused = await anybody.post("/codec/decode", json=_payloads(HELLO), headers={"Origin": origin})
    assert (refused.status_code, refused.json()["code"]) == (401, Code.TOKEN_MISSING)
    assert "access-control-allow-origin" not in refused.headers
