"""The audit under seal: whatever the database's superuser does to it afterwards is found, and named."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from bson import Timestamp
from temporalio.testing import ActivityEnvironment

from activities.compliance import AuditActivities, SealEverything
from adapters.seal_heads import StoredSealHeads, object_name
from adapters.settings import NamedKey
from adapters.tokens import Statements
from cli.audit import proved, told, verified
from cli.output import CommandError
from cli.running import environment_of
from cli.verifying import State, Verifier, load_state, save_state
from models.errors import UnavailableError
from models.identity import System
from models.seals import MARKS, Fault, SignedSeal, check
from sandbox.servers.stack import Addresses
from tests.adapters.mongo.builders import an_entry
from tests.cli.sealed import Sealed, filled, ids_of, installed
from tests.stack import ROOT

Json = dict[str, Any]
TESTS: Final = System("a test looks")


def _silent(count: int) -> None:
    """Nobody watches a bar here."""


@pytest.fixture
async def audit(servers: Addresses, database_name: str, tmp_path: Path) -> AsyncIterator[Sealed]:
    """Two tenants whose entries lie under three and one seal."""
    async with installed(servers, database_name, tmp_path) as sealed:
        await filled(sealed)
        yield sealed


async def test_what_nobody_touched_verifies_and_what_came_since_is_told(audit: Sealed) -> None:
    await audit.write("tnt_b", 2)
    report = await audit.verify()
    assert report.findings == ()
    assert (report.tenants, report.seals, report.entries, report.unsealed) == (2, 4, 52, 2)
    assert report.oldest_unsealed is not None
    assert "52 entries of 2 tenants under 4 seals" in " ".join(told(report))
    assert (await audit.seal()).entries == 2
    assert (await audit.seal()).entries == 0, "each entry is sealed once"


def _byte(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].update_one({"_id": ids[7]}, {"$set": {"actor": "usr_stafg"}})
    return {ids[7]: Fault.CHANGED}


def _kind(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].update_one({"_id": ids[0]}, {"$unset": {"why": ""}})
    return {ids[0]: Fault.CHANGED}


def _removed(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].delete_one({"_id": ids[20]})
    return {ids[20]: Fault.REMOVED}


def _last_removed(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].delete_one({"_id": ids[-1]})
    return {ids[-1]: Fault.REMOVED}


def _forged(audit: Sealed, ids: list[str], at: int) -> Json:
    before = audit.root["audit"].find_one({"_id": ids[at]})
    assert before is not None
    return {**before, "_id": "aud_forged", "stamp": Timestamp(before["stamp"].time, before["stamp"].inc + 1)}


def _inserted(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    forged = _forged(audit, ids, 4)
    audit.root["audit"].insert_one({**forged, "stamp": Timestamp(1, 1)})
    return {"aud_forged": Fault.INSERTED}


def _inserted_within(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    after = audit.root["audit"].find_one({"_id": ids[10]})
    assert after is not None
    audit.root["audit"].insert_one({**after, "_id": "aud_forged"})
    return {"aud_forged": Fault.INSERTED}


def _inserted_without_a_stamp(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    forged = _forged(audit, ids, 4)
    del forged["stamp"]
    audit.root["audit"].insert_one(forged)
    return {"aud_forged": Fault.INSERTED}


def _stamp_emptied(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].insert_one(_forged(audit, ids, 4))
    audit.root["audit"].update_one({"_id": "aud_forged"}, {"$set": {"stamp": Timestamp(0, 0)}})
    [forged] = audit.root["audit"].find({"_id": "aud_forged"})
    assert forged["stamp"] == Timestamp(0, 0), "the server gave it no time"
    return {"aud_forged": Fault.INSERTED}


def _swap(audit: Sealed, one: str, other: str) -> None:
    stamps = {found["_id"]: found["stamp"] for found in audit.root["audit"].find({"_id": {"$in": [one, other]}})}
    for name, stamp in ((one, stamps[other]), (other, stamps[one])):
        audit.root["audit"].update_one({"_id": name}, {"$set": {"stamp": stamp}})


def _reordered(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    _swap(audit, ids[10], ids[12])
    return {ids[10]: Fault.REORDERED, ids[12]: Fault.REORDERED}


def _reordered_across_seals(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    _swap(audit, ids[1], ids[30])
    return {ids[1]: Fault.REORDERED, ids[30]: Fault.REORDERED}


def _to_another_tenant(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].update_one({"_id": ids[2]}, {"$set": {"tenant_id": "tnt_b"}})
    return {ids[2]: Fault.INSERTED}  # and removed from where it was, under the same id


def _seal_removed(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    assert len(ids) == 48
    audit.root["audit_seals"].delete_one({"_id": "tnt_a:2"})
    return {"tnt_a:2": Fault.SEAL_MISSING}


def _seal_and_its_entries_removed(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].delete_many({"_id": {"$in": ids[5:45]}})
    return _seal_removed(audit, ids)


def _end_cut_off(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    audit.root["audit"].delete_many({"_id": {"$in": ids[45:]}})
    audit.root["audit_seals"].delete_one({"_id": "tnt_a:3"})
    return {"tnt_a:3": Fault.CUT_OFF}


def _everything_removed(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    assert ids
    for collection in ("audit", "audit_seals"):
        audit.root[collection].delete_many({"tenant_id": "tnt_a"})
    return {"tnt_a:3": Fault.CUT_OFF}


def _seal_changed(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    assert ids
    audit.root["audit_seals"].update_one({"_id": "tnt_a:2"}, {"$set": {"count": 41}})
    return {"tnt_a:2": Fault.SEAL_CHANGED}


def _leaves_changed(audit: Sealed, ids: list[str]) -> dict[str, Fault]:
    assert ids
    audit.root["audit_seals"].update_one({"_id": "tnt_a:2"}, {"$set": {"leaves": b"x" * 32 * 40}})
    return {"tnt_a:2": Fault.SEAL_CHANGED}


TAMPERING: Final[list[Callable[[Sealed, list[str]], dict[str, Fault]]]] = [
    _byte, _kind, _removed, _last_removed, _inserted, _inserted_within, _inserted_without_a_stamp, _stamp_emptied,
    _reordered, _reordered_across_seals, _to_another_tenant, _seal_removed, _seal_and_its_entries_removed, _end_cut_off,
    _everything_removed, _seal_changed, _leaves_changed,
]  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERING)
async def test_whatever_the_superuser_does_is_found_and_named(
    audit: Sealed, tamper: Callable[[Sealed, list[str]], dict[str, Fault]]
) -> None:
    expected = tamper(audit, ids_of(audit))
    assert await audit.faults() == expected


async def test_a_chain_that_was_made_anew_with_another_key_is_found(audit: Sealed) -> None:
    audit.root["audit"].update_one({"_id": ids_of(audit)[0]}, {"$set": {"actor": "usr_forger"}})
    audit.root["audit_seals"].delete_many({})
    forger = Statements([NamedKey(audit.settings.token_keys[0].id, secrets.token_bytes(32))])
    await ActivityEnvironment().run(
        AuditActivities(audit.stores.seals, StoredSealHeads(None), forger).seal,
        SealEverything(settle_seconds=0),
    )
    found = await audit.faults()
    assert found["tnt_a:1"] is Fault.SEAL_CHANGED
    under_another_name = Statements([NamedKey("another", secrets.token_bytes(32))])
    report = await Verifier(audit.stores.seals, audit.heads, under_another_name).run(State(), _silent, lambda _: None)
    assert {one.fault for one in report.findings} >= {Fault.SIGNATURE}


async def test_a_rotated_key_vouches_for_the_seals_before_it(audit: Sealed) -> None:
    newer = NamedKey("newer", secrets.token_bytes(32))
    await audit.write("tnt_a", 1)
    await audit.write("tnt_b", 1)
    for keys in ([newer, *audit.settings.token_keys], [newer]):
        await ActivityEnvironment().run(
            AuditActivities(audit.stores.seals, audit.heads, Statements(keys)).seal, SealEverything(settle_seconds=0)
        )
    report = await Verifier(audit.stores.seals, audit.heads, Statements([newer])).run(State(), _silent, lambda _: None)
    assert (report.findings, report.entries) == ((), 54)


# Sealing


NEXT: Final = 4
"""The number of the first tenant's next seal."""


