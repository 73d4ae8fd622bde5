"""A deletion from its confirmation to its certificate: taken back, warned of, held, certified, certified anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.deletions import Decided, Step
from adapters.settings import Settings
from adapters.tokens import Statement
from models.data_classes import RetentionClass
from models.deletions import Deletion, DeletionRef, DeletionState, LogEntry
from models.dependants import Dependant
from models.erasure import STORES, Store
from models.errors import Code, VisitNowError
from models.ids import random_id
from models.messaging import Template
from models.policy import TenantPolicy
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.deletion_calls import a_deletion
from tests.adapters.mongo.people import a_session, now
from tests.disaster.support import lose
from tests.installation import installed
from tests.stack import eventually
from tests.trust.forgetting import MEANWHILE, NOTHING_STAYS, TEST, Farewell, closed, forgotten, held, taken_back
from workflows.deletions import DeletionWorkflow
from workflows.reviving import Reviver

_R = RetentionClass
CLASSES = set(_R) - {_R.NONE}
DATA_BACKUPS = timedelta(days=35)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    servers: Addresses, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Farewell]:
    async with installed(servers, settings) as (stores, client):
        at_work = Farewell(stores, client, settings, tmp_path_factory.mktemp("log"))
        async with at_work.at_work():
            yield at_work


async def test_somebody_is_forgotten(desk: Farewell) -> None:
    deletion = await forgotten(desk)
    done = await desk.found(deletion.id)
    assert (done.state, done.retained, done.waits_for) == (DeletionState.ERASED, (), ())
    asked = {
        (one.store, data_class)
        for one in desk.erasers.values()
        for who, data_class in one.asked
        if who == done.subject_id
    }
    assert asked == {(store, one) for store in STORES for one in CLASSES}
    assert {(one.store, one.data_class) for one in done.receipts} == asked
    told = desk.mail.about(deletion.id)
    assert told == [Template.DELETION_BEGUN, Template.ACCOUNT_CLOSED]
    account = await desk.stores.users.find(TEST, done.subject_id)
    assert account is not None
    assert account.removed_at is not None
    facts = desk.statements.read(Statement.DELETION, done.certificate or "")
    assert facts["deletion"] == done.id
    assert len(list(facts["receipts"])) == len(asked)  # type: ignore[call-overload]  # JSON, as it is read back
    assert done.backups_lapse_at == _last_of_data(done) + DATA_BACKUPS
    [entry] = [one for one in await desk.log.since(done.requested_at) if one.deletion_id == done.id]
    assert set(entry.erased) == CLASSES


def _last_of_data(done: Deletion) -> datetime:
    return max(one.at for one in done.receipts if one.store is not Store.KEYS)


async def test_what_a_law_keeps_is_listed_and_amended_when_it_goes(desk: Farewell) -> None:
    deletion = await closed(desk)
    done = await desk.found(deletion.id)
    assert {one.retained_under for one in done.retained} == {RetentionClass.IDENTITY, RetentionClass.LOGS}
    assert done.certificate_number == 1
    later = datetime.now(UTC) + timedelta(days=366)
    due = [one for one in await desk.certificates.due(later, 100) if one.deletion_id == deletion.id]
    assert {one.retained_under for one in due} == {RetentionClass.IDENTITY, RetentionClass.LOGS}
    for one in due:
        receipts = await desk.erasers[Store.MONGODB].erase(one.subject_id, one.retained_under, later)
        await desk.certificates.amend(one.deletion_id, one.retained_under, receipts, later)
    amended = await desk.found(deletion.id)
    assert amended.certificate_number == 3
    assert {one.erased_at is not None for one in amended.retained} == {True}
    assert desk.statements.read(Statement.DELETION, amended.certificate or "")["number"] == 3
    assert [one for one in await desk.certificates.due(later, 100) if one.deletion_id == deletion.id] == []
    [entry] = [one for one in await desk.log.since(deletion.requested_at) if one.deletion_id == deletion.id]
    assert {RetentionClass.IDENTITY, RetentionClass.LOGS} <= set(entry.erased)


async def test_what_a_hold_keeps_is_not_due_and_says_so(desk: Farewell) -> None:
    await desk.policy(MEANWHILE)
    deletion, handle = await desk.leaves()
    [left] = await handle.result()
    assert left.retained_under is RetentionClass.IDENTITY
    hold = await desk.holds(deletion.subject_id, timedelta(days=30))
    assert await _due(desk, deletion.id, left.until) == []
    prolonged = await desk.found(deletion.id)
    assert [(one.until, one.hold_id) for one in prolonged.retained] == [(hold.until, hold.id)]
    assert prolonged.certificate_number == 2
    await desk.lifts(hold)
    assert await _due(desk, deletion.id, now()) == [], "its own time is not over"
    shortened = await desk.found(deletion.id)
    assert [(one.until, one.hold_id) for one in shortened.retained] == [(left.until, None)]
    assert shortened.certificate_number == 3
    assert await _due(desk, deletion.id, left.until) == [RetentionClass.IDENTITY]


async def test_what_is_kept_only_by_a_hold_goes_when_that_is_lifted(desk: Farewell) -> None:
    await desk.policy(MEANWHILE)
    deletion, handle = await desk.leaves()
    longer, shorter = [await desk.holds(deletion.subject_id, timedelta(days=days), _R.IDENTITY) for days in (30, 10)]
    [left] = await handle.result()
    assert (left.until, left.hold_id) == (longer.until, longer.id)
    await desk.lifts(longer)
    assert await _due(desk, deletion.id, now()) == []
    assert [(one.until, one.hold_id) for one in (await desk.found(deletion.id)).retained] == [
        (shorter.until, shorter.id)
    ]
    await desk.lifts(shorter)
    later = now() + timedelta(minutes=11)
    assert await _due(desk, deletion.id, later) == [_R.IDENTITY]
    await desk.certificates.amend(deletion.id, _R.IDENTITY, (), later)
    assert [(one.hold_id, one.erased_at) for one in (await desk.found(deletion.id)).retained] == [(None, later)]


async def test_a_hold_that_is_lifted_while_it_is_decided_keeps_nothing(desk: Farewell) -> None:
    await desk.policy(MEANWHILE)
    deletion, handle = await desk.leaves(timedelta(days=7))
    about = DeletionRef.of(await desk.until(deletion.id, DeletionState.GRACE))
    await handle.terminate()
    hold = await desk.holds(deletion.subject_id, timedelta(days=30), _R.IDENTITY)
    await desk.stores.deletions.advance(TEST, deletion.id, DeletionState.RESTRICTED, now())
    activities = ActivityEnvironment()
    plan = await activities.run(desk.steps.plan, Step(about=about, at=now()))
    assert [one.hold_id for one in plan.retained] == [hold.id]
    await desk.lifts(hold)
    await activities.run(desk.steps.decide, Decided(about=about, at=now(), plan=plan))
    await activities.run(desk.steps.certify, Step(about=about, at=now()))
    assert await _due(desk, deletion.id, now() + timedelta(minutes=11)) == [_R.IDENTITY]


async def _due(desk: Farewell, deletion_id: str, at: datetime) -> list[RetentionClass]:
    return [one.retained_under for one in await desk.certificates.due(at, 100) if one.deletion_id == deletion_id]


async def test_second_thoughts(desk: Farewell) -> None:
    deletion = await taken_back(desk)
    after = await desk.found(deletion.id)
    assert after.state is DeletionState.CANCELLED
    assert desk.mail.about(deletion.id) == [Template.DELETION_BEGUN, Template.DELETION_CANCELLED]
    account = await desk.stores.users.find(TEST, deletion.subject_id)
    assert account is not None
    assert account.removed_at is None
    assert not any(who == deletion.subject_id for one in desk.erasers.values() for who, _ in one.asked)


async def test_a_word_that_is_not_so_closes_nothing(desk: Farewell) -> None:
    deletion, handle = await desk.leaves(timedelta(days=7))
    await desk.until(deletion.id, DeletionState.GRACE)
    await handle.signal(DeletionWorkflow.cancelled)
    await handle.signal(DeletionWorkflow.changed)
    status = await eventually(lambda: handle.query(DeletionWorkflow.status), lambda seen: seen.waiting_for is not None)
    assert (status.state, status.waiting_for.event if status.waiting_for else None) == ("grace", "second thoughts")
    assert (await desk.found(deletion.id)).state is DeletionState.GRACE
    await desk.takes_back(deletion.id)
    await handle.signal(DeletionWorkflow.cancelled)
    assert await handle.result() == ()


async def test_a_lost_word_of_second_thoughts_is_found_at_the_end_of_the_grace(desk: Farewell) -> None:
    deletion, handle = await desk.leaves(timedelta(seconds=2))
    await desk.until(deletion.id, DeletionState.GRACE)
    await desk.takes_back(deletion.id)
    assert await handle.result() == ()
    assert (await desk.found(deletion.id)).state is DeletionState.CANCELLED


async def test_a_hold_stands_in_the_way_until_it_is_lifted(desk: Farewell) -> None:
    deletion = await held(desk)
    assert (await desk.found(deletion.id)).state is DeletionState.ERASED


async def test_a_hold_on_everything_waits_although_every_class_stays_anyway(desk: Farewell) -> None:
    await desk.policy(TenantPolicy())
    deletion, handle = await desk.leaves(timedelta(seconds=1))
    await desk.visited(deletion.subject_id)
    hold = await desk.holds(deletion.subject_id, timedelta(days=30))
    waiting = await desk.until(deletion.id, DeletionState.LEGAL_HOLD, DeletionState.ERASED)
    assert waiting.state is DeletionState.LEGAL_HOLD
    assert not any(who == deletion.subject_id for one in desk.erasers.values() for who, _ in one.asked)
    await desk.lifts(hold)
    await handle.signal(DeletionWorkflow.changed)
    assert {one.retained_under for one in await handle.result()} == CLASSES
    done = await desk.found(deletion.id)
    assert done.backups_lapse_at == _last_of_data(done) + DATA_BACKUPS, "every key stays, and opens older backups"


@pytest.mark.fault_matrix
async def test_a_hold_ends_by_itself(desk: Farewell) -> None:
    await desk.policy(NOTHING_STAYS)
    deletion, handle = await desk.leaves(timedelta(seconds=1))
    await desk.holds(deletion.subject_id, timedelta(seconds=12))
    waiting = await desk.until(deletion.id, DeletionState.LEGAL_HOLD)
    assert "legal hold" in (await eventually(lambda: desk.found(waiting.id), lambda one: bool(one.waits_for))).waits_for
    await handle.result()
    assert (await desk.found(deletion.id)).state is DeletionState.ERASED


async def test_sessions_end_with_the_confirmation(desk: Farewell) -> None:
    deletion, handle = await desk.leaves(timedelta(days=7))
    await desk.until(deletion.id, DeletionState.GRACE)
    account = await desk.stores.users.find(TEST, deletion.subject_id)
    assert account is not None
    during = a_session(account)
    await desk.stores.sessions.add(TEST, during)
    assert (await desk.stores.sessions.live(TEST, account.id, now()))[0].id == during.id
    await handle.terminate()


async def test_stores_that_are_away_are_waited_for(desk: Farewell) -> None:
    await desk.policy(NOTHING_STAYS)
    for store in STORES:
        desk.erasers[store].away = 2
    deletion, handle = await desk.leaves()
    await handle.result()
    done = await desk.found(deletion.id)
    assert done.state is DeletionState.ERASED
    assert {(one.store, one.data_class) for one in done.receipts} == {
        (store, one) for store in STORES for one in CLASSES
    }
    asked = [desk.erasers[store].asked[deletion.subject_id, one] for store in STORES for one in CLASSES]
    assert set(asked) == {1}


async def test_nobody_has_two_deletions_that_go_on(desk: Farewell) -> None:
    deletion, handle = await desk.leaves(timedelta(days=7))
    another = deletion.model_copy(update={"id": "del_another", "state": DeletionState.REQUESTED})
    kept = await asyncio.gather(*(desk.stores.deletions.add(TEST, another) for _ in range(5)))
    assert {one.id for one in kept} == {deletion.id}
    await desk.until(deletion.id, DeletionState.GRACE)
    await desk.takes_back(deletion.id)
    await handle.signal(DeletionWorkflow.cancelled)
    await handle.result()
    assert (await desk.stores.deletions.add(TEST, another)).id == another.id


async def test_closing_and_taking_back_at_once_come_to_one_of_both(desk: Farewell) -> None:
    for _ in range(3):
        deletion, handle = await desk.leaves(timedelta(days=7))
        await desk.until(deletion.id, DeletionState.GRACE)
        to = (DeletionState.RESTRICTED, DeletionState.CANCELLED)
        states = await asyncio.gather(*(desk.stores.deletions.advance(TEST, deletion.id, one, now()) for one in to))
        assert len({one.state for one in states}) == 1
        await handle.terminate()


async def test_a_restored_database_is_told_of_it(desk: Farewell) -> None:
    deletion = await forgotten(desk)
    [entry] = [one for one in await desk.log.since(deletion.requested_at) if one.deletion_id == deletion.id]
    await desk.stores.database["deletions"].delete_one({"_id": deletion.id})
    await desk.stores.deletions.restore(TEST, entry)
    await desk.stores.deletions.restore(TEST, entry)
    back = await desk.found(deletion.id)
    assert (back.state, back.subject_id, back.retained) == (DeletionState.ERASED, deletion.subject_id, entry.retained)
    issued = await desk.certificates.issue(deletion.id, datetime.now(UTC))
    assert issued.certificate is not None


async def test_one_that_took_effect_after_the_backup_goes_on(desk: Farewell) -> None:
    """The restored database has it in its grace; the log says that it was closed since, and Temporal was lost too."""
    await desk.policy(NOTHING_STAYS)
    deletion, handle = await desk.leaves(timedelta(days=7))
    about = DeletionRef.of(await desk.until(deletion.id, DeletionState.GRACE))
    await handle.terminate()
    assert not await Reviver(desk.client).resume(about), "one that Temporal knows is left alone"
    entry = LogEntry(
        **about.model_dump(include={"deletion_id", "subject_id", "confirmed_at"}),
        state=DeletionState.RESTRICTED,
        requested_at=deletion.requested_at,
        restricted_at=now(),
        at=now(),
    )
    await desk.stores.deletions.restore(TEST, entry)
    closed_again = await desk.found(deletion.id)
    assert (closed_again.state, closed_again.restricted_at) == (DeletionState.RESTRICTED, entry.restricted_at)
    await lose(desk.client, handle.id)
    assert await Reviver(desk.client).resume(DeletionRef.of(closed_again))
    done = await desk.until(deletion.id, DeletionState.ERASED)
    assert done.certificate is not None


async def test_an_earlier_wish_that_was_taken_back_is_not_in_its_way(desk: Farewell) -> None:
    earlier, handle = await desk.leaves(timedelta(days=7))
    await desk.until(earlier.id, DeletionState.GRACE)
    times = dict.fromkeys(("requested_at", "confirmed_at", "restricted_at", "at"), now())
    entry = LogEntry.model_validate(
        {"deletion_id": "del_later", "subject_id": earlier.subject_id, "state": DeletionState.ERASING, **times}
    )
    await desk.stores.deletions.restore(TEST, entry)
    assert (await desk.found(earlier.id)).state is DeletionState.CANCELLED
    assert (await desk.found("del_later")).state is DeletionState.ERASING
    await handle.terminate()


async def test_a_child_that_was_gone_before_anybody_knew_is_counted(desk: Farewell) -> None:
    """Its step is run again, as after a worker that died when all was done."""
    parent, child = random_id("usr"), random_id("dep")
    born = Dependant(id=child, subject_id=parent, name="Canary", date_of_birth=date(2020, 2, 2), relation="son")
    await desk.stores.dependants.put(TEST, born)
    answers = [{"subject_id": parent, "about": child, "purpose": "test", "number": one} for one in (1, 2)]
    await desk.stores.database["consents"].insert_many([{"_id": random_id("cns"), **one} for one in answers])
    asked = await desk.stores.deletions.add(TEST, a_deletion(parent, dependant_id=child))
    about = DeletionRef(
        deletion_id=asked.id, subject_id=parent, dependant_id=child, confirmed_at=now(), grace_until=now()
    )
    step = Step(about=about, at=now())
    first, again = [await ActivityEnvironment().run(desk.steps.forget_child, step) for _ in range(2)]
    for receipts in (first, again):
        assert {one.part: one.erased for one in receipts} == {"consents": 2, "dependants": 1}


async def test_an_entry_of_somebody_else_is_not_believed(desk: Farewell, tmp_path: Path) -> None:
    other = Farewell(desk.stores, desk.client, Settings(), tmp_path)
    (tmp_path / "erasures").mkdir()
    (tmp_path / "erasures" / "del_a.json").write_text("not.signed.byus")
    with pytest.raises(ValueError, match="not one of ours"):
        await other.log.since(datetime(2020, 1, 1, tzinfo=UTC))


async def test_what_is_not_there_cannot_move(desk: Farewell) -> None:
    with pytest.raises(VisitNowError) as refused:
        await desk.stores.deletions.advance(TEST, "del_nobody", DeletionState.GRACE, now())
    assert refused.value.code is Code.NOT_FOUND


async def test_the_warning_comes_two_days_before(desk: Farewell) -> None:
    await desk.policy(TenantPolicy())
    deletion, handle = await desk.leaves(timedelta(days=2, seconds=2))
    await eventually(
        lambda: _told(desk, deletion.id), lambda told: told == [Template.DELETION_BEGUN, Template.DELETION_DUE]
    )
    assert (await desk.found(deletion.id)).state is DeletionState.GRACE
    await desk.takes_back(deletion.id)
    await handle.signal(DeletionWorkflow.cancelled)
    await handle.result()


async def _told(desk: Farewell, deletion_id: str) -> list[Template]:
    return desk.mail.about(deletion_id)
