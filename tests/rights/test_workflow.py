"""The clock of a request by right: warnings, a person called, the answer passed on; whoever dies in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from adapters.settings import Settings
from models.ids import rights_workflow_id
from models.messaging import Channel, Template
from models.rights import RightsState
from sandbox.servers.stack import Addresses
from tests.installation import installed
from tests.rights.support import OFFICERS, TEST, RightsDesk
from tests.stack import eventually
from workflows.rights import RightsWorkflow


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(servers: Addresses, settings: Settings) -> AsyncIterator[RightsDesk]:
    async with installed(servers, settings) as (stores, client):
        desk = RightsDesk(stores, client)
        async with desk.at_work():
            yield desk


async def test_an_answer_in_time_is_passed_on(desk: RightsDesk) -> None:
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


async def test_the_time_runs_out_and_a_person_is_called(desk: RightsDesk) -> None:
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


async def test_a_lost_word_of_the_answer_is_found_at_the_next_mark(desk: RightsDesk) -> None:
    request, handle = await desk.asks(timedelta(seconds=3))
    await desk.answers(request)
    assert await handle.result() is RightsState.ANSWERED
    assert await desk.mail.about(request.id) == [Template.RIGHTS_ANSWERED], "nobody is warned of what is answered"