class Dying:
    """The copies' store, which is away at first: as good as a process that dies between the seal and its copy."""

    def __init__(self, heads: StoredSealHeads, times: int) -> None:
        self._heads = heads
        self._times = times

    async def keep(self, signed: SignedSeal) -> None:
        if self._times and signed.seal.number == NEXT:
            self._times -= 1
            raise UnavailableError("away")
        await self._heads.keep(signed)

    async def read(self, tenant_id: str, number: int) -> str | None:
        return await self._heads.read(tenant_id, number)


async def test_a_run_that_dies_between_a_seal_and_its_copy_is_gone_on_with(audit: Sealed) -> None:
    await audit.write("tnt_a", 3)
    signer = Statements(audit.settings.token_keys)
    dying = AuditActivities(audit.stores.seals, Dying(audit.heads, times=3), signer)
    for _ in range(3):
        with pytest.raises(Exception, match="away"):
            await ActivityEnvironment().run(dying.seal, SealEverything(settle_seconds=0))
    assert audit.root["audit_seals"].count_documents({"tenant_id": "tnt_a"}) == 4
    await ActivityEnvironment().run(dying.seal, SealEverything(settle_seconds=0))
    assert audit.root["audit_seals"].count_documents({"tenant_id": "tnt_a"}) == 4
    assert await audit.heads.newest() == {MARKS: 1, "tnt_a": 4, "tnt_b": 1}
    assert (await audit.verify()).findings == ()


