"""Where a request came from: what a proxy says counts where the proxy is one of ours, and nobody else's word does."""

from __future__ import annotations

import asyncio

import pytest

from api.app import create_app
from cli.api import server_config
from sandbox.servers.processes import HOST, free_port
from tests.api.conftest import Api, InProcess

CLIENT = "203.0.113.7"


@pytest.mark.parametrize(
    ("trusted", "origin"),
    [
        ("127.0.0.1", CLIENT),
        ("192.0.2.0/24, 127.0.0.0/8", CLIENT),
        ("192.0.2.1", HOST),
        ("", HOST),
    ],
)
async def test_a_forwarded_address_counts_where_a_proxy_of_ours_says_it(
    api: Api, trusted: str, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # the server's own variable opens nothing
    settings = api.settings.model_copy(update={"trusted_proxies": trusted})
    port = free_port()
    server = InProcess(server_config(create_app(settings), settings, HOST, port))
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:
                assert not task.done()
                await asyncio.sleep(0.02)
        running = Api(api.app, settings, f"http://{HOST}:{port}")
        # What stands before it was said by the client itself.
        forwarded = {"X-Forwarded-For": f"198.51.100.9, {CLIENT}"}
        async with running.client("tenant_admin", **forwarded) as client:
            assert (await client.get("/v1/audit", params={"limit": 1})).status_code == 200
            [entry] = (await client.get("/v1/audit", params={"limit": 1})).json()["items"]
    finally:
        server.should_exit = True
        await task
    assert (entry["action"], entry["origin"]) == ("audit.read", origin)
