"""The API in this process, over real servers and the seed data, without workers: what only reads or refuses.

Tests that book take the `stack` of `tests.stack`, with an API and workers of their own processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.settings import Settings
from api.app import create_app
from api.services import Services
from cli.accounts import ACCOUNTS, mint
from cli.migrate import prepare_stores
from cli.seed.catalogues import full
from cli.seed.write import write
from models.identity import Account
from models.policy import TenantPolicy
from sandbox.servers.processes import HOST, free_port
from sandbox.servers.stack import Addresses

WEBHOOK_SECRETS: Final = ("newest-made-up", "older-made-up")


class InProcess(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Api:
    """A running application and clients for it."""

    def __init__(self, app: FastAPI, settings: Settings, url: str) -> None:
        self.app = app
        self.settings = settings
        self.url = url

    @property
    def services(self) -> Services:
        found = self.app.state.services
        assert isinstance(found, Services)
        return found

    def client(self, account: str | Account | None = None, **headers: str) -> httpx.AsyncClient:
        """A client that speaks for an account of the seed, or for nobody."""
        if account is not None:
            who = ACCOUNTS[account] if isinstance(account, str) else account
            headers["Authorization"] = f"Bearer {mint(self.settings, who)}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, trust_env=False)


def settings_for(servers: Addresses, database: str, **changes: object) -> Settings:
    """Settings over the run's servers; the payment gateway is nowhere."""
    values: dict[str, object] = {
        "database": database,
        "vault_database": f"{database}_vault",
        "mongodb_url": SecretStr(servers.mongodb_url(database)),
        "audit_mongodb_url": SecretStr(servers.audit_mongodb_url(database)),
        "vault_mongodb_url": SecretStr(servers.vault_mongodb_url(f"{database}_vault")),
        "redis_url": SecretStr(servers.redis_url),
        "temporal_address": servers.temporal_address,
        "temporal_namespace": servers.temporal_namespace,
        "razorpay_base_url": "http://127.0.0.1:9",
        "razorpay_webhook_secrets": SecretStr(",".join(WEBHOOK_SECRETS)),
    }
    return Settings.model_validate({**values, **changes})


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """The application on a free port for as long as the context lasts."""
    app, port = create_app(settings), free_port()
    config = uvicorn.Config(
        app, host=HOST, port=port, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1
    )
    server = InProcess(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
                if task.done():
                    task.result()
                    pytest.fail("the application did not start")
                await asyncio.sleep(0.02)
        yield Api(app, settings, f"http://{HOST}:{port}")
    finally:
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
async def api(servers: Addresses, module_database_name: str) -> AsyncIterator[Api]:
    """The application over a seeded database of this module's own."""
    settings = settings_for(servers, module_database_name)
    await prepare_stores(settings, servers.owner_mongodb_url(settings.database))
    await write(settings, full(TenantPolicy(max_unpaid_holds=1000)))
    async with serving(settings) as running:
        async with asyncio.timeout(10):
            await running.services.listener.until_connected()
        yield running


@pytest.fixture
def key() -> str:
    """A fresh Idempotency-Key."""
    return secrets.token_urlsafe(16)


def today() -> str:
    """Today's date in UTC."""
    return datetime.now(UTC).date().isoformat()
