"""The clock of a request by right: warnings, a person called, the answer passed on; whoever dies in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.rights import RightsActivities
from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.client import open_client
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from models.identity import PLATFORM, System
from models.ids import random_id, rights_workflow_id
from models.messaging import Channel, Message, Template
from models.rights import RightsKind, RightsOutcome, RightsRef, RightsRequest, RightsState
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.people import an_account
from tests.stack import eventually
from workers.main import workflow_runner
from workflows.policies import NOTIFY_QUEUE, TASK_TIMEOUT
from workflows.rights import RightsWorkflow

TEST = System("tests")
OFFICERS = "grievances@visitnow.example"


class Mail:
    """Keeps what was to be sent, once per id, as the real one does."""

    def __init__(self) -> None:
        self.sent: dict[str, Message] = {}

    async def send(self, message: Message) -> None:
        self.sent[message.id] = message

    async def about(self, request_id: str) -> list[Template]:
        return [one.template for one in self.sent.values() if request_id in one.id]


class Desk(NamedTuple):
    """Where requests are kept and looked after."""

    stores: Repositories
    client: Client
    mail: Mail

    async def asks(self, due_in: timedelta) -> tuple[RightsRequest, WorkflowHandle[RightsWorkflow, RightsState]]:
        """Somebody asks, and the clock runs."""
        account = an_account(PLATFORM, phone=None)
        await self.stores.users.put(TEST, account)
        now = datetime.now(UTC)
        request = RightsRequest(
            id=random_id("rrq"), kind=RightsKind.CORRECTION, tenant_id=PLATFORM, subject_id=account.id,
            text="My name is misspelt", received_at=now.replace(microsecond=0), due_at=now + due_in,
        )  # fmt: skip
        await self.stores.rights.keep(TEST, request)
        handle = await self.client.start_workflow(
            RightsWorkflow.run, RightsRef.of(request), id=rights_workflow_id(request.id), task_queue=NOTIFY_QUEUE,
            task_timeout=TASK_TIMEOUT,
        )  # fmt: skip
        return request, handle

    async def answers(self, request: RightsRequest) -> None:
        await self.stores.rights.answer(TEST, request.id, RightsOutcome.GRANTED, "Corrected.", datetime.now(UTC))


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(servers: Addresses, settings: Settings) -> AsyncIterator[Desk]:
    owner = open_client(servers.owner_mongodb_url(settings.database), "tests")
    await ensure(owner[settings.database])
    owner.close()
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    client = await connect_temporal(settings)
    await register_search_attributes(client)
    mail = Mail()
    steps = RightsActivities(
        stores.rights, stores.users, mail, public_url="https://visitnow.example", officers=OFFICERS
    )
    async with Worker(
        client, task_queue=NOTIFY_QUEUE, workflows=[RightsWorkflow], activities=[steps.reach, steps.tell],
        workflow_runner=workflow_runner(),
    ):  # fmt: skip
        yield Desk(stores, client, mail)
    await stores.close()


async def test_an_answer_in_time_is_passed_on(desk: Desk) -> None:
    request, handle = await desk.asks(timedelta(days=30))
    status = await handle.query(RightsWorkflow.status)
    assert status.waiting_for is not None
    assert status.waiting_for.event == "answer"
    await desk.answers(request)
    await handle.signal(RightsWorkflow.answered)
    assert await handle.result() is RightsState.ANSWERED
    [told] = [one for one in desk.mail.sent.values() if request.id in one.id]
    assert (told.template, told.channel, told.subject_id) == (
        Template.RIGHTS_ANSWERED, Channel.EMAIL, request.subject_id,
    )  # fmt: skip
    assert "Corrected" not in str(told.params), "what the answer says is read after signing in"


async def test_the_time_runs_out_and_a_person_is_called(desk: Desk) -> None:
    request, handle = await desk.asks(timedelta(seconds=2))
    query = f'WorkflowId = "{rights_workflow_id(request.id)}" and NeedsHuman = true'

    async def called() -> int:
        return (await desk.client.count_workflows(query)).count

    assert await eventually(called, lambda count: count == 1) == 1
    assert await desk.mail.about(request.id) == [Template.RIGHTS_DUE] * 3
    assert {one.to for one in desk.mail.sent.values() if one.template is Template.RIGHTS_DUE} == {OFFICERS}
    late = await desk.stores.rights.find(TEST, request.id)
    assert late is not None
    assert (late.reached, late.overdue(datetime.now(UTC))) == (100, True)
    await desk.answers(request)
    await handle.signal(RightsWorkflow.answered)
    assert await handle.result() is RightsState.ANSWERED
    assert await eventually(called, lambda count: count == 0) == 0


async def test_a_lost_word_of_the_answer_is_found_at_the_next_mark(desk: Desk) -> None:
    request, handle = await desk.asks(timedelta(seconds=3))
    await desk.answers(request)
    assert await handle.result() is RightsState.ANSWERED
    assert await desk.mail.about(request.id) == [Template.RIGHTS_ANSWERED], "nobody is warned of what is answered"
