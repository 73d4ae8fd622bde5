"""An export's way: made, announced, kept for its time, removed; late, it calls a person; stopped, it ends at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from activities.deletions import Step
from activities.exports import LATE, ExportUpkeep
from adapters.settings import Settings
from adapters.temporal.in_clear import history_in_clear
from cli.seed.catalogues import full
from cli.seed.write import write
from models.deletions import Deletion, DeletionRef, DeletionState
from models.exports import Export, ExportKind, ExportState
from models.identity import Subject
from models.ids import export_workflow_id, random_id
from models.messaging import Channel, Template
from models.policy import TenantPolicy
from sandbox.servers.stack import Addresses
from tests.installation import installed
from tests.stack import eventually
from tests.trust.export_support import OFFICERS, TEST, Exporter, Opened, Somebody, moment, somebody
from tests.trust.forgetting import Farewell
from workflows.exports import ExportWorkflow
from workflows.exports_gateway import ExportsGateway


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def idle(
    servers: Addresses, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Exporter]:
    """Nobody is at work."""
    async with installed(servers, settings) as (stores, client):
        await write(settings, full(TenantPolicy()))
        yield Exporter(stores, client, tmp_path_factory.mktemp("exports").as_uri())


async def _state(exporter: Exporter, export: Export) -> ExportState:
    return (await exporter.find(export)).state


async def test_it_is_made_announced_kept_and_removed(idle: Exporter) -> None:
    patient = await somebody(idle)
    export = await idle.asked(patient.account.id, lifetime_seconds=4)
    async with idle.at_work():
        handle = await idle.begun(export)
        await eventually(lambda: _state(idle, export), lambda state: state is ExportState.READY)
        ready = await idle.find(export)
        assert ready.ready_at is not None
        assert ready.expires_at == ready.ready_at + timedelta(seconds=4)
        assert Opened.of(await idle.file(ready)).documents("users")
        status = await handle.query(ExportWorkflow.status)
        assert status.state == ExportState.READY
        assert status.waiting_for is not None
        assert await handle.result() is ExportState.EXPIRED
    gone = await idle.find(export)
    assert (gone.state, gone.key, gone.portions) == (ExportState.EXPIRED, None, ())
    assert await idle.maker.clear(export.id) == 0, "nothing is left of it"
    [told] = [one for one in idle.mail.sent.values() if export.id in one.id]
    assert (told.template, told.channel, told.to) == (Template.EXPORT_READY, Channel.SMS, patient.account.phone)
    history = await history_in_clear(idle.client, export_workflow_id(export.id))
    for canary in patient.canaries:
        assert canary.encode() not in history
    assert export.key not in history if export.key else False


async def test_nobody_is_at_work_and_a_person_is_called(idle: Exporter) -> None:
    patient = await somebody(idle)
    now = moment()
    export = await idle.asked(patient.account.id, due_at=now + timedelta(seconds=3))
    # What packs it is away; what watches the clock is not.
    broken = Exporter(idle.stores, idle.client, None)
    query = f'WorkflowId = "{export_workflow_id(export.id)}" and NeedsHuman = true'

    async def called() -> int:
        return (await idle.client.count_workflows(query)).count

    async with broken.at_work():
        await idle.begun(export)
        assert await eventually(called, lambda count: count == 1) == 1
    late = [one for one in broken.mail.sent.values() if export.id in one.id]
    assert [one.template for one in late] == [Template.RIGHTS_DUE] * 3
    assert {one.to for one in late} == {OFFICERS}
    assert (await idle.find(export)).reached == 100
    async with idle.at_work():
        await eventually(lambda: _state(idle, export), lambda state: state is ExportState.READY, 90)
        assert await eventually(called, lambda count: count == 0) == 0


async def test_it_is_stopped_while_it_is_kept(idle: Exporter) -> None:
    patient = await somebody(idle)
    export = await idle.asked(patient.account.id)
    async with idle.at_work():
        handle = await idle.begun(export)
        await eventually(lambda: _state(idle, export), lambda state: state is ExportState.READY)
        assert list(await idle.stores.exports.stop(TEST, patient.account.id, moment())) == [export.id]
        await handle.signal(ExportWorkflow.stop)
        assert await handle.result() is ExportState.STOPPED
    assert await idle.maker.clear(export.id) == 0
    assert not await idle.stores.exports.stop(TEST, patient.account.id, moment()), "there is nothing left to clear"


async def test_it_is_stopped_before_anybody_is_at_work(idle: Exporter) -> None:
    patient = await somebody(idle)
    export = await idle.asked(patient.account.id)
    handle = await idle.begun(export)
    await idle.stores.exports.stop(TEST, patient.account.id, moment())
    async with idle.at_work():
        assert await handle.result() is ExportState.STOPPED
    assert not [one for one in idle.mail.sent.values() if export.id in one.id], "nobody is told of what there is not"


async def test_a_practice_that_takes_its_records_along_has_read_each(idle: Exporter) -> None:
    """As each patient sees in who has read theirs; whoever takes along their own has read nobody else's."""
    patient = await somebody(idle)
    export = await idle.asked(patient.visit.tenant_id, ExportKind.TENANT, by="usr_tenant_admin")
    own = await idle.asked(patient.account.id)
    async with idle.at_work():
        for one in (export, own):
            await idle.begun(one)
            await eventually(partial(_state, idle, one), lambda state: state is ExportState.READY, 60)
    page = await idle.stores.audit.looks(Subject(patient.account.id), patient.account.id, 50, None)
    assert [(one.actor, one.target, one.why) for one in page.items if "export" in (one.why or "")] == [
        ("usr_tenant_admin", patient.visit.id, f"export:{export.id}")
    ]


