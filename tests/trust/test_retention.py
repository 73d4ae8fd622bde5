"""What was kept for its time goes, tenant by tenant and by its own settings; younger things and what is held stay."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from temporalio.client import WorkflowFailureError

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.client import Document, open_client
from adapters.mongo.encryption import ERASED
from adapters.mongo.indexes import ensure
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from cli.output import CommandError
from cli.retention import planned, table_of, trigger
from models.data_classes import DataClass, RetentionClass
from models.erasure import Store
from models.errors import SubjectErasedError, UnavailableError
from models.identity import PLATFORM
from models.policy import RetentionDays, TenantPolicy
from models.providers import TenantRecord
from models.retention import Line
from sandbox.servers.stack import Addresses
from tests.stack import eventually
from tests.trust.holds import a_hold
from tests.trust.retaining import NOW, WORLD, Archive
from workers.schedules import apply, schedules

LONG, SHORT = "tnt_long", "tnt_short"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def archive(
    servers: Addresses, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Archive]:
    owner = open_client(servers.owner_mongodb_url(settings.database), "tests")
    await ensure(owner[settings.database])
    owner.close()
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    short = TenantPolicy(retention_days=RetentionDays(clinical=100, financial=200, logs=10))
    await stores.directory.put_tenant(WORLD, TenantRecord(id=LONG, slug="long", name="Long"))
    await stores.directory.put_tenant(WORLD, TenantRecord(id=SHORT, slug="short", name="Short", policy=short))
    client = await connect_temporal(settings)
    await register_search_attributes(client)
    yield Archive(stores, client, settings, tmp_path_factory.mktemp("objects"))
    await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


async def test_a_visit_s_words_go_after_their_time_and_the_visit_stays(archive: Archive) -> None:
    words = {"sealed": {"clinical": await archive.sealed(DataClass.CLINICAL)}, "body_hash": "ab"}
    old = await archive.put("appointments", SHORT, "end", 100, **words)
    young = await archive.put("appointments", SHORT, "end", 99, **words)
    elsewhere = await archive.put("appointments", LONG, "end", 100, **words)
    claim = {"intake": await archive.sealed(DataClass.CLINICAL), "body_hash": "ab"}
    time: Document = {"practitioner_id": "prc_1", "provider_id": "prv_1", "start": NOW, "end": NOW}
    await archive.stores.database["slots"].insert_one(
        {"_id": old, "tenant_id": SHORT, "kind": "booked", "cells": [1], **time, **claim}
    )
    person = await archive.find("appointments", old)
    assert person is not None
    sits = {"subject_id": person["subject_id"], **claim}
    seats: list[Document] = [{"owner": old, **sits}, {"owner": young, **sits}]
    session = {"_id": "ses_1", "tenant_id": SHORT, "kind": "session", "seats": seats}
    await archive.stores.database["slots"].insert_one({**session, "cells": [2], **time})
    tally = await archive.sweep()
    assert tally.removed["appointments"] == 1
    gone = await archive.find("appointments", old)
    assert gone is not None
    assert (gone["sealed"], gone["body_hash"]) == (None, "")
    for kept in (young, elsewhere):
        found = await archive.find("appointments", kept)
        assert found is not None
        assert found["sealed"]
    slot, shared = await archive.find("slots", old), await archive.find("slots", "ses_1")
    assert slot is not None
    assert shared is not None
    assert (slot["intake"], slot["body_hash"]) == (None, "")
    left = shared["seats"]
    assert isinstance(left, list)
    assert [bool(one["intake"]) for one in left] == [False, True]
    assert (await archive.sweep()).removed == {}


async def test_a_document_goes_with_its_files_and_a_summary_with_its_words(archive: Archive) -> None:
    words = {"sealed": {"clinical": await archive.sealed(DataClass.CLINICAL)}, "appointment_id": "apt_1"}
    old = await archive.put("documents", SHORT, "created_at", 100, **words)
    young = await archive.put("documents", SHORT, "created_at", 99, **words)
    summary = await archive.put("consultations", SHORT, "created_at", 100, summary_version=1, **words)
    for one in (old, young):
        file = archive.folder / "documents" / one / "0"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"sealed")
    tally = await archive.sweep()
    assert (tally.removed["documents"], tally.removed["consultations"]) == (1, 1)
    assert await archive.find("documents", old) is None
    assert await archive.find("consultations", summary) is None
    assert await archive.find("documents", young) is not None
    assert not (archive.folder / "documents" / old / "0").exists()
    assert (archive.folder / "documents" / young / "0").exists()


async def test_logs_go_and_the_platform_s_by_its_own_settings(archive: Archive) -> None:
    old = [await archive.put(one, SHORT, "created_at", 10) for one in ("notices", "notifications", "staff_tasks")]
    long = await archive.put("notices", LONG, "created_at", 10)
    platform = await archive.put("notifications", PLATFORM, "created_at", 365)
    inbox = await archive.put("webhook_inbox", PLATFORM, "stored_at", 365)
    note = {"sealed": {"financial": await archive.sealed(DataClass.FINANCIAL)}}
    refund = await archive.put("refunds", SHORT, "created_at", 200, amount=100, gateway_refund_id="", **note)
    shown = await archive.ages.plan(NOW)
    assert {(one.tenant_id, one.collection, one.records) for one in shown} >= {
        (SHORT, "notices", 1), (SHORT, "notifications", 1), (SHORT, "staff_tasks", 1), (SHORT, "refunds", 1),
        (PLATFORM, "notifications", 1), (PLATFORM, "webhook_inbox", 1),
    }  # fmt: skip
    assert _line(shown, SHORT, "refunds").retained_under is RetentionClass.FINANCIAL
    tally = await archive.sweep()
    assert tally.removed == {"notices": 1, "notifications": 2, "staff_tasks": 1, "webhook_inbox": 1, "refunds": 1}
    assert [await archive.find("notices", one) for one in old] == [None] * 3
    assert await archive.find("notices", long) is not None
    assert await archive.find("notifications", platform) is None
    assert await archive.find("webhook_inbox", inbox) is None
    books = await archive.find("refunds", refund)
    assert books is not None
    assert (books["sealed"], books["amount"]) == (None, 100)
    assert await archive.ages.plan(NOW) == []


def _line(shown: list[Line], tenant_id: str, collection: str) -> Line:
    return next(one for one in shown if (one.tenant_id, one.collection) == (tenant_id, collection))


async def test_what_is_held_stays_until_the_hold_ends(archive: Archive) -> None:
    held, free = [await archive.put("notices", SHORT, "created_at", 20) for _ in range(2)]
    notice = await archive.find("notices", held)
    assert notice is not None
    hold = a_hold(str(notice["subject_id"]), RetentionClass.LOGS, NOW, NOW + timedelta(minutes=30))
    await archive.stores.holds.place(WORLD, hold)
    assert (await archive.sweep()).removed == {"notices": 1}
    assert await archive.find("notices", free) is None
    assert await archive.find("notices", held) is not None
    assert (await archive.sweep(NOW + timedelta(hours=1))).removed == {"notices": 1}
    assert await archive.find("notices", held) is None


async def test_a_heap_is_worked_off_in_one_turn(archive: Archive) -> None:
    database = archive.stores.database
    heap = [
        {"_id": f"ntc_{number}", "tenant_id": SHORT, "subject_id": "usr_1", "created_at": NOW - timedelta(days=11)}
        for number in range(450)
    ]
    await database["notices"].insert_many(heap)
    assert (await archive.sweep()).removed == {"notices": 450}


class _Carrier:
    """Forgets what has arrived; down while it is told to be."""

    def __init__(self, *, travelling: frozenset[str] = frozenset(), down: bool = False) -> None:
        self.forgotten: list[str] = []
        self._travelling = travelling
        self._down = down

    async def redact(self, provider_id: str) -> bool:
        """As the carrier of texts does."""
        if self._down:
            raise UnavailableError("the carrier does not answer")
        if provider_id in self._travelling:
            return False
        self.forgotten.append(provider_id)
        return True


async def _text(archive: Archive, provider_id: str, *, days: float) -> str:
    """A text that is too old, of which somebody last heard so long ago."""
    heard = {"updated_at": NOW - timedelta(days=days), "redacted_at": None, "channel": "sms"}
    return await archive.put("notifications", SHORT, "created_at", 10, provider_id=provider_id, **heard)


async def test_the_carrier_forgets_a_text_before_the_record_that_leads_to_it_goes(archive: Archive) -> None:
    old = await _text(archive, "SM_old", days=10)
    travelling = await _text(archive, "SM_on_its_way", days=0.9)
    lost = await _text(archive, "SM_lost", days=1.1)
    mail = await archive.put("notifications", SHORT, "created_at", 10, provider_id="<1@x>", channel="email")
    carrier = _Carrier(travelling=frozenset({"SM_on_its_way", "SM_lost"}))
    tally = await archive.with_carrier(carrier).sweep()
    assert tally.removed == {"notifications": 3}
    assert carrier.forgotten == ["SM_old"]
    assert [await archive.find("notifications", one) for one in (old, lost, mail)] == [None] * 3
    assert await archive.find("notifications", travelling) is not None
    arrived = _Carrier()
    assert (await archive.with_carrier(arrived).sweep()).removed == {"notifications": 1}
    assert arrived.forgotten == ["SM_on_its_way"]


async def test_a_carrier_that_does_not_answer_holds_nothing_else_up(archive: Archive) -> None:
    """Neither other records, nor what was promised to those who left; that it failed is told all the same."""
    text, task = await _text(archive, "SM_1", days=10), await archive.put("staff_tasks", SHORT, "created_at", 10)
    left = await archive.left_behind()
    silent = archive.with_carrier(_Carrier(down=True))
    async with silent.at_work():
        with pytest.raises(WorkflowFailureError):
            await silent.turn()
    assert await archive.find("staff_tasks", task) is None
    assert await archive.find("users", left.subject_id) is None
    assert await archive.find("notifications", text) is not None
    assert (await archive.sweep()).removed == {"notifications": 1}


async def test_an_application_that_came_to_nothing_goes_with_its_files_and_its_key(archive: Archive) -> None:
    found = []
    for state, days in (("withdrawn", 365), ("rejected", 365), ("withdrawn", 364), ("live", 365)):
        application = f"app_{secrets.token_hex(8)}"
        sealed = await archive.stores.vault.seal(application, DataClass.IDENTITY, {"details": "Nirmala"})
        at = NOW - timedelta(days=days, hours=1)
        await archive.stores.database["applications"].insert_one(
            {"_id": application, "tenant_id": PLATFORM, "subject_id": application, "state": state, "updated_at": at}
        )
        file = archive.folder / application / "doc_1"
        file.parent.mkdir()
        file.write_bytes(b"sealed")
        found.append((application, sealed, file))
    assert (await archive.sweep()).removed == {"applications": 2}
    opened = await archive.stores.vault.open([sealed for _, sealed, _ in found])
    gone = [
        (await archive.find("applications", one) is None, words is ERASED, not file.exists())
        for (one, _, file), words in zip(found, opened, strict=True)
    ]
    assert gone == [(True,) * 3, (True,) * 3, (False,) * 3, (False,) * 3]


# Those who were erased


async def test_what_was_left_of_somebody_goes_in_its_time_and_the_certificate_says_so(archive: Archive) -> None:
    left = await archive.left_behind()
    async with archive.at_work():
        tallies = [tally for _, tally in (await archive.turn(), await archive.turn())]
    assert [one.classes for one in tallies] == [1, 0]
    assert await archive.find("users", left.subject_id) is None
    with pytest.raises(SubjectErasedError):
        await archive.stores.vault.seal(left.subject_id, DataClass.IDENTITY, {"name": "Nirmala"})
    amended = await archive.stores.deletions.find(WORLD, left.deletion_id)
    assert amended is not None
    assert {one.retained_under: one.erased_at is not None for one in amended.retained} == {
        RetentionClass.IDENTITY: True,
        RetentionClass.CLINICAL: False,
    }
    assert amended.certificate_number == 1
    assert {one.store for one in amended.receipts} >= {Store.MONGODB, Store.KEYS}
    assert any(one.part == "users" and one.erased == 1 for one in amended.receipts)


async def test_what_was_left_stays_as_long_as_it_is_held(archive: Archive) -> None:
    left = await archive.left_behind()
    await archive.stores.holds.place(WORLD, a_hold(left.subject_id, None, NOW, NOW + timedelta(days=9)))
    async with archive.at_work():
        assert (await archive.turn())[1].classes == 0
    assert await archive.find("users", left.subject_id) is not None
    amended = await archive.stores.deletions.find(WORLD, left.deletion_id)
    assert amended is not None
    [identity] = [one for one in amended.retained if one.retained_under is RetentionClass.IDENTITY]
    assert (identity.erased_at, identity.hold_id is None) == (None, False)
    assert identity.until > NOW + timedelta(days=8)


# The operator's command


async def test_a_dry_run_shows_what_would_go_and_takes_nothing(archive: Archive) -> None:
    notice = await archive.put("notices", SHORT, "created_at", 10)
    shown = await planned(archive.settings)
    assert [(one.tenant_id, one.collection, one.retained_under, one.records) for one in shown] == [
        (SHORT, "notices", RetentionClass.LOGS, 1)
    ]
    assert await archive.find("notices", notice) is not None
    assert table_of(shown).row_count == 1


async def test_a_run_by_hand_needs_the_schedule(archive: Archive) -> None:
    with pytest.raises(CommandError):
        await trigger(archive.settings)
    await apply(archive.client)
    notice = await archive.put("notices", SHORT, "created_at", 10)
    await trigger(archive.settings)
    async with archive.at_work():
        await eventually(lambda: archive.find("notices", notice), lambda found: found is None, 60)
    for name in schedules():
        await archive.client.get_schedule_handle(name).delete()
