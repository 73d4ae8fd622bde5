"""A stack whose servers and processes are the test's to break, and how each path ends on it when nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import pytest_asyncio
from pymongo.errors import PyMongoError
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from activities.compliance import SealEverything, SealTally
from adapters.connections import connect_temporal
from models.operations import ReconciliationTally
from models.upkeep import UpkeepTally
from sandbox.servers.mongod import Mongod
from sandbox.servers.redis import Redis
from sandbox.servers.stack import LocalServers
from sandbox.servers.temporal import Temporal
from tests.booking.ending import same_ending, settled
from tests.booking.paths import MOVING, PATHS, Starts, Visit, catalogue
from tests.faults import dying, held_up
from tests.invariants import collect, violations
from tests.stack import LONG, Json, Stack, running
from workflows.compliance import AuditSealingWorkflow
from workflows.operations import Reconcile, ReconciliationWorkflow
from workflows.policies import BULK_QUEUE
from workflows.upkeep import UpkeepWorkflow

SERVERS: Final = ("mongod", "redis", "temporal")
REST_SECONDS: Final = 60.0
PATIENCE: Final = timedelta(seconds=2)
LONG_AGO: Final = timedelta(hours=1)


class Town:
    """The stack, its servers, and the endings of undisturbed runs."""

    def __init__(self, stack: Stack, servers: LocalServers, temporal: Client) -> None:
        self.stack = stack
        self.servers = servers
        self.temporal = temporal
        self.told: dict[str, Sequence[str]] = {}
        self._starts = Starts(stack)
        self._endings: dict[str, Json] = {}
        self.undisturbed: dict[str, str] = {}
        """The appointment of each path's undisturbed run."""

    # Visits

    async def visit(self, path: str, *, webhook: str = "once") -> Visit:
        """Somebody who is about to take a path."""
        wanted = PATHS[path]
        start = await self._starts.next(wanted.offer)
        there = await self._starts.next(wanted.offer) if MOVING in wanted.steps else None
        return Visit(self.stack, wanted, start, webhook=webhook, there=there)

    async def endings(self, paths: Sequence[str]) -> None:
        """Learn how these paths end undisturbed, side by side."""
        unknown = [path for path in dict.fromkeys(paths) if path not in self._endings]

        async def learn(path: str) -> None:
            visit = await self.visit(path)
            await visit.play()
            self._endings[path] = await settled(self.stack, self.temporal, visit.id, visit.path)
            self.told[visit.id] = visit.told
            self.undisturbed[path] = visit.id

        await asyncio.gather(*(learn(path) for path in unknown))

    async def ends_as_usual(self, *visits: Visit) -> None:
        """Wait until each visit has ended as an undisturbed one does and every invariant holds again."""
        for visit in visits:
            await same_ending(self.stack, self.temporal, visit.id, self._endings[visit.path.name])
            self.told[visit.id] = visit.told
        await self.holds()

    async def holds(self) -> None:
        """Wait until every invariant holds."""
        give_up = time.monotonic() + REST_SECONDS
        while broken := violations(await collect(self.stack, self.temporal, self.told)):
            assert time.monotonic() < give_up, "\n".join(broken)
            await asyncio.sleep(0.2)

    # Faults

    def dying(self, point: str) -> AbstractAsyncContextManager[None]:
        """The worker is killed at `before:step` or `after:step` within the block, and replaced at once."""
        return dying(self.stack, point)

    def held_up(self, point: str, then: Callable[[], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
        """A step waits at `before:step` or `after:step` while `then` happens; afterwards it goes on."""
        return held_up(self.stack, point, then)

    async def restart_api(self, down_seconds: float = 0.5) -> None:
        """The API crashes, with all that it was about to do, and comes back."""
        self.stack.api.kill()
        await asyncio.sleep(down_seconds)
        self.stack.api.start()
        await asyncio.to_thread(self.stack.await_ready)

    async def all_die(self) -> None:
        """API, workflow service and worker crash at once, and with them what was only on its way; `mend` follows."""
        for one in (self.stack.api, self._server("temporal").process, self.stack.worker):
            one.kill()

    async def restart(self, server: str, down_seconds: float = 0.5) -> None:
        """MongoDB (`mongod`), `redis` or `temporal` crashes and comes back; Redis comes back empty."""
        self._server(server).process.kill()
        await asyncio.sleep(down_seconds)
        await asyncio.to_thread(self._server(server).start)

    async def mend(self) -> None:
        """Whatever an earlier test has left dead runs again, and no fault is armed."""
        for server in SERVERS:
            if not self._server(server).process.alive:
                await asyncio.to_thread(self._server(server).start)
        if not self.stack.worker.alive:
            self.stack.restart_worker()
        if not self.stack.api.alive:
            self.stack.api.start()
        await asyncio.to_thread(self.stack.await_ready)
        async with self.stack.control() as control:
            assert (await control.delete("/_control/faults")).is_success

    def _server(self, name: str) -> Mongod | Redis | Temporal:
        known = {"mongod": self.servers.mongod, "redis": self.servers.redis, "temporal": self.servers.temporal}
        chosen = known[name]
        assert chosen is not None
        return chosen

    async def sweep(self) -> ReconciliationTally:
        """Run the reconciliation that a schedule runs every few minutes."""
        return await sweep(self.temporal)

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[None]:
        """The schedule of the reconciliation in fast motion: what could not be passed on is swept within seconds."""
        sweeping = asyncio.create_task(self._keep_sweeping())
        try:
            yield
            assert not sweeping.done(), "nobody swept"
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(1)
            # A server that is away is what the tests are about; the next turn looks again.
            with suppress(PyMongoError, RPCError, WorkflowFailureError):
                if await asyncio.to_thread(self._age_the_inbox):
                    await self.sweep()

    def _age_the_inbox(self) -> int:
        now = datetime.now(UTC)
        waiting = {"waiting": True, "stored_at": {"$lt": now - PATIENCE, "$gt": now - LONG_AGO}}
        return self.stack.db.webhook_inbox.update_many(waiting, {"$set": {"stored_at": now - LONG_AGO}}).modified_count


async def sweep(temporal: Client) -> ReconciliationTally:
    """Run one reconciliation over the last two hours."""
    return await temporal.execute_workflow(
        ReconciliationWorkflow.run,
        Reconcile(look_back=timedelta(hours=2)),
        id="reconcile-now",
        task_queue=BULK_QUEUE,
    )


async def turn(temporal: Client) -> UpkeepTally:
    """Run one turn of the upkeep that a schedule runs every minute."""
    return await temporal.execute_workflow(UpkeepWorkflow.run, id="upkeep-now", task_queue=BULK_QUEUE)


async def seal(temporal: Client) -> SealTally:
    """Put the audit under seals, as a schedule does every five minutes, whatever has just come included."""
    return await temporal.execute_workflow(
        AuditSealingWorkflow.run, SealEverything(settle_seconds=0), id="audit-sealing-now", task_queue=BULK_QUEUE
    )


@pytest.fixture(scope="module")
def own_stack(own_servers: LocalServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on servers of its own."""
    folder = tmp_path_factory.mktemp("stack")
    with running(own_servers.addresses, "visitnow_faults", folder, LONG, catalogue=catalogue()) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(own_stack: Stack, own_servers: LocalServers) -> Town:
    """The town of a module."""
    return Town(own_stack, own_servers, await connect_temporal(own_stack.settings))
