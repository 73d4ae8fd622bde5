"""The product's own processes for a test module: sandbox, API and workers over the run's servers.

Each stack has a database, a sandbox and a Temporal namespace of its own, so nothing that one does is seen by another.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from pydantic import SecretStr
from pymongo import MongoClient

from adapters.settings import Settings
from cli.accounts import ACCOUNTS, mint
from cli.migrate import prepare_stores
from cli.running import environment_of
from cli.seed.catalogue import Catalogue
from cli.seed.catalogues import full
from cli.seed.write import write
from cli.stack import SMS_FROM, WHATSAPP_FROM
from models.identity import Account
from models.policy import TenantPolicy
from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess
from sandbox.servers.cache import compiled_once
from sandbox.servers.processes import HOST, Process, free_port, wait_until
from sandbox.servers.stack import Addresses
from sandbox.servers.temporal import ensure_namespace
from tests import clinics

ROOT = Path(__file__).parents[1]
READY_SECONDS = 60.0
# JSON as it comes over the wire: the tests look at it as any client would.
Json = dict[str, Any]
T = TypeVar("T")
_NUMBERS = itertools.count(1)


async def eventually(look: Callable[[], Awaitable[T]], good: Callable[[T], bool], seconds: float = 20.0) -> T:
    """Look until it is good; fails with what was seen last."""
    give_up = time.monotonic() + seconds
    while True:
        seen = await look()
        if good(seen):
            return seen
        if time.monotonic() > give_up:
            pytest.fail(f"not within {seconds} s; last seen: {seen!r}"[:2000])
        await asyncio.sleep(0.05)


def settings_over(servers: Addresses, database: str, **changes: object) -> Settings:
    """An installation on the run's servers, with a database, a vault and a Temporal namespace of its own."""
    values: dict[str, object] = {
        "database": database,
        "vault_database": f"{database}_vault",
        "mongodb_url": SecretStr(servers.mongodb_url(database)),
        "audit_mongodb_url": SecretStr(servers.audit_mongodb_url(database)),
        "vault_mongodb_url": SecretStr(servers.vault_mongodb_url(f"{database}_vault")),
        "redis_url": SecretStr(servers.redis_url),
        "temporal_address": servers.temporal_address,
        "temporal_namespace": database.replace("_", "-"),
    }
    return Settings.model_validate({**values, **changes})


