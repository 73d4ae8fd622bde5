"""The whole local stack: the servers, the sandbox, the API and the workers, as children of this process."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx
from pydantic import SecretStr

from adapters.settings import Settings
from cli.migrate import prepare
from cli.running import environment_of, remember
from cli.seed.catalogue import Catalogue
from cli.seed.write import write
from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess
from sandbox.servers.cache import compiled_once
from sandbox.servers.processes import HOST, Process, StartError, free_port
from sandbox.servers.stack import Addresses, LocalServers, RunningServers
from sandbox.servers.temporal import UiCodec

ROOT: Final = Path(__file__).parents[1]
READY_SECONDS: Final = 90.0
PROBE_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.1
KEY_SETTLE_SECONDS: Final = 2.0
"""Where nobody is erased in earnest, nobody waits until every process has forgotten a key."""
STOP_SECONDS: Final = 8.0
TAIL_LINES: Final = 15
PROBE_PATH: Final = "/readyz"
DEFAULT_UI: Final = "http://127.0.0.1:8233"
FILES: Final = "documents"
SMS_FROM: Final = "+15005550006"
WHATSAPP_FROM: Final = "+14155238886"
"""Senders that the messaging service reserves for trying it out."""

Tell = Callable[[str], None]


class _Watched(NamedTuple):
    """One child: its name, whether it lives now and where it writes."""

    name: str
    alive: bool
    log: Path


class LocalStack:
    """Starts everything on free ports and ends it with everything it wrote; a context manager.

    Servers named by `VISITNOW_MONGODB_ADMIN_URL`, `VISITNOW_REDIS_URL` and `VISITNOW_TEMPORAL_ADDRESS` are used
    instead of new ones, and keep what was written to them.
    """

    def __init__(self, catalogue: Catalogue, tell: Tell, running: RunningServers | None = None) -> None:
        """What is seeded, who hears what is being done, and servers to use instead of those of the environment."""
        self._catalogue = catalogue
        self._tell = tell
        self._api_port = free_port()
        self._servers = LocalServers(
            RunningServers.of_environment(os.environ) if running is None else running,
            temporal_ui=True,
            ui_codec=UiCodec(f"{self.api_url}/codec", self.sign_in_url),
        )
        self._lost: list[LocalServers] = []
        self._sandbox: SandboxProcess | None = None
        self._children: list[Process] = []
        self._settings: Settings | None = None

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://{HOST}:{self._api_port}"

    @property
    def sign_in_url(self) -> str:
        """The page at which people of the platform sign in to read payloads in the Temporal UI."""
        return f"{self.api_url}/codec/sign-in"

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers. Raises `StartError` before `start()`."""
        return self.settings.razorpay_base_url

    @property
    def settings(self) -> Settings:
        """The settings that all parts run with. Raises `StartError` before `start()`."""
        if self._settings is None:
            raise StartError("the stack is not started")
        return self._settings

    @property
    def addresses(self) -> Addresses:
        """Where the servers are, and with which accounts. Raises `StartError` before `start()`."""
        return self._servers.addresses

    @property
    def pids(self) -> dict[str, int]:
        """The process id of every child."""
        own = {child.name: child.pid for child in self._children}
        sandbox = {"sandbox": self._sandbox.pid} if self._sandbox else {}
        return {**self._servers.pids, **sandbox, **own}

    def start(self) -> None:
        """Return once a booking can be placed. Raises `ProvisionError` or `StartError`, leaving nothing behind."""
        try:
            self._tell("starting MongoDB, Redis and Temporal")
            self._servers.start()
            self._tell("starting the sandbox of payments and messages")
            self._settings = self._start_sandbox()
            self._tell("creating indexes, search attributes and schedules")
            owner = self._servers.addresses.owner_mongodb_url(self._settings.database)
            asyncio.run(prepare(self._settings, owner))
            self._tell("starting the API and the workers")
            self._start_children()
            self._tell("writing the seed data")
            asyncio.run(write(self._settings, self._catalogue))
            self._tell("waiting until everything is ready")
            self._await_ready()
            remember(self._settings, self._servers.directory)
        except BaseException:
            self.stop()
            raise

    def lose_servers(self, *, temporal: bool) -> None:
        """A disaster: API, workers, MongoDB, Redis, the files and, if so wanted, Temporal end at once, with all data.

        Payments and messages are the outside and go on. Fresh servers stand in the place of the lost ones, with
        nothing in them; `settings` name them. Raises `StartError`.
        """
        for child in self._children:
            child.kill()
        self._children.clear()
        lost = self._servers
        for server in (lost.mongod, lost.redis, lost.temporal if temporal else None):
            if server is not None:
                server.process.kill()
        shutil.rmtree(lost.directory / FILES, ignore_errors=True)
        self._lost.append(lost)
        kept = None if temporal else lost.addresses.temporal_address
        self._servers = LocalServers(RunningServers(temporal_address=kept))
        self._servers.start()
        if self._sandbox is not None:
            self._settings = self._settings_with(self._sandbox)

    def resume(self) -> None:
        """Start API and workers again, once what they need is there. Raises `StartError`."""
        self._start_children()
        self._await_ready()
        remember(self.settings, self._servers.directory)

    def stop(self) -> None:
        """End every child, those first that need the others, and remove the temporary folder."""
        if self._children:
            with ThreadPoolExecutor(len(self._children)) as pool:
                list(pool.map(lambda child: child.stop(STOP_SECONDS), self._children))
        if self._sandbox is not None:
            self._sandbox.stop()
        for servers in (self._servers, *self._lost):
            servers.stop()
        self._children.clear()
        self._lost.clear()
        self._sandbox = self._settings = None

    def log_tail(self, name: str) -> str:
        """The last lines that a child of that name has written; empty where there is none."""
        return next((child.log_tail() for child in self._children if child.name == name), "")

    def check(self) -> None:
        """Raise `StartError` with the end of its log if a child has ended by itself."""
        for name, alive, log in self._watched():
            if not alive:
                raise StartError(f"{name} has ended by itself; its last lines:\n{_tail(log)}")

    def logs(self) -> str:
        """The last lines of what the API and the workers wrote."""
        return "\n".join(f"--- {child.name}\n{_tail(child.log)}" for child in self._children)

    @property
    def log_files(self) -> list[Path]:
        """Where the API and the workers write what they log."""
        return [child.log for child in self._children]

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _start_sandbox(self) -> Settings:
        defaults = Settings.model_fields
        config = SandboxConfig(
            key_id=str(defaults["razorpay_key_id"].default),
            key_secret=defaults["razorpay_key_secret"].default.get_secret_value(),
            webhook_url=f"{self.api_url}/v1/webhooks/razorpay",
            webhook_secret=secrets.token_urlsafe(24),
            public_url=self.api_url,
            account_sid=f"AC{secrets.token_hex(16)}",
            auth_token=secrets.token_hex(16),
        )
        self._sandbox = SandboxProcess(config, log=self._servers.directory / "sandbox.log")
        self._sandbox.start()
        return self._settings_with(self._sandbox)

    def _settings_with(self, sandbox: SandboxProcess) -> Settings:
        """The environment's settings (log level and the like) with this stack's own addresses."""
        addresses = self._servers.addresses
        database = Settings.model_fields["database"].default
        vault_database = Settings.model_fields["vault_database"].default
        return Settings(
            public_url=self.api_url,
            database=database,
            vault_database=vault_database,
            mongodb_url=SecretStr(addresses.mongodb_url(database)),
            audit_mongodb_url=SecretStr(addresses.audit_mongodb_url(database)),
            vault_mongodb_url=SecretStr(addresses.vault_mongodb_url(vault_database)),
            key_settle_seconds=KEY_SETTLE_SECONDS,
            backup_mongodb_url=SecretStr(addresses.reader_mongodb_url(database)),
            redis_url=SecretStr(addresses.redis_url),
            temporal_address=addresses.temporal_address,
            temporal_namespace=addresses.temporal_namespace,
            temporal_ui_url=addresses.temporal_ui_url or os.environ.get("VISITNOW_TEMPORAL_UI_URL", DEFAULT_UI),
            razorpay_base_url=sandbox.url,
            razorpay_webhook_secrets=SecretStr(sandbox.config.webhook_secret or ""),
            storage_url=(self._servers.directory / FILES).as_uri(),
            twilio_base_url=sandbox.url,
            twilio_account_sid=sandbox.config.account_sid,
            twilio_auth_token=SecretStr(sandbox.config.auth_token or ""),
            twilio_sms_from=SMS_FROM,
            twilio_whatsapp_from=WHATSAPP_FROM,
            smtp_url=SecretStr(sandbox.smtp_url),
        )

    def _start_children(self) -> None:
        self._start_child("api", "--host", HOST, "--port", str(self._api_port))
        self._start_child("worker", "--queue", "all")

    def _start_child(self, command: str, *options: str) -> None:
        environment = {**os.environ, **environment_of(self.settings), **compiled_once(os.environ)}
        # Our packages are found wherever this is started from; `-P` keeps the current folder's out.
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        child = Process(
            command,
            [sys.executable, "-P", "-m", "cli", command, *options],
            log=self._servers.directory / f"{command}.log",
            environment=environment,
        )
        self._children.append(child)
        child.start()

    def _await_ready(self) -> None:
        give_up = time.monotonic() + READY_SECONDS
        with httpx.Client(base_url=self.api_url, timeout=PROBE_SECONDS, trust_env=False) as client:
            while not _answers_ready(client):
                self.check()
                if time.monotonic() > give_up:
                    raise StartError(f"the stack is not ready after {READY_SECONDS:.0f} s\n{self.logs()}")
                time.sleep(POLL_SECONDS)

    def _watched(self) -> list[_Watched]:
        servers = (self._servers.mongod, self._servers.redis, self._servers.temporal)
        door = self._servers.temporal.door if self._servers.temporal is not None else None
        started = [*(server.process for server in servers if server is not None), *filter(None, [door])]
        processes = [*started, *self._children]
        watched = [_Watched(one.name, one.alive, one.log) for one in processes]
        if self._sandbox is not None:
            watched.append(_Watched("sandbox", self._sandbox.alive, self._servers.directory / "sandbox.log"))
        return watched


def _answers_ready(client: httpx.Client) -> bool:
    try:
        return client.get(PROBE_PATH).status_code == HTTPStatus.OK
    except httpx.TransportError:
        return False


def _tail(log: Path) -> str:
    """The last lines of a log that say more than that a probe was answered."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([line for line in lines if PROBE_PATH not in line][-TAIL_LINES:])
