"""The three servers that the product needs, on this machine: those that are not given by address are started."""

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.servers.mongod import MongoAccounts, Mongod, create_accounts, drop_accounts, in_database
from sandbox.servers.processes import Process, StartError
from sandbox.servers.provision import Provisioner
from sandbox.servers.redis import Redis
from sandbox.servers.temporal import Temporal, UiCodec, ensure_namespace
from sandbox.servers.workspace import Workspace

DEFAULT_NAMESPACE = "visitnow"


@dataclass(frozen=True)
class RunningServers:
    """Servers that run already and are to be used instead of new ones; None means: start one."""

    mongodb_admin_url: str | None = None
    redis_url: str | None = None
    temporal_address: str | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read `VISITNOW_MONGODB_ADMIN_URL`, `VISITNOW_REDIS_URL` and `VISITNOW_TEMPORAL_ADDRESS`."""
        return cls(
            mongodb_admin_url=environment.get("VISITNOW_MONGODB_ADMIN_URL") or None,
            redis_url=environment.get("VISITNOW_REDIS_URL") or None,
            temporal_address=environment.get("VISITNOW_TEMPORAL_ADDRESS") or None,
        )


@dataclass(frozen=True)
class Addresses:
    """Where the servers are, and with which accounts; can be handed to other processes as JSON."""

    mongodb: MongoAccounts
    redis_url: str
    temporal_address: str
    temporal_namespace: str
    temporal_ui_url: str | None

    def mongodb_url(self, database: str) -> str:
        """The application's URL: reads and writes the product's collections, only reads the audit."""
        return in_database(self.mongodb.application, database)

    def audit_mongodb_url(self, database: str) -> str:
        """The audit writer's URL: inserts and finds in the append-only collections, nothing else."""
        return in_database(self.mongodb.audit, database)

    def vault_mongodb_url(self, database: str) -> str:
        """The key vault's URL: reads and writes the data keys, nothing else."""
        return in_database(self.mongodb.vault, database)

    def reader_mongodb_url(self, database: str) -> str:
        """The backup's URL: reads everything, the vault included, and writes nothing."""
        return in_database(self.mongodb.reader, database)

    def owner_mongodb_url(self, database: str) -> str:
        """The owner's URL: makes collections and indexes, drops databases."""
        return in_database(self.mongodb.owner, database)

    def admin_mongodb_url(self) -> str:
        """The URL of the account that may do everything."""
        return self.mongodb.admin

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `to_json` was called on."""
        fields = json.loads(text)
        return cls(**{**fields, "mongodb": MongoAccounts(**fields["mongodb"])})


class LocalServers:
    """Starts what is not running yet, in parallel; a (synchronous or asynchronous) context manager.

    `mongod`, `redis` and `temporal` are the servers that were started here (None where an address was given): their
    `process.kill()`, `process.stop()` and `start()` break and mend them on the same port with the same data.
    """

    def __init__(
        self,
        running: RunningServers | None = None,
        *,
        provisioner: Provisioner | None = None,
        temporal_namespace: str = DEFAULT_NAMESPACE,
        temporal_ui: bool = False,
        ui_codec: UiCodec | None = None,
    ) -> None:
        self._running = running or RunningServers()
        self._provisioner = provisioner or Provisioner()
        self._namespace = temporal_namespace
        self._ui = temporal_ui
        self._ui_codec = ui_codec
        self._workspace: Workspace | None = None
        self._addresses: Addresses | None = None
        self._guest_accounts: MongoAccounts | None = None
        self.mongod: Mongod | None = None
        self.redis: Redis | None = None
        self.temporal: Temporal | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the servers are. Raises StartError before `start()`."""
        if self._addresses is None:
            raise StartError("the servers are not started")
        return self._addresses

    @property
    def directory(self) -> Path:
        """The temporary folder with the servers' data and logs. Raises StartError before `start()`."""
        if self._workspace is None:
            raise StartError("the servers are not started")
        return self._workspace.path

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each server that was started here."""
        return {process.name: process.pid for process in self._processes()}

    def last_words(self) -> list[str]:
        """Of each server that was started here and has ended by itself since, how, and the last lines of its log."""
        return [
            f"{process.name} has ended by itself with {process.returncode}\n{process.log_tail()}"
            for process in self._processes()
            if process.returncode is not None
        ]

    def start(self) -> None:
        """Start the servers and return once all are ready. Raises ProvisionError or StartError, leaving nothing."""
        self._workspace = Workspace()
        try:
            self._prepare(self._workspace.path)
            with ThreadPoolExecutor(max_workers=3) as pool:
                mongodb = pool.submit(self._start_mongodb)
                redis = pool.submit(self._start_redis)
                temporal = pool.submit(self._start_temporal)
            self._addresses = Addresses(
                mongodb=mongodb.result(),
                redis_url=redis.result(),
                temporal_address=temporal.result(),
                temporal_namespace=self._namespace,
                temporal_ui_url=self.temporal.ui_url if self.temporal else None,
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the servers that were started here, with their data, and remove our accounts from the others."""
        for process in self._processes():
            process.kill()  # at once: the data goes with it
        if self._guest_accounts is not None:
            drop_accounts(self._guest_accounts)
        if self._workspace is not None:
            self._workspace.remove()
        self.mongod = self.redis = self.temporal = None
        self._workspace = self._addresses = self._guest_accounts = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _processes(self) -> list[Process]:
        processes = [server.process for server in (self.mongod, self.redis, self.temporal) if server is not None]
        door = self.temporal.door if self.temporal is not None else None
        return processes if door is None else [*processes, door]

    def _prepare(self, directory: Path) -> None:
        """Find the programs, in this thread: a download or a build that is interrupted ends at once."""
        if self._running.mongodb_admin_url is None:
            self.mongod = Mongod(self._provisioner.mongod(), directory / "mongod")
        if self._running.redis_url is None:
            self.redis = Redis(self._provisioner.redis(), directory / "redis")
        if self._running.temporal_address is None:
            self.temporal = Temporal(
                self._provisioner.temporal(),
                directory / "temporal",
                namespace=self._namespace,
                ui=self._ui,
                ui_codec=self._ui_codec,
            )

    def _start_mongodb(self) -> MongoAccounts:
        if self.mongod is not None:
            return self.mongod.create()
        self._guest_accounts = create_accounts(_given(self._running.mongodb_admin_url))
        return self._guest_accounts

    def _start_redis(self) -> str:
        if self.redis is not None:
            self.redis.start()
            return self.redis.url
        return _given(self._running.redis_url)

    def _start_temporal(self) -> str:
        if self.temporal is not None:
            self.temporal.start()
            return self.temporal.address
        address = _given(self._running.temporal_address)
        ensure_namespace(address, self._namespace)
        return address


def _given(address: str | None) -> str:
    if address is None:
        raise StartError("a server is neither started nor given by address")
    return address
