"""Whatever is asked, the answer tells the browser to be careful, and no request is longer than its route reads."""

from __future__ import annotations

import re
from typing import Final

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import ROUTERS
from api.edge import MAX_CODEC_BYTES, MAX_FORM_BYTES
from api.headers import CLOSED_POLICY, SECURITY_HEADERS
from models.errors import Code
from models.files import MAX_UPLOAD_BYTES
from tests.api.conftest import Api

ROUTES: Final = sorted(
    {
        (method, re.sub(r"{[^}]+}", "made_up", route.path))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
)
"""Every route there is, also those that the document does not list."""

LONGEST: Final = max(MAX_CODEC_BYTES, MAX_FORM_BYTES, MAX_UPLOAD_BYTES)
PAGES_OWN: Final = {"content-security-policy", "referrer-policy", "cache-control"}
"""What a page may say for itself."""


def _assert_careful(answer: httpx.Response) -> None:
    for name, value in SECURITY_HEADERS:
        said = answer.headers.get(name)
        assert said is not None, name
        if name.lower() not in PAGES_OWN:
            assert said == value
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-eval'" not in policy
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]
    if not answer.headers.get("content-type", "").startswith("text/html"):
        assert policy == CLOSED_POLICY
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_every_route_answers_carefully(api: Api) -> None:
    assert len(ROUTES) > 100
    async with api.client() as client:
        for method, path in ROUTES:
            async with client.stream(method, path) as answer:
                _assert_careful(answer)
                assert answer.status_code < 500 or answer.status_code == 503, f"{method} {path}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/%00"),
        ("PROPFIND", "/livez"),
        ("OPTIONS", "/v1/appointments"),
        ("OPTIONS", "/codec/decode"),
    ],
)
async def test_so_does_what_no_route_answers(api: Api, method: str, path: str) -> None:
    async with api.client() as client:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = await client.request(method, path, headers=headers)
    _assert_careful(answer)
    assert "access-control-allow-origin" not in answer.headers


async def test_so_does_what_is_asked_through_nobody_s_host(api: Api) -> None:
    async with api.client(Host="nobody.localhost") as client:
        answer = await client.get("/v1/providers")
    assert answer.json()["code"] == Code.NOT_FOUND
    _assert_careful(answer)


async def test_no_route_reads_more_than_any_may(api: Api) -> None:
    writing = [(method, path) for method, path in ROUTES if method in {"POST", "PUT", "PATCH", "DELETE"}]
    assert len(writing) > 50
    # Straight into the application: a client on a line would not let a body be shorter than it said.
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api.app), base_url=api.url) as client:
        for method, path in writing:
            answer = await client.request(method, path, headers={"Content-Length": str(LONGEST + 1)})
            assert (answer.status_code, answer.json()["code"]) == (413, Code.TOO_LARGE), f"{method} {path}"
            _assert_careful(answer)
