"""What probes, operators and developers ask."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.tokens import TokenVerifier
from cli.migrate import prepare_stores
from models.errors import Code
from models.ids import random_id
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api, serving, settings_for


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


async def test_the_documentation_page_is_made_of_our_own_files_only(anybody: httpx.AsyncClient) -> None:
    page = await anybody.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    [script] = re.findall(r"<script>(.*?)</script>", page.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "https:" not in policy
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]
    assert re.findall(r"https?://", page.text) == []
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sorted(named) == ["/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "data:,"]
    for path, media in (("/docs/swagger-ui-bundle.js", "text/javascript"), ("/docs/swagger-ui.css", "text/css")):
        answer = await anybody.get(path)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, media)
        assert len(answer.content) > 10_000
    assert (await anybody.get("/docs/other.js")).status_code == 422


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