class Stack:
    """One installation: `worker` and `api` may be stopped, killed and started again by tests."""

    def __init__(self, servers: Addresses, database: str, folder: Path, catalogue: Catalogue) -> None:
        """Nothing runs before `start`."""
        self.servers = servers
        self.folder = folder
        self.catalogue = catalogue
        self._port = free_port()
        self.api_url = f"http://{HOST}:{self._port}"
        self._worker_figures = f"{HOST}:{free_port()}"
        secret = secrets.token_urlsafe(24)
        fields = Settings.model_fields
        self.sandbox = SandboxProcess(
            SandboxConfig(
                key_id=str(fields["razorpay_key_id"].default),
                key_secret=fields["razorpay_key_secret"].default.get_secret_value(),
                webhook_url=f"{self.api_url}/v1/webhooks/razorpay",
                webhook_secret=secret,
                public_url=self.api_url,
                account_sid=f"AC{secrets.token_hex(16)}",
                auth_token=secrets.token_hex(16),
                message_seconds=0.02,
            ),
            log=folder / "sandbox.log",
        )
        self.settings = settings_over(
            servers,
            database,
            public_url=self.api_url,
            temporal_ui_url=servers.temporal_ui_url or "http://127.0.0.1:8233",
            razorpay_base_url=self.sandbox.url,
            razorpay_webhook_secrets=SecretStr(secret),
            storage_url=(folder / "documents").as_uri(),
            twilio_base_url=self.sandbox.url,
            twilio_account_sid=self.sandbox.config.account_sid,
            twilio_auth_token=SecretStr(self.sandbox.config.auth_token or ""),
            twilio_sms_from=SMS_FROM,
            twilio_whatsapp_from=WHATSAPP_FROM,
            smtp_url=SecretStr(self.sandbox.smtp_url),
            key_settle_seconds=0.2,
        )
        self.webhook_secret = secret.encode()
        self.api = self._child("api", "--host", HOST, "--port", str(self._port))
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.worker = self._worker()
        self.mongo: MongoClient[Json] = MongoClient(servers.owner_mongodb_url(database), tz_aware=True)
        self.db = self.mongo[database]

    # Life

    def start(self) -> None:
        """Return once a booking can be placed."""
        owner = self.servers.owner_mongodb_url(self.settings.database)
        ensure_namespace(self.servers.temporal_address, self.settings.temporal_namespace)
        asyncio.run(_prepare(self.settings, owner, self.catalogue))
        # All at once: each loads its libraries for a second or two, and none asks another before it is asked itself.
        self.api.start()
        self.worker.start()
        self.sandbox.start()
        self.await_ready()

    def stop(self) -> None:
        """End every child."""
        for child in (self.worker, self.api):
            if child.alive:
                child.stop(8)
        self.sandbox.stop()
        self.mongo.close()

    def await_ready(self) -> None:
        """Return once the API says that somebody works on the queues."""
        with httpx.Client(base_url=self.api_url, timeout=5, trust_env=False) as client:
            wait_until(lambda: _ready(client), self.api, timeout=READY_SECONDS)

    def restart_worker(self) -> Process:
        """A new worker process; returns while it is still starting."""
        if self.worker.alive:
            self.worker.stop(8)
        self.worker = self._worker()
        self.worker.start()
        return self.worker

    def _worker(self) -> Process:
        figures = ("--metrics", self._worker_figures)
        return self._child("worker", "--queue", "all", "--faults", str(self.faults), *figures)

    def _child(self, command: str, *options: str) -> Process:
        environment = {
            **os.environ,
            **environment_of(self.settings),
            **compiled_once(os.environ),
            "PYTHONPATH": str(ROOT),
        }
        return Process(
            command,
            [sys.executable, "-P", "-m", "cli", command, *options],
            log=self.folder / f"{command}-{next(_NUMBERS)}.log",
            environment=environment,
        )

    # Access

    def client(self, account: str | Account = "patient", *, timeout: float = 30.0) -> httpx.AsyncClient:
        """A client that speaks for an account of the seed, by name, or for any other."""
        who = ACCOUNTS[account] if isinstance(account, str) else account
        return httpx.AsyncClient(
            base_url=self.api_url,
            headers={"Authorization": f"Bearer {mint(self.settings, who)}"},
            timeout=timeout,
            trust_env=False,
        )

    def anonymous(self) -> httpx.AsyncClient:
        """A client without a token."""
        return httpx.AsyncClient(base_url=self.api_url, timeout=30, trust_env=False)

    def control(self) -> httpx.AsyncClient:
        """A client of the sandbox."""
        return httpx.AsyncClient(base_url=self.sandbox.url, timeout=30, trust_env=False)

    async def worker_metrics(self) -> bytes:
        """What Prometheus reads of the worker."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            answer = await client.get(f"http://{self._worker_figures}/metrics")
        assert answer.is_success, answer.text
        return answer.content

    async def pay(self, order_id: str, outcome: str = "authorized", **options: object) -> Json:
        """Somebody pays at the sandbox."""
        async with self.control() as control:
            body = {"order_id": order_id, "outcome": outcome, **options}
            return _ok(await control.post("/_control/payments", json=body))

    async def messages(self, to: str) -> list[Json]:
        """What reached a phone or a mailbox, newest first."""
        async with self.control() as control:
            items = _ok(await control.get("/_control/messages", params={"to": to}))["items"]
        assert isinstance(items, list)
        return items

    async def fault(
        self, operation: str, mode: str, *, service: str = "razorpay", times: int = 1, **options: object
    ) -> None:
        """The sandbox misbehaves at its next `times` calls of an operation."""
        async with self.control() as control:
            body = {"service": service, "operation": operation, "mode": mode, "times": times, **options}
            _ok(await control.post("/_control/faults", json=body))

    async def ledger(self) -> Json:
        """Everything that the gateway knows."""
        async with self.control() as control:
            return _ok(await control.get("/_control/ledger"))

    async def free_starts(self, provider_id: str, service_id: str, *, days: tuple[int, int] = (3, 20)) -> list[str]:
        """The free starts from `days[0]` to `days[1]` days ahead."""
        today = datetime.now(UTC).date()
        span = {"from": str(today + timedelta(days=days[0])), "to": str(today + timedelta(days=days[1]))}
        async with self.anonymous() as client:
            answer = await client.get(f"/v1/providers/{provider_id}/slots", params={"service_id": service_id, **span})
        return [item["start"] for item in _ok(answer)["items"]]

    async def place(
        self,
        client: httpx.AsyncClient,
        provider_id: str,
        service_id: str,
        start: str,
        *,
        key: str | None = None,
        **more: object,
    ) -> httpx.Response:
        """Ask for a booking."""
        return await client.post(
            "/v1/appointments",
            headers={"Idempotency-Key": key or secrets.token_urlsafe(16)},
            json={"provider_id": provider_id, "service_id": service_id, "start": start, **more},
        )


def _ok(answer: httpx.Response) -> Json:
    assert answer.is_success, f"{answer.status_code} {answer.text}"
    found = answer.json()
    assert isinstance(found, dict)
    return found


async def _prepare(settings: Settings, owner: str, catalogue: Catalogue) -> None:
    await prepare_stores(settings, owner)
    await write(settings, catalogue)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


@contextmanager
def running(
    servers: Addresses, database: str, folder: Path, policy: TenantPolicy, *, catalogue: Catalogue | None = None
) -> Iterator[Stack]:
    """A stack whose two tenants have that policy (or which has that catalogue), for as long as the context lasts."""
    stack = Stack(servers, database, folder, catalogue or full(policy))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


SHORT = TenantPolicy(payment_window_seconds=4, payment_grace_seconds=1, max_unpaid_holds=1000)
"""Expiry can be waited for."""

LONG = TenantPolicy(max_unpaid_holds=10_000, sla_hours=30)
"""Nothing expires by itself during a test; reviews are promised within other hours than by default."""


@pytest.fixture(scope="module")
def settings(servers: Addresses, module_database_name: str) -> Settings:
    """An installation of this module's own, without processes."""
    found = settings_over(servers, module_database_name)
    ensure_namespace(servers.temporal_address, found.temporal_namespace)
    return found


@pytest.fixture(scope="session")
def shared_stack(
    servers: Addresses, session_database_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack for all modules that leave its processes alone; it has the tests' own clinics beside the seed's."""
    folder = tmp_path_factory.mktemp("stack")
    with running(servers, f"{session_database_name}_all", folder, LONG, catalogue=clinics.catalogue(LONG)) as started:
        yield started


@pytest.fixture(scope="module")
def stack(servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose payments have the usual ten minutes."""
    with running(servers, f"{module_database_name}_long", tmp_path_factory.mktemp("stack"), LONG) as started:
        yield started
