"""Records that have been kept for their time or not yet, what somebody left behind, and who sees to both."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bson import Binary
from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.erasure import ErasureActivities
from activities.retention import Ages, RetentionActivities
from adapters.erasure import erasers
from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from adapters.objects import Objects
from adapters.settings import Settings
from models.data_classes import DataClass, RetentionClass
from models.deletions import LogEntry, Retained
from models.erasure_ports import Redactor
from models.identity import PLATFORM, System
from models.ids import random_id
from models.retention import RetentionTally, Turn
from workers.main import certificates
from workers.runner import workflow_runner
from workflows.policies import BULK_QUEUE
from workflows.retention import RetentionWorkflow

WORLD: Final = System("the tests' world")
NOW: Final = datetime.now(UTC)


class Archive:
    """An installation with nothing but records, some of them old."""

    def __init__(
        self, stores: Repositories, client: Client, settings: Settings, folder: Path, redactor: Redactor | None = None
    ) -> None:
        """Files lie in `folder`; nobody is at work before `at_work`."""
        self.stores = stores
        self.client = client
        self.folder = folder
        self.settings = settings.model_copy(update={"storage_url": folder.as_uri(), "key_settle_seconds": 0.1})
        self.ages = Ages(stores.outdated, stores.tenancy)
        self.retention = RetentionActivities(
            self.ages,
            stores.outdated,
            Objects(folder.as_uri()),
            stores.vault,
            stores.holds,
            certificates(self.settings, stores),
            redactor=redactor,
        )

    def with_carrier(self, redactor: Redactor) -> Archive:
        """The same, where text messages have left."""
        return Archive(self.stores, self.client, self.settings, self.folder, redactor)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """A worker in this process."""
        redis = Redis.from_url(self.settings.redis_url.get_secret_value())
        erasing = ErasureActivities(
            erasers(self.settings, self.stores, redis, self.client, None), self.stores.deletions
        )
        worker = Worker(
            self.client,
            task_queue=BULK_QUEUE,
            workflows=[RetentionWorkflow],
            activities=[self.retention.sweep, self.retention.over, self.retention.amend, erasing.erase],
            workflow_runner=workflow_runner(),
        )
        try:
            async with worker:
                yield
        finally:
            await redis.aclose()

    async def turn(self) -> tuple[str, RetentionTally]:
        """One run of the schedule's workflow: its id and what it came to."""
        workflow_id = f"retention-{secrets.token_hex(4)}"
        tally = await self.client.execute_workflow(RetentionWorkflow.run, id=workflow_id, task_queue=BULK_QUEUE)
        return workflow_id, tally

    async def sweep(self, at: datetime = NOW) -> RetentionTally:
        """The part of it that is about those who stay."""
        return await ActivityEnvironment().run(self.retention.sweep, Turn(at=at))

    async def put(self, collection: str, tenant_id: str, dated_by: str, days: int, **fields: object) -> str:
        """A record that is a little older than so many days."""
        record: Document = {
            "_id": f"rec_{secrets.token_hex(8)}",
            "tenant_id": tenant_id,
            "subject_id": f"usr_{secrets.token_hex(8)}",
            dated_by: NOW - timedelta(days=days, hours=1),
            **fields,
        }
        await self.stores.database[collection].insert_one(record)
        return str(record["_id"])

    async def find(self, collection: str, record_id: str) -> Document | None:
        """One record as it lies there."""
        return await self.stores.database[collection].find_one({"_id": record_id})

    async def sealed(self, data_class: DataClass) -> Binary:
        """Somebody's words."""
        return await self.stores.vault.seal(f"usr_{secrets.token_hex(8)}", data_class, {"said": "a cough"})

    async def left_behind(self) -> LogEntry:
        """Somebody who was erased: their identity's time is over, that of their visits is not."""
        subject = f"usr_{secrets.token_hex(8)}"
        sealed = await self.stores.vault.seal(subject, DataClass.IDENTITY, {"name": "Nirmala"})
        person: Document = {"_id": subject, "tenant_id": PLATFORM, "subject_id": subject}
        await self.stores.database["users"].insert_one({**person, "sealed": {"identity": sealed}})
        left = NOW - timedelta(days=400)
        entry = LogEntry(
            deletion_id=random_id("del"),
            subject_id=subject,
            requested_at=left,
            confirmed_at=left,
            restricted_at=left,
            erased={RetentionClass.FINANCIAL: left},
            retained=(
                Retained(retained_under=RetentionClass.IDENTITY, rule="a rule", until=NOW - timedelta(minutes=1)),
                Retained(retained_under=RetentionClass.CLINICAL, rule="another", until=NOW + timedelta(days=1000)),
            ),
            at=left,
        )
        await self.stores.deletions.restore(WORLD, entry)
        return entry


async def _nothing_over(archive: Archive) -> str:
    return (await archive.turn())[0]


async def _something_over(archive: Archive) -> str:
    await archive.left_behind()
    return (await archive.turn())[0]


RETENTIONS: Final[dict[str, Callable[[Archive], Awaitable[str]]]] = {
    "nothing_over": _nothing_over,
    "kept_its_time": _something_over,
}
"""The ways that a turn can go; each gives its workflow's id."""
