"""A desk where requests by right are kept and looked after, with a mail that keeps what it was given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.rights import RightsActivities
from adapters.mongo.repositories import Repositories
from models.due_clock import MARKS
from models.identity import PLATFORM, System
from models.ids import random_id, rights_workflow_id
from models.messaging import Message, Template
from models.rights import RightsKind, RightsOutcome, RightsRef, RightsRequest, RightsState
from tests.adapters.mongo.people import an_account
from tests.stack import eventually
from workers.runner import workflow_runner
from workflows.policies import NOTIFY_QUEUE, TASK_TIMEOUT
from workflows.rights import RightsWorkflow

TEST: Final = System("tests")
OFFICERS: Final = "grievances@visitnow.example"


class Mail:
    """Keeps what was to be sent, once per id, as the real one does."""

    def __init__(self) -> None:
        self.sent: dict[str, Message] = {}

    async def send(self, message: Message) -> None:
        """Keep it."""
        self.sent[message.id] = message

    async def about(self, request_id: str) -> list[Template]:
        """What was sent because of a request."""
        return [one.template for one in self.sent.values() if request_id in one.id]


class RightsDesk:
    """Requests, their clocks and the mail."""

    def __init__(self, stores: Repositories, client: Client) -> None:
        """Nobody is at work before `at_work`."""
        self.stores = stores
        self.client = client
        self.mail = Mail()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """A worker in this process."""
        stores = self.stores
        steps = RightsActivities(
            stores.rights, stores.users, self.mail, public_url="https://visitnow.example", officers=OFFICERS
        )
        async with Worker(
            self.client,
            task_queue=NOTIFY_QUEUE,
            workflows=[RightsWorkflow],
            activities=[steps.reach, steps.tell],
            workflow_runner=workflow_runner(),
        ):
            yield

    async def asks(self, due_in: timedelta) -> tuple[RightsRequest, WorkflowHandle[RightsWorkflow, RightsState]]:
        """Somebody asks, and the clock runs."""
        account = an_account(PLATFORM, phone=None)
        await self.stores.users.put(TEST, account)
        now = datetime.now(UTC)
        request = RightsRequest(
            id=random_id("rrq"),
            kind=RightsKind.CORRECTION,
            tenant_id=PLATFORM,
            subject_id=account.id,
            text="My name is misspelt",
            received_at=now.replace(microsecond=0),
            due_at=now + due_in,
        )
        await self.stores.rights.keep(TEST, request)
        handle = await self.client.start_workflow(
            RightsWorkflow.run,
            RightsRef.of(request),
            id=rights_workflow_id(request.id),
            task_queue=NOTIFY_QUEUE,
            task_timeout=TASK_TIMEOUT,
        )
        return request, handle

    async def answers(self, request: RightsRequest) -> None:
        """Somebody answers; the workflow is not told."""
        await self.stores.rights.answer(TEST, request.id, RightsOutcome.GRANTED, "Corrected.", datetime.now(UTC))


async def in_time(desk: RightsDesk) -> RightsRequest:
    """Answered before anybody is warned."""
    request, handle = await desk.asks(timedelta(days=30))
    await desk.answers(request)
    await handle.signal(RightsWorkflow.answered)
    await handle.result()
    return request


async def too_late(desk: RightsDesk) -> RightsRequest:
    """Everybody was warned before somebody answered."""
    request, handle = await desk.asks(timedelta(seconds=2))
    await eventually(lambda: desk.mail.about(request.id), lambda told: len(told) == len(MARKS))
    await desk.answers(request)
    await handle.signal(RightsWorkflow.answered)
    await handle.result()
    return request


RIGHTS: Final[dict[str, Callable[[RightsDesk], Awaitable[RightsRequest]]]] = {
    "right_answered": in_time,
    "right_answered_late": too_late,
}
"""The ways that a request can go."""
