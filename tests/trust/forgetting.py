"""A desk where people are forgotten: real stores and workflows, and erasers that only note what they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.certificates import Certificates
from activities.deletions import DeletionActivities, Household, Sources
from activities.erasure import ErasureActivities
from adapters.erasure_log import StoredErasureLog
from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.tokens import Statement, Statements
from models.data_classes import RetentionClass
from models.deletions import Deletion, DeletionRef, DeletionState, Retained
from models.erasure import STORES, ErasureReceipt, Store
from models.errors import UnavailableError
from models.holds import LegalHold
from models.identity import PLATFORM, Role, System
from models.ids import random_id
from models.messaging import Message, Template
from models.policy import RetentionDays, RetentionSeconds, TenantPolicy
from models.providers import TenantRecord
from models.sessions import EndReason
from tests.adapters.mongo.people import an_account, now
from tests.stack import eventually
from tests.trust.holds import a_hold
from workers.runner import workflow_runner
from workflows.commander import Commander
from workflows.deletions import DeletionWorkflow
from workflows.deletions_gateway import deletion
from workflows.open_work import RunningWork
from workflows.policies import BULK_QUEUE, TASK_TIMEOUT

TEST: Final = System("tests")
NOTHING_STAYS: Final = TenantPolicy(retention_days=RetentionDays(identity=0, clinical=0, financial=0, logs=0))
"""Everything goes at once."""
MEANWHILE: Final = TenantPolicy(retention_seconds=RetentionSeconds(identity=600, clinical=0, financial=0, logs=0))
"""Who they are stays for some minutes."""

Handle = WorkflowHandle[DeletionWorkflow, tuple[Retained, ...]]


class Mail:
    """Keeps what was to be sent, once per id, as the real one does."""

    def __init__(self) -> None:
        self.sent: dict[str, Message] = {}

    async def send(self, message: Message) -> None:
        """Keep it."""
        self.sent[message.id] = message

    def about(self, deletion_id: str) -> list[Template]:
        """What somebody was told about a deletion, in its order."""
        return [one.template for one in self.sent.values() if deletion_id in one.id]


class NotingEraser:
    """Says that it erased one thing, and notes for whom it was asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: Counter[tuple[str, RetentionClass]] = Counter()
        self.away = 0
        """So many times it does not answer."""

    @property
    def store(self) -> Store:
        """Which it stands for."""
        return self._store

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """Whatever was not asked for yet."""
        return {"things": int(not self.asked[subject_id, data_class])}

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """One receipt."""
        if self.away:
            self.away -= 1
            raise UnavailableError("away for the test")
        self.asked[subject_id, data_class] += 1
        return [ErasureReceipt(store=self._store, part="things", data_class=data_class, erased=1, kept=0, at=at)]


class Ends:
    """Ends sessions in the database only."""

    def __init__(self, stores: Repositories) -> None:
        self._stores = stores

    async def end_all(self, subject_id: str, reason: EndReason) -> None:
        """End all of somebody's."""
        await self._stores.sessions.end_all(TEST, subject_id, reason, datetime.now(UTC))


