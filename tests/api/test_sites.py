"""Hosts of the platform, of clinics and of nobody; and the pages that may call through them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from adapters.settings import Profile
from api.edge import MAX_BODY_BYTES
from cli.domain import attach
from cli.output import CommandError
from cli.seed.arogya import INDIRANAGAR
from cli.seed.sanjeevani import BANDRA
from models.errors import Code
from models.identity import System
from models.tenancy import Domain
from tests.adapters.mongo.builders import an_entry
from tests.api.conftest import Api, serving

PUBLIC = "https://visits.example"
AROGYA = f"{INDIRANAGAR.slug}.visits.example"
OWN = "book.arogya.example"
DOUBTED = "doubted.arogya.example"


@pytest.fixture(scope="module")
async def named(api: Api, stores: Repositories) -> AsyncIterator[Api]:
    """The house under a public name, in production's strictness; one clinic has a domain of its own."""
    for host, verified in ((OWN, True), (DOUBTED, False)):
        await stores.tenancy.put_domain(
            System("a test"),
            Domain(host=host, tenant_id=INDIRANAGAR.tenant_id, clinic_id=INDIRANAGAR.id, verified=verified),
            an_entry(),
        )
    # A production profile refuses to start here (loopback addresses), so only the routes are told that it is one.
    settings = api.settings.model_copy(update={"public_url": PUBLIC, "profile": Profile.PRODUCTION})
    async with serving(settings) as running:
        yield running


async def _ask(named: Api, path: str = "/v1/providers", method: str = "GET", **headers: str) -> httpx.Response:
    async with named.client(None, **headers) as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("visits.example", 200),
        ("VISITS.example.:443", 200),
        ("www.visits.example", 200),
        ("api.visits.example", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost", 200),
        ("visitnow_api:8000", 200),
        ("visitnow.default.svc.cluster.local", 200),
        (AROGYA, 200),
        (OWN, 200),
        (OWN.upper(), 200),
        (DOUBTED, 404),
        ("nobody.visits.example", 404),
        ("login.visits.example", 404),
        (f"a.{AROGYA}", 404),
        ("evil.example", 404),
        (f"{INDIRANAGAR.slug}.visits.example.evil.example", 404),
        ("evilvisits.example", 404),
        ("$ne.visits.example", 404),
        ("%00", 404),
    ],
)
async def test_a_host_is_the_platform_s_a_clinic_s_or_nobody_s(named: Api, host: str, status: int) -> None:
    answer = await _ask(named, Host=host)
    assert answer.status_code == status
    if status == 404:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == Code.NOT_FOUND


async def test_probes_answer_under_any_name(named: Api) -> None:
    for path in ("/livez", "/readyz", "/.well-known/jwks.json", "/openapi.json"):
        assert (await _ask(named, path, Host="evil.example")).status_code != 404, path


@pytest.mark.parametrize(("account", "status"), [("staff", 200), ("other_tenant_staff", 404), ("patient", 200)])
async def test_the_token_agrees_with_a_clinic_s_own_domain(named: Api, api: Api, account: str, status: int) -> None:
    assert named.settings.database == api.settings.database
    async with api.client(account, Host=OWN) as client:
        assert (await client.get("/v1/appointments")).status_code == status


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("api.visits.example", PUBLIC, True),
        ("api.visits.example", "https://www.visits.example", True),
        ("api.visits.example", "https://admin.visits.example", True),
        ("api.visits.example", f"https://{AROGYA}", True),
        ("api.visits.example", f"https://{OWN}", True),
        (AROGYA, PUBLIC, True),
        (AROGYA, f"https://{OWN}", True),
        (OWN, f"https://{AROGYA}", True),
        (AROGYA, f"https://{BANDRA.slug}.visits.example", False),
        (OWN, f"https://{BANDRA.slug}.visits.example", False),
        ("api.visits.example", f"https://{DOUBTED}", False),
        ("api.visits.example", "https://nobody.visits.example", False),
        ("api.visits.example", "https://evil.example", False),
        ("api.visits.example", "http://visits.example", False),
        ("api.visits.example", f"{PUBLIC}:8443", False),
        ("api.visits.example", f"{PUBLIC}.evil.example", False),
        ("api.visits.example", "https://evilvisits.example", False),
        ("api.visits.example", "http://localhost:5173", False),
        ("api.visits.example", "null", False),
        ("api.visits.example", "https://visits.example/path", False),
        ("127.0.0.1", "http://127.0.0.1", False),
    ],
)
async def test_only_pages_of_ours_may_call(named: Api, host: str, origin: str, *, allowed: bool) -> None:
    asked = await _ask(named, Host=host, Origin=origin)
    preflight = await _ask(
        named, "/v1/appointments", "OPTIONS", Host=host, Origin=origin, **{"Access-Control-Request-Method": "POST"}
    )
    assert (asked.status_code, preflight.status_code) == (200, 204)
    for answer in (asked, preflight):
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert "access-control-allow-credentials" not in answer.headers
    assert ("access-control-allow-methods" in preflight.headers) is allowed
    assert ("authorization" in preflight.headers.get("access-control-allow-headers", "").lower()) is allowed
    if allowed:
        assert "origin" in asked.headers["vary"].lower()
        assert "etag" in asked.headers["access-control-expose-headers"].lower()
    assert preflight.headers["vary"] == "Origin"


async def test_a_refusal_can_be_read_by_the_page_that_caused_it(named: Api) -> None:
    answer = await _ask(named, "/v1/appointments", Host="api.visits.example", Origin=PUBLIC)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, PUBLIC)


@pytest.mark.parametrize(("origin", "allowed"), [(PUBLIC, PUBLIC), ("https://evil.example", None)])
async def test_so_can_one_from_before_the_host_is_looked_at(named: Api, origin: str, allowed: str | None) -> None:
    async with named.client(Host="api.visits.example", Origin=origin) as client:
        answer = await client.post("/v1/appointments", content=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (413, allowed)


async def test_in_development_pages_of_this_machine_may_call_and_clinics_have_local_names(api: Api) -> None:
    here = await _ask(api, Origin="http://localhost:5173")
    assert here.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "access-control-allow-origin" not in (await _ask(api, Origin="https://evil.example")).headers
    for name in (f"{INDIRANAGAR.slug}.localhost", f"{INDIRANAGAR.slug}.illajwala.com"):
        assert (await _ask(api, Host=name)).status_code == 200
    assert (await _ask(api, Host="nobody.localhost")).status_code == 404


async def test_an_operator_attaches_a_host_and_detaches_it(api: Api, named: Api, stores: Repositories) -> None:
    kept = await attach(api.settings, "Visit.Arogya.example", INDIRANAGAR.slug, verified=True)
    [entry] = [one for one in await stores.tenancy.entries(1000) if one.target.endswith(f":{kept.host}")]
    assert (entry.actor, entry.action, entry.tenant_id) == ("operator", "domain.attached", INDIRANAGAR.tenant_id)
    assert entry.why == "said to be verified"
    assert (kept.host, kept.clinic_id) == ("visit.arogya.example", INDIRANAGAR.id)
    assert (await _ask(named, Host=kept.host)).status_code == 200
    for host, slug in (("not a host", INDIRANAGAR.slug), ("b.example", "nowhere"), (kept.host, BANDRA.slug)):
        with pytest.raises(CommandError):
            await attach(api.settings, host, slug, verified=True)
    assert (await attach(api.settings, kept.host, INDIRANAGAR.slug, verified=False)).verified is False