async def test_two_runs_at_once_seal_each_entry_once(audit: Sealed) -> None:
    for _ in range(4):
        await asyncio.gather(*(audit.write("tnt_a", 7) for _ in range(4)), *(audit.seal() for _ in range(3)))
    await audit.seal()
    report = await audit.verify()
    assert (report.findings, report.entries, report.unsealed) == ((), 52 + 4 * 28, 0)
    assert max(audit.root["audit_seals"].distinct("number", {"tenant_id": "tnt_a"})) == report.seals - 1


async def test_what_may_still_have_company_is_left_to_the_next_run(audit: Sealed) -> None:
    await audit.write("tnt_a", 3)
    tally = await ActivityEnvironment().run(audit.activities.seal, SealEverything(settle_seconds=3600))
    assert tally.entries == 0


async def test_a_late_entry_is_sealed_by_when_it_was_noted(audit: Sealed) -> None:
    late = an_entry(tenant_id="tnt_a", at=an_entry().at.replace(year=2020))
    await audit.stores.audit.append([late])
    await audit.seal()
    assert (await proved(audit.settings, late.id)).seal.number == 4
    assert (await audit.verify()).findings == ()


async def test_the_copies_are_one_object_per_seal(audit: Sealed) -> None:
    names = sorted(str(one.relative_to(audit.folder.parent)) for one in audit.folder.rglob("*.jws"))
    assert names == [object_name(MARKS, 1), *(object_name("tnt_a", one) for one in (1, 2, 3)), object_name("tnt_b", 1)]
    (audit.folder.parent / object_name("tnt_b", 1)).write_text("another chain's")
    assert await audit.faults() == {"tnt_b:1": Fault.SEAL_CHANGED}


# Proofs


async def test_one_entry_is_proved_by_itself(audit: Sealed) -> None:
    for entry_id in ids_of(audit):
        proof = await proved(audit.settings, entry_id)
        check(proof)
        assert entry_id.encode() in bytes.fromhex(proof.content)
        assert proof.seal.tenant_id == "tnt_a"
    with pytest.raises(CommandError, match="no entry"):
        await proved(audit.settings, "aud_none")
    [new] = await audit.write("tnt_a", 1)
    with pytest.raises(CommandError, match="not sealed yet"):
        await proved(audit.settings, new)
    changed = ids_of(audit)[6]
    audit.root["audit"].update_one({"_id": changed}, {"$set": {"actor": "usr_x"}})
    with pytest.raises(CommandError, match="does not hold"):
        await proved(audit.settings, changed)


# Going on


async def test_a_stopped_run_goes_on_where_it_was(audit: Sealed, tmp_path: Path) -> None:
    ids = ids_of(audit)
    audit.root["audit"].delete_one({"_id": ids[0]})
    path = tmp_path / "state.json"
    for _ in range(600):  # many small seals make several stretches
        await audit.write("tnt_c", 1)
    await audit.seal()
    verifier = Verifier(audit.stores.seals, audit.heads, Statements(audit.settings.token_keys))

    class Stopped(Exception):  # noqa: N818  it is no error
        """Somebody pressed Ctrl-C."""

    def stop(state: State) -> None:
        save_state(path, state)
        if state.entries:
            raise Stopped

    with pytest.raises(Stopped):
        await verifier.run(load_state(path), _silent, stop)
    begun = load_state(path)
    assert (begun.entries, [one.what for one in begun.findings]) == (48, [ids[0]])
    heard: list[int] = []
    report = await verifier.run(begun, heard.append, lambda _: None)
    assert sum(heard) == 600 + 4
    assert report.entries == 652
    assert [one.what for one in report.findings] == [ids[0]], "what was found before is not forgotten"
    path.write_text("{")
    with pytest.raises(CommandError, match="not what a verification left"):
        await verified(audit.settings, path)


@pytest.fixture
def run(audit: Sealed) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command itself."""
    environment = {**os.environ, **environment_of(audit.settings), "PYTHONPATH": str(ROOT)}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "cli", "audit", *arguments],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return command


async def test_the_command_tells_and_proves(
    audit: Sealed, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    done = await asyncio.to_thread(run, "verify", "--state", str(state))
    assert (done.returncode, state.exists()) == (0, False), done.stderr
    assert "52 entries of 2 tenants under 4 seals" in done.stdout
    [first, *_] = ids_of(audit)
    shown = await asyncio.to_thread(run, "prove", first)
    assert json.loads(shown.stdout)["entry_id"] == first
    audit.root["audit"].delete_one({"_id": first})
    found = await asyncio.to_thread(run, "verify")
    assert found.returncode == 1
    assert f"removed: {first} (of tnt_a)" in found.stdout
