"""What probes, operators, developers and the Temporal UI ask."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from pymongo import MongoClient
from temporalio.api.common.v1 import Payload, Payloads

from adapters.mongo.repositories import Repositories
from adapters.settings import Profile, parse_keys
from adapters.temporal.codec import ENCODING, EncryptionCodec
from adapters.tokens import TokenVerifier
from api.edge import MAX_BODY_BYTES
from cli.accounts import ACCOUNTS
from cli.migrate import prepare_stores
from models.compliance import AuditAction
from models.errors import Code
from models.identity import Permission
from models.ids import random_id
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api, serving, settings_for, signed_in

Json = dict[str, Any]
UI: Final = "http://127.0.0.1:8233"
HELLO: Final = Payload(metadata={"encoding": b"json/plain"}, data=b'{"id": "apt_1"}')


@pytest.fixture
async def anybody(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


# Probes


async def test_alive(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_without_workers_it_is_not_ready(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unready", "checks": {"mongodb": "ok", "temporal": "failed", "redis": "ok"}}


async def test_without_redis_it_serves_and_says_so(servers: Addresses, database_name: str) -> None:
    settings = settings_for(servers, database_name, redis_url="redis://127.0.0.1:1/0")
    await prepare_stores(settings, servers.owner_mongodb_url(settings.database))
    async with serving(settings) as lonely:
        async with lonely.client() as client:
            assert (await client.get("/readyz")).json()["checks"] == {
                "mongodb": "ok",
                "temporal": "failed",
                "redis": "failed",
            }
            assert (await client.get("/v1/providers")).json()["items"] == []
        async with lonely.client("patient") as client:
            assert (await client.get("/v1/appointments")).json() == {"items": [], "next_cursor": None}
            body = {"provider_id": "prv_1", "service_id": "svc_1", "start": "2031-01-06T04:30:00Z"}
            placed = await client.post("/v1/appointments", json=body, headers={"Idempotency-Key": "k"})
            assert placed.status_code == 404, "rate limits never refuse anybody because Redis is away"


async def test_without_mongodb_what_needs_it_is_unavailable(servers: Addresses, database_name: str) -> None:
    settings = settings_for(servers, database_name, mongodb_url="mongodb://127.0.0.1:1/?replicaSet=rs0")
    async with serving(settings) as lonely, lonely.client("patient") as client:
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["mongodb"]) == (503, "failed")
        answer = await client.get("/v1/appointments")
        assert (answer.status_code, answer.json()["code"]) == (503, Code.UNAVAILABLE)
        assert answer.headers["retry-after"] == "1"
        assert "mongo" not in answer.text.lower()


# Documents


async def test_metrics_are_in_prometheus_format(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in [
        "http_server_request_duration_seconds_bucket",
        "visitnow_webhooks_total",
        "visitnow_event_streams",
        "process_resident_memory_bytes",
    ]:
        assert name in answer.text


async def test_the_openapi_document_is_served(api: Api, anybody: httpx.AsyncClient) -> None:
    assert (await anybody.get("/openapi.json")).json() == api.app.openapi()


async def test_the_documentation_page_allows_its_own_scripts_only(anybody: httpx.AsyncClient) -> None:
    page = await anybody.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    [script] = re.findall(r"<script>(.*?)</script>", page.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "script-src https://cdn.jsdelivr.net" in policy
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]


async def test_published_keys_verify_our_tokens_and_hold_no_secret(api: Api, anybody: httpx.AsyncClient) -> None:
    published = (await anybody.get("/.well-known/jwks.json")).json()
    [key] = published["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA")
    assert key["x"] == TokenVerifier(api.settings.token_keys).published[0].x


# Workflows


async def test_an_unknown_workflow_is_not_found(api: Api) -> None:
    async with api.client("admin") as client:
        for workflow_id in [f"booking:{random_id('apt')}", "x", "a b", "..", "$ne"]:
            answer = await client.get(f"/v1/operations/workflows/{workflow_id}")
            assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND), workflow_id


# Hosts


@pytest.mark.parametrize(
    ("account", "host", "status"),
    [
        ("staff", "arogya-indiranagar.visits.example", 200),
        ("staff", "AROGYA-INDIRANAGAR.visits.example:443", 200),
        ("staff", "sanjeevani-bandra.visits.example", 404),
        ("staff", "nobody.visits.example", 404),
        ("staff", "a.b.visits.example", 404),
        ("staff", "api.visits.example", 200),
        ("staff", "admin.visits.example", 200),
        ("staff", "visits.example", 200),
        ("staff", "127.0.0.1:8000", 200),
        ("staff", "[::1]:8000", 200),
        ("tenant_admin", "sanjeevani-bandra.visits.example", 404),
        ("doctor", "sanjeevani-bandra.visits.example", 404),
        ("patient", "sanjeevani-bandra.visits.example", 200),
        ("patient", "nobody.visits.example", 404),
    ],
)
async def test_the_clinic_of_the_host_agrees_with_the_token(named: Api, account: str, host: str, status: int) -> None:
    async with named.client(account, Host=host) as client:
        assert (await client.get("/v1/appointments")).status_code == status


@pytest.fixture(scope="module")
async def named(api: Api) -> AsyncIterator[Api]:
    """The same house under a public name."""
    async with serving(api.settings.model_copy(update={"public_url": "https://visits.example"})) as running:
        yield running


# The codec server


def _payloads(*payloads: Payload) -> Json:
    message: Json = MessageToDict(Payloads(payloads=payloads))
    return message


def _read(answer: httpx.Response) -> list[Payload]:
    assert answer.status_code == 200, answer.text
    return list(ParseDict(answer.json(), Payloads()).payloads)


async def test_payloads_go_round(api: Api) -> None:
    async with api.client("admin") as client:
        [sealed] = _read(await client.post("/codec/encode", json=_payloads(HELLO)))
        assert sealed.metadata["encoding"] == ENCODING
        assert b"apt_1" not in sealed.data
        assert _read(await client.post("/codec/decode", json=_payloads(sealed, HELLO))) == [HELLO, HELLO]


async def test_who_looks_into_payloads_is_noted(api: Api, servers: Addresses) -> None:
    async with api.client("admin") as client:
        await client.post("/codec/decode", json=_payloads(HELLO))
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database)) as mongo:
        entry = mongo[api.settings.database]["audit"].find_one({"action": AuditAction.ADMIN_ACT}, sort=[("at", -1)])
    assert entry is not None
    assert (entry["actor"], entry["target"], entry["why"]) == (
        ACCOUNTS["admin"].id,
        Permission.CODEC_USE,
        "POST /codec/decode",
    )


async def test_what_the_workers_wrote_is_read(api: Api) -> None:
    [sealed] = await EncryptionCodec(api.settings.payload_keys).encode([HELLO])
    async with api.client(Origin=UI) as client:
        answer = await client.post("/codec/decode?preserveStorageRefs=true", json=_payloads(sealed))
    assert _read(answer) == [HELLO]
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", [UI, "http://localhost:8233"])
async def test_a_browser_may_ask_first(anybody: httpx.AsyncClient, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await anybody.options("/codec/decode?preserveStorageRefs=true", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert "x-namespace" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8234", f"{UI}.evil.example", ""])
async def test_no_other_origin_is_let_in_or_reflected(anybody: httpx.AsyncClient, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    asked = await anybody.options("/codec/decode", headers=headers)
    assert "access-control-allow-origin" not in asked.headers
    refused = await anybody.post("/codec/decode", json=_payloads(HELLO), headers={"Origin": origin})
    assert (refused.status_code, refused.json()["code"]) == (401, Code.TOKEN_MISSING)
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("account", ["patient", "doctor", "staff", "tenant_admin"])
async def test_a_token_that_is_not_the_platform_s_admin_s_is_refused_even_from_the_ui(api: Api, account: str) -> None:
    async with api.client(account, Origin=UI) as client:
        answer = await client.post("/codec/decode", json=_payloads(HELLO))
    assert (answer.status_code, answer.json()["code"]) == (403, Code.FORBIDDEN)


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


async def test_in_production_the_ui_s_origin_opens_nothing(api: Api, stores: Repositories) -> None:
    """A production profile refuses to start here (loopback addresses), so only the guard is told that it is one."""
    production = api.settings.model_copy(update={"profile": Profile.PRODUCTION})
    token = await signed_in(stores, api.settings, ACCOUNTS["admin"])
    async with serving(production) as running, running.client(Origin=UI) as client:
        assert (await client.post("/codec/decode", json=_payloads(HELLO))).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.post("/codec/decode", json=_payloads(HELLO), headers=headers)
        assert _read(answer) == [HELLO]
        assert answer.headers["access-control-allow-origin"] == UI