class Farewell:
    """Deletions, their workflows, the mail and the erasers."""

    def __init__(self, stores: Repositories, client: Client, settings: Settings, folder: Path) -> None:
        """Nobody is at work before `at_work`."""
        self.stores = stores
        self.client = client
        self.mail = Mail()
        self.erasers = {store: NotingEraser(store) for store in STORES}
        self.statements = Statements(settings.token_keys)
        self.log = StoredErasureLog(folder.as_uri(), self.statements)
        self.certificates = Certificates(
            stores.deletions,
            stores.holds,
            self.log,
            partial(self.statements.sign, Statement.DELETION),
            issuer="https://visitnow.example",
            backups=timedelta(days=7),
            data_backups=timedelta(days=35),
        )
        self.steps = DeletionActivities(
            Sources(
                stores.deletions,
                stores.users,
                Ends(stores),
                stores.subject_visits,
                stores.holds,
                stores.tenancy,
                Household(stores.dependants, stores.appointments, stores.consents),
                stores.exports,
            ),
            Commander(client),
            RunningWork(client),
            self.mail,
            self.certificates,
            link=lambda deletion_id: f"https://visitnow.example/privacy/deletions/{deletion_id}",
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """A worker in this process."""
        erasing = ErasureActivities(self.erasers, self.stores.deletions)
        steps = [getattr(self.steps, name) for name in dir(self.steps) if not name.startswith("_")]
        async with Worker(
            self.client,
            task_queue=BULK_QUEUE,
            workflows=[DeletionWorkflow],
            activities=[*steps, erasing.erase],
            workflow_runner=workflow_runner(),
        ):
            yield

    async def policy(self, policy: TenantPolicy) -> None:
        """What the platform's settings are from now on."""
        record = TenantRecord(id=PLATFORM, slug=PLATFORM, name="VisitNow", policy=policy)
        await self.stores.directory.put_tenant(TEST, record)
        await self.stores.database["tenants"].update_one(
            {"_id": PLATFORM}, {"$set": {"policy": policy.model_dump(mode="json")}}
        )

    async def leaves(self, grace: timedelta = timedelta()) -> tuple[Deletion, Handle]:
        """Somebody has confirmed it, and the workflow goes."""
        account = an_account(PLATFORM, phone="+919812345678", roles={Role.PATIENT}, clinic_ids=set(), email=None)
        account = account.model_copy(update={"phone": f"+9177{abs(hash(account.id)) % 10**8:08d}"})
        await self.stores.users.put(TEST, account)
        asked = Deletion(
            id=random_id("del"),
            subject_id=account.id,
            challenge_id=random_id("otp"),
            body_hash="0" * 64,
            reason="I have moved to Ooty",
            requested_at=now(),
        )
        await self.stores.deletions.add(TEST, asked)
        assert await self.stores.deletions.confirm(TEST, asked.id, now(), now() + grace)
        confirmed = await self.found(asked.id)
        return confirmed, await self.begin(confirmed)

    async def begin(self, confirmed: Deletion) -> Handle:
        """Have its workflow begin."""
        what = deletion(DeletionRef.of(confirmed))
        return await self.client.start_workflow(
            DeletionWorkflow.run,
            what.arg,
            id=what.id,
            task_queue=what.queue,
            task_timeout=TASK_TIMEOUT,
        )

    async def found(self, deletion_id: str) -> Deletion:
        """It as it stands."""
        found = await self.stores.deletions.find(TEST, deletion_id)
        assert found is not None
        return found

    async def until(self, deletion_id: str, *states: DeletionState) -> Deletion:
        """It once it is so far."""
        return await eventually(lambda: self.found(deletion_id), lambda seen: seen.state in states, seconds=40)

    async def takes_back(self, deletion_id: str) -> Deletion:
        """Whoever asked for it has changed their mind; the workflow is not told."""
        return await self.stores.deletions.advance(TEST, deletion_id, DeletionState.CANCELLED, now())

    async def visited(self, subject_id: str) -> None:
        """Somebody was at a doctor's a month ago, and has paid."""
        then = now() - timedelta(days=30)
        visit = {"_id": random_id("apt"), "tenant_id": "tnt_a", "subject_id": subject_id, "state": "completed"}
        times = dict.fromkeys(("start", "end", "closes_at", "updated_at"), then)
        money: Document = {"order_id": None, "captured": 60_000, "refunds": []}
        await self.stores.database["appointments"].insert_one({**visit, **times, **money})

    async def holds(self, subject_id: str, lasts: timedelta, kept: RetentionClass | None = None) -> LegalHold:
        """A court has asked for everything of somebody, or for one class of it."""
        return await self.stores.holds.place(TEST, a_hold(subject_id, kept, now(), now() + lasts))

    async def lifts(self, hold: LegalHold) -> None:
        """It asks for it no more; workflows are not told."""
        await self.stores.holds.lift(TEST, hold.id, "usr_admin", now())
        await self.stores.deletions.look_again(TEST, hold.subject_id, hold.id, now())


async def forgotten(desk: Farewell) -> Deletion:
    """Everything goes at once."""
    await desk.policy(NOTHING_STAYS)
    deletion, handle = await desk.leaves(timedelta(seconds=1))
    await handle.result()
    return deletion


async def closed(desk: Farewell) -> Deletion:
    """Everything but what no rule keeps stays for its time."""
    await desk.policy(TenantPolicy())
    deletion, handle = await desk.leaves()
    await handle.result()
    return deletion


async def taken_back(desk: Farewell) -> Deletion:
    """Second thoughts."""
    deletion, handle = await desk.leaves(timedelta(days=7))
    await desk.until(deletion.id, DeletionState.GRACE)
    await desk.takes_back(deletion.id)
    await handle.signal(DeletionWorkflow.cancelled)
    await handle.result()
    return deletion


async def held(desk: Farewell) -> Deletion:
    """A hold stands in the way, and is lifted."""
    await desk.policy(NOTHING_STAYS)
    deletion, handle = await desk.leaves(timedelta(seconds=2))
    hold = await desk.holds(deletion.subject_id, timedelta(days=30))
    await desk.until(deletion.id, DeletionState.LEGAL_HOLD)
    await desk.lifts(hold)
    await handle.signal(DeletionWorkflow.changed)
    await handle.result()
    return deletion


DELETIONS: Final[dict[str, Callable[[Farewell], Awaitable[Deletion]]]] = {
    "forgotten": forgotten,
    "account_closed": closed,
    "deletion_taken_back": taken_back,
    "deletion_held": held,
}
"""The ways that a deletion can go."""
