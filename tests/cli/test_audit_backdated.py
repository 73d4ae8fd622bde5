"""An entry that was put in behind what is sealed: to add is all it takes, so its seal must not make it genuine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from bson import Timestamp
from pymongo import MongoClient
from temporalio.exceptions import ApplicationError

from activities.compliance import TOUCHED
from adapters.connections import mongo_addresses
from adapters.seal_heads import object_name
from adapters.tokens import Statements
from models.identity import System
from models.seals import MARK_BEHIND, MARK_EVERY, MARKS, Batch, Fault, Seal, SignedSeal, next_mark, next_seal
from sandbox.servers.stack import Addresses
from tests.cli.sealed import Sealed, installed

TESTS: Final = System("a test looks")
HOUR: Final = 3600
LONG_AGO: Final = 90 * 24 * HOUR


@pytest.fixture
async def audit(servers: Addresses, database_name: str, tmp_path: Path) -> AsyncIterator[Sealed]:
    """A quiet clinic whose last seal is three months old; the sealer ran all the time, at last two hours ago."""
    async with installed(servers, database_name, tmp_path) as sealed:
        old = [insert(sealed, "tnt_quiet", LONG_AGO + 60 - number, f"aud_old{number}") for number in range(3)]
        await seal_as_then(sealed, "tnt_quiet", LONG_AGO)
        assert len(old) == 3
        for ago in (3 * HOUR, 2 * HOUR):
            await mark_as_then(sealed, ago)
        yield sealed


def stamped(ago: int) -> int:
    """What the database's clock showed so many seconds ago."""
    return (int(time.time()) - ago) << 32


def insert(audit: Sealed, tenant: str, ago: int, name: str) -> str:
    """What the audit's own account can do: add an entry with a stamp of its choice."""
    addresses = mongo_addresses(audit.settings)
    with MongoClient[dict[str, Any]](addresses.audit_url) as client:
        stamp = Timestamp((stamped(ago) >> 32), 1)
        client[addresses.database]["audit"].insert_one({"_id": name, "tenant_id": tenant, "stamp": stamp, "why": "x"})
    return name


async def seal_as_then(audit: Sealed, tenant: str, ago: int) -> Seal:
    """What a run did that long ago."""
    entries = await audit.stores.seals.unsealed(TESTS, tenant, 0, stamped(ago), 100)
    seal = next_seal(None, tenant, entries, datetime.now(UTC) - timedelta(seconds=ago))
    signed = Statements(audit.settings.token_keys).sign_seal(seal)
    assert await audit.stores.seals.add(TESTS, signed, Batch.of(entries))
    await audit.heads.keep(signed)
    return seal


async def mark_as_then(audit: Sealed, ago: int) -> None:
    """What a run said at its end that long ago."""
    last = await audit.stores.seals.last(TESTS, MARKS)
    mark = next_mark(None if last is None else last.seal, stamped(ago), datetime.now(UTC) - timedelta(seconds=ago))
    signed = Statements(audit.settings.token_keys).sign_seal(mark)
    assert await audit.stores.seals.add(TESTS, signed, Batch((), b""))
    await audit.heads.keep(signed)


async def shouted(audit: Sealed) -> str:
    with pytest.raises(ApplicationError) as caught:
        await audit.seal()
    assert (caught.value.type, caught.value.non_retryable) == (TOUCHED, True)
    return str(caught.value)


async def marks(audit: Sealed) -> list[Seal]:
    return [one.signed.seal for one in await audit.stores.seals.page(TESTS, MARKS, 0, 100)]