# Whoever is being forgotten


async def test_whoever_is_forgotten_has_no_export_from_that_moment_on(
    idle: Exporter, settings: Settings, tmp_path: Path
) -> None:
    patient = await somebody(idle)
    export = await idle.asked(patient.account.id)
    async with idle.at_work():
        handle = await idle.begun(export)
        await eventually(lambda: _state(idle, export), lambda state: state is ExportState.READY)
        farewell = Farewell(idle.stores, idle.client, settings, tmp_path)
        step = Step(about=DeletionRef.of(await _leaving(idle, patient)), at=moment())
        assert await farewell.steps.restrict(step) is DeletionState.RESTRICTED
        assert (await idle.find(export)).is_open(moment()) is False
        assert await handle.result() is ExportState.STOPPED
        assert await idle.maker.clear(export.id) == 0
        again = await idle.begun(await idle.asked(patient.account.id))
        assert await again.result() is ExportState.STOPPED, "whoever asks a moment too late gets nothing"
    practice = await idle.asked(patient.visit.tenant_id, ExportKind.TENANT, by="usr_tenant_admin")
    found = await idle.opened(practice)
    everything = b"\n".join(found.contents.values())
    for canary in (*patient.canaries, patient.account.id):
        assert canary.encode() not in everything, canary
    assert found.documents("clinics")


async def _leaving(idle: Exporter, patient: Somebody) -> Deletion:
    """They have confirmed it, and had their time for second thoughts."""
    deletions, now = idle.stores.deletions, moment()
    asked = Deletion(
        id=random_id("del"),
        subject_id=patient.account.id,
        challenge_id=random_id("otp"),
        body_hash="0" * 64,
        requested_at=now,
    )
    await deletions.add(TEST, asked)
    assert await deletions.confirm(TEST, asked.id, now, now)
    return await deletions.advance(TEST, asked.id, DeletionState.GRACE, now)


# What nobody looks after


async def test_what_was_never_begun_is_begun(idle: Exporter) -> None:
    patient = await somebody(idle)
    export = await idle.asked(patient.account.id)
    upkeep = ExportUpkeep(idle.stores.exports, idle.maker, ExportsGateway(idle.client))
    assert await upkeep.begin(moment() + timedelta(seconds=1), 100) >= 1
    assert await upkeep.begin(moment() + timedelta(seconds=1), 100) >= 1, "and again, which changes nothing"
    async with idle.at_work():
        await eventually(lambda: _state(idle, export), lambda state: state is ExportState.READY)


async def test_a_file_outlives_a_lost_workflow_for_minutes_only(idle: Exporter) -> None:
    patient = await somebody(idle)
    export, _ = await idle.made(await idle.asked(patient.account.id))
    now = moment()
    assert await idle.stores.exports.finish(TEST, export, "0" * 64, now)
    upkeep = ExportUpkeep(idle.stores.exports, idle.maker, ExportsGateway(idle.client))
    over = now + timedelta(seconds=export.lifetime_seconds)
    await upkeep.forget(over + LATE - timedelta(seconds=1), 100)
    assert await _state(idle, export) is ExportState.READY
    assert await upkeep.forget(over + LATE + timedelta(seconds=1), 100) > 0
    gone = await idle.find(export)
    assert (gone.state, gone.key) == (ExportState.EXPIRED, None)
    assert await idle.maker.clear(export.id) == 0
