"""What the tests of backups share: an installation with something in every store, and one that is to become it."""

from __future__ import annotations

import base64
import itertools
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import obstore
from pydantic import SecretStr
from pymongo import MongoClient
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from typer.testing import CliRunner, Result

from activities.compliance import AuditActivities, SealEverything
from adapters.connections import mongo_addresses
from adapters.mongo.encryption import Vault
from adapters.mongo.repositories import Repositories
from adapters.seal_heads import StoredSealHeads
from adapters.settings import Settings
from adapters.storage import open_store
from adapters.tokens import Statements
from cli.backing_up import Taken, back_up
from cli.main import app
from cli.restoring import Restored, Target, chosen, restore
from cli.running import environment_of
from models.identity import System
from models.seals import MARKS, Batch, next_mark
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.builders import an_entry
from tests.stack import Json, eventually, settings_over

_NUMBERS: Final = itertools.count(1)
_LATER: Final = System("a test seals")


def a_key(name: str = "2031-01") -> str:
    """A setting of one key."""
    return f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def silent(*words: object) -> None:
    """Nobody watches."""
    del words


async def nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


async def lose(client: Client, workflow_id: str) -> None:
    """Have Temporal know nothing of a workflow any more."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    )

    async def known() -> bool:
        try:
            await client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    await eventually(known, lambda seen: not seen, 60)


class Place(NamedTuple):
    """An installation without processes, and the server as its owner sees it."""

    settings: Settings
    servers: Addresses
    owner: MongoClient[Json]

    @property
    def data(self) -> str:
        return self.settings.database

    @property
    def target(self) -> Target:
        url = self.servers.owner_mongodb_url(self.data)
        return Target(url, url)

    @property
    def folder(self) -> Path:
        """Its object storage."""
        assert self.settings.storage_url is not None
        return Path(urlsplit(self.settings.storage_url).path)

    def all(self, collection: str) -> list[Json]:
        return list(self.owner[self.data][collection].find(sort=[("_id", 1)]))

    def vault(self) -> Vault:
        addresses = mongo_addresses(self.settings)
        return Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)

    async def audit(self, tenant: str, count: int) -> None:
        """Entries, under seals."""
        stores = Repositories.connect(mongo_addresses(self.settings), on_time_changed=nobody)
        try:
            await stores.audit.append([an_entry(tenant_id=tenant) for _ in range(count)])
            heads = StoredSealHeads(self.settings.storage_url)
            sealing = AuditActivities(stores.seals, heads, Statements(self.settings.token_keys))
            await ActivityEnvironment().run(sealing.seal, SealEverything(settle_seconds=0))
        finally:
            await stores.close()

    async def mark(self) -> int:
        """What a run of the sealer says half an hour later: everything is sealed up to now; the mark's number."""
        stores = Repositories.connect(mongo_addresses(self.settings), on_time_changed=nobody)
        try:
            last = await stores.seals.last(_LATER, MARKS)
            mark = next_mark(
                None if last is None else last.seal, await stores.seals.settled(_LATER, 0), datetime.now(UTC)
            )
            signed = Statements(self.settings.token_keys).sign_seal(mark)
            assert await stores.seals.add(_LATER, signed, Batch((), b""))
            await StoredSealHeads(self.settings.storage_url).keep(signed)
        finally:
            await stores.close()
        return mark.number

    async def put_file(self, path: str, content: bytes) -> None:
        assert self.settings.storage_url is not None
        await obstore.put_async(open_store(self.settings.storage_url), path, content)

    async def files(self) -> dict[str, bytes]:
        """Every object but the copies of seals."""
        assert self.settings.storage_url is not None
        store = open_store(self.settings.storage_url)
        names = [one["path"] async for chunk in obstore.list(store) for one in chunk]
        return {one: bytes(obstore.get(store, one).bytes()) for one in names if not one.startswith("audit-seals")}

    async def back_up(self) -> Taken:
        return await back_up(self.settings, silent)

    async def restore(self, backup: str | None = None) -> Restored:
        return await restore(self.settings, self.target, await chosen(self.settings, backup), silent)


class Town:
    """Makes installations that share one place for backups, with one key."""

    def __init__(self, servers: Addresses, database: str, folder: Path, owner: MongoClient[Json]) -> None:
        self.folder = folder
        self._servers = servers
        self._database = database
        self._owner = owner
        self._key = SecretStr(a_key())

    def place(self, **changes: object) -> Place:
        number = next(_NUMBERS)
        values: dict[str, object] = {
            "temporal_namespace": self._servers.temporal_namespace,
            "storage_url": (self.folder / f"files-{number}").as_uri(),
            "backup_url": (self.folder / "backups").as_uri(),
            "backup_vault_url": (self.folder / "vault-backups").as_uri(),
            "razorpay_base_url": "http://127.0.0.1:9",
            "backup_keys": self._key,
            "backup_mongodb_url": SecretStr(self._servers.reader_mongodb_url("admin")),
        }
        settings = settings_over(self._servers, f"{self._database}_{number}", **{**values, **changes})
        return Place(settings, self._servers, self._owner)


def typed(place: Place, *words: str, **variables: str) -> Result:
    """A command, as an operator types it with the settings of the environment."""
    settings = {**environment_of(place.settings), "COLUMNS": "200", **variables}
    nothing: Mapping[str, str | None] = {"VISITNOW_PROFILE": "development"}
    return CliRunner().invoke(app, list(words), env={**nothing, **settings})