async def test_an_entry_behind_a_quiet_clinic_s_last_seal_is_found_sealed_or_not(audit: Sealed) -> None:
    assert (await audit.verify()).findings == ()
    insert(audit, "tnt_quiet", LONG_AGO // 2, "aud_backdated")
    await audit.write("tnt_quiet", 3)
    assert await audit.faults() == {"aud_backdated": Fault.INSERTED}, "before it is under a seal"
    assert "aud_backdated came in behind what was sealed" in await shouted(audit)
    await audit.write("tnt_quiet", 1)
    assert (await audit.seal()).entries == 1, "those that come after it are sealed as ever"
    assert await audit.faults() == {"aud_backdated": Fault.INSERTED}
    report = await audit.verify()
    assert (report.tenants, report.seals, report.entries, report.unsealed) == (1, 3, 8, 0)


async def test_a_tenant_without_seals_is_no_way_in(audit: Sealed) -> None:
    insert(audit, "tnt_new", LONG_AGO, "aud_first")
    assert "aud_first" in await shouted(audit)
    assert await audit.faults() == {"aud_first": Fault.INSERTED}


async def test_what_is_dated_more_than_an_hour_back_is_found(audit: Sealed) -> None:
    await mark_as_then(audit, HOUR - 600)  # one comes every half hour
    insert(audit, "tnt_quiet", HOUR, "aud_backdated")
    assert "aud_backdated" in await shouted(audit)
    assert await audit.faults() == {"aud_backdated": Fault.INSERTED}


async def test_what_waited_for_a_sealer_that_was_away_is_genuine(audit: Sealed) -> None:
    insert(audit, "tnt_quiet", HOUR, "aud_waited")  # after the last mark: nothing was sealed since
    insert(audit, "tnt_busy", HOUR // 2, "aud_waited_too")
    assert (await audit.seal()).entries == 2
    assert (await audit.verify()).findings == ()


async def test_an_entry_of_a_time_to_come_is_found(audit: Sealed) -> None:
    insert(audit, "tnt_quiet", -LONG_AGO, "aud_prepared")
    assert (await audit.seal()).entries == 0
    assert await audit.faults() == {"aud_prepared": Fault.INSERTED}


async def test_a_mark_is_made_every_half_hour_and_has_a_copy(audit: Sealed) -> None:
    before = await marks(audit)
    await audit.write("tnt_busy", 2)
    for _ in range(3):
        await audit.seal()
    after = await marks(audit)
    assert after[:-1] == before
    assert after[-1].at - before[-1].at >= MARK_EVERY
    assert 0 <= int(time.time()) - MARK_BEHIND - (after[-1].upto >> 32) < 60, "of the last minute it says nothing"
    assert await audit.heads.read(MARKS, after[-1].number) is not None


async def test_nothing_is_said_to_be_sealed_while_a_chain_stands_still(audit: Sealed) -> None:
    audit.root["audit_seals"].update_one({"_id": "tnt_quiet:1"}, {"$set": {"root": "0" * 64}})
    before = await marks(audit)
    assert "tnt_quiet:1" in await shouted(audit)
    assert await marks(audit) == before


async def test_marks_are_a_chain_that_cannot_be_touched(audit: Sealed) -> None:
    audit.root["audit_seals"].delete_one({"_id": f"{MARKS}:2"})
    assert f"{MARKS}:2" in await shouted(audit)
    assert await audit.faults() == {f"{MARKS}:2": Fault.CUT_OFF}
    audit.root["audit_seals"].delete_one({"_id": f"{MARKS}:1"})
    assert await audit.faults() == {f"{MARKS}:2": Fault.CUT_OFF}


async def test_a_mark_that_we_did_not_make_blames_nobody(audit: Sealed) -> None:
    """Whoever may add can add a mark too, which no key has signed: the genuine entries are not to drown in findings."""
    last = await audit.stores.seals.last(TESTS, MARKS)
    assert last is not None
    forged = SignedSeal(seal=next_mark(last.seal, 2**63, datetime(1971, 1, 1, tzinfo=UTC)), signature=last.signature)
    assert await audit.stores.seals.add(TESTS, forged, Batch((), b""))
    await audit.write("tnt_busy", 2)
    assert f"{MARKS}:3" in await shouted(audit)
    assert await audit.faults() == {f"{MARKS}:3": Fault.SEAL_CHANGED}
    assert (await audit.verify()).unsealed == 0


async def test_nobody_has_entries_under_the_marks_name(audit: Sealed) -> None:
    insert(audit, MARKS, 60, "aud_hidden")
    assert (await audit.seal()).entries == 0
    assert await audit.faults() == {"aud_hidden": Fault.INSERTED}


async def test_without_marks_an_older_audit_verifies(audit: Sealed) -> None:
    """As it is when an installation gets the marks: what was sealed before is as good as it was."""
    for number in (1, 2):
        audit.root["audit_seals"].delete_one({"_id": f"{MARKS}:{number}"})
        (audit.folder.parent / object_name(MARKS, number)).unlink()
    await audit.write("tnt_quiet", 1)
    assert (await audit.seal()).entries == 1
    assert (await audit.verify()).findings == ()
    assert [one.number for one in await marks(audit)] == [1]
