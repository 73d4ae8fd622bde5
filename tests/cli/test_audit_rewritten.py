"""An audit that was rewritten, seals and all: our own sealer must not vouch for it, and verifying finds it."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.compliance import TOUCHED, AuditActivities, SealEverything
from adapters.seal_heads import StoredSealHeads, object_name
from adapters.settings import NamedKey
from adapters.tokens import ISSUER, Statements
from cli.output import CommandError
from cli.verifying import Report, State, Verifier
from models.identity import System
from models.seals import Batch, Fault, Seal, SignedSeal, StoredEntry, next_seal
from sandbox.servers.stack import Addresses
from tests.cli.sealed import Sealed, filled, ids_of, installed

TESTS: Final = System("a test looks")
NOWHERE: Final = StoredSealHeads(None)


@pytest.fixture
async def audit(servers: Addresses, database_name: str, tmp_path: Path) -> AsyncIterator[Sealed]:
    """Two tenants whose entries lie under three and one seal."""
    async with installed(servers, database_name, tmp_path) as sealed:
        await filled(sealed)
        yield sealed


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(seal: Seal) -> SignedSeal:
    """As whoever has no key makes one: it names a key that nobody knows, as if that had been rotated out."""
    return SignedSeal(seal=seal, signature=f"{_part({'alg': 'EdDSA', 'kid': 'old'})}.{_part(_facts(seal))}.c2ln")


def _facts(seal: Seal) -> dict[str, object]:
    return {**seal.facts, "iss": ISSUER}


async def rewrite(audit: Sealed) -> None:
    """Change the sixth entry of `tnt_a` and make its second and third seal anew, as the database's owner can."""
    audit.root["audit"].update_one({"_id": ids_of(audit)[5]}, {"$set": {"actor": "usr_forger"}})
    kept = [one.signed.seal for one in await audit.stores.seals.page(TESTS, "tnt_a", 0, 9)]
    audit.root["audit_seals"].delete_many({"tenant_id": "tnt_a", "number": {"$gt": 1}})
    last = kept[0]
    for seal in kept[1:]:
        entries = await audit.stores.seals.between(TESTS, "tnt_a", seal.after, seal.upto)
        last = await put(audit, last, entries, seal.at)


async def put(audit: Sealed, last: Seal, entries: list[StoredEntry], at: datetime) -> Seal:
    """A forged seal over these entries."""
    signed = forged(next_seal(last, "tnt_a", entries, at))
    assert await audit.stores.seals.add(TESTS, signed, Batch.of(entries))
    return signed.seal


async def vouch(audit: Sealed) -> None:
    """What a sealer that looks at nothing would have done: a genuine seal over a forged one."""
    await audit.write("tnt_a", 2)
    last = await audit.stores.seals.last(TESTS, "tnt_a")
    assert last is not None
    entries = await audit.stores.seals.unsealed(TESTS, "tnt_a", last.seal.upto, 2**63, 10)
    signed = Statements(audit.settings.token_keys).sign_seal(next_seal(last.seal, "tnt_a", entries, datetime.now(UTC)))
    assert await audit.stores.seals.add(TESTS, signed, Batch.of(entries))
    await audit.heads.keep(signed)


async def refused(audit: Sealed, heads: StoredSealHeads | None = None, signer: Statements | None = None) -> str:
    """What a run of the schedule says that leaves a chain as it is."""
    activities = AuditActivities(
        audit.stores.seals, heads or audit.heads, signer or Statements(audit.settings.token_keys)
    )
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(activities.seal, SealEverything(settle_seconds=0))
    assert (caught.value.type, caught.value.non_retryable) == (TOUCHED, True)
    return str(caught.value)


async def verified_with(audit: Sealed, heads: StoredSealHeads, *keys: NamedKey) -> Report:
    statements = Statements(keys or audit.settings.token_keys)
    return await Verifier(audit.stores.seals, heads, statements).run(State(), lambda _: None, lambda _: None)


def numbers(audit: Sealed, tenant: str) -> list[int]:
    return sorted(audit.root["audit_seals"].distinct("number", {"tenant_id": tenant}))


async def test_nothing_is_sealed_over_seals_that_nobody_signed(audit: Sealed) -> None:
    await rewrite(audit)
    await audit.write("tnt_a", 2)
    await audit.write("tnt_b", 2)
    assert "tnt_a:3" in await refused(audit)
    assert (numbers(audit, "tnt_a"), numbers(audit, "tnt_b")) == ([1, 2, 3], [1, 2]), "the others are sealed"
    found = await audit.faults()
    assert (found["tnt_a:2"], found["tnt_a:3"]) == (Fault.SEAL_CHANGED, Fault.SIGNATURE)


async def test_a_genuine_seal_over_forged_ones_hides_nothing(audit: Sealed) -> None:
    await rewrite(audit)
    await vouch(audit)
    assert await audit.faults() == {"tnt_a:2": Fault.SEAL_CHANGED, "tnt_a:3": Fault.SEAL_CHANGED}


async def test_a_seal_of_an_unknown_key_needs_a_copy(audit: Sealed) -> None:
    await rewrite(audit)
    for number in (2, 3):  # as if those seals had never had one
        (audit.folder.parent / object_name("tnt_a", number)).unlink()
    assert "tnt_a:3" in await refused(audit)
    await vouch(audit)
    assert await audit.faults() == {"tnt_a:2": Fault.SIGNATURE, "tnt_a:3": Fault.SIGNATURE}


async def test_without_object_storage_only_our_keys_vouch(audit: Sealed) -> None:
    await audit.write("tnt_a", 1)
    activities = AuditActivities(audit.stores.seals, NOWHERE, Statements(audit.settings.token_keys))
    assert (await ActivityEnvironment().run(activities.seal, SealEverything(settle_seconds=0))).entries == 1
    assert (await verified_with(audit, NOWHERE)).findings == ()
    newer = NamedKey("newer", secrets.token_bytes(32))
    assert "tnt_a:4" in await refused(audit, NOWHERE, Statements([newer]))
    await rewrite(audit)
    assert "tnt_a:4" in await refused(audit, NOWHERE)
    assert Fault.SIGNATURE in {one.fault for one in (await verified_with(audit, NOWHERE)).findings}


async def test_a_chain_goes_on_from_a_key_that_was_rotated_out(audit: Sealed) -> None:
    newer = NamedKey("newer", secrets.token_bytes(32))
    activities = AuditActivities(audit.stores.seals, audit.heads, Statements([newer]))
    await audit.write("tnt_a", 1)
    await audit.write("tnt_b", 1)
    assert (await ActivityEnvironment().run(activities.seal, SealEverything(settle_seconds=0))).entries == 2
    assert (await verified_with(audit, audit.heads, newer)).findings == ()


async def test_under_a_signature_of_a_key_that_was_rotated_out_nothing_is_changed(audit: Sealed) -> None:
    newer = NamedKey("newer", secrets.token_bytes(32))
    audit.root["audit_seals"].update_one({"_id": "tnt_a:3"}, {"$set": {"root": "0" * 64}})
    await audit.write("tnt_a", 1)
    assert "tnt_a:3" in await refused(audit, signer=Statements([newer]))
    findings = (await verified_with(audit, audit.heads, newer)).findings
    assert ("tnt_a:3", Fault.SEAL_CHANGED) in {(one.what, one.fault) for one in findings}


async def test_an_end_that_was_cut_off_is_not_outgrown(audit: Sealed) -> None:
    audit.root["audit"].delete_one({"_id": ids_of(audit)[45]})
    audit.root["audit_seals"].delete_one({"_id": "tnt_a:3"})
    for _ in range(2):
        await audit.write("tnt_a", 1)
        assert "tnt_a:3" in await refused(audit)
    assert numbers(audit, "tnt_a") == [1, 2]
    assert await audit.faults() == {"tnt_a:3": Fault.CUT_OFF}


async def test_an_end_that_was_outgrown_is_found_by_its_copy(audit: Sealed) -> None:
    copy = audit.folder.parent / object_name("tnt_a", 3)
    content = copy.read_bytes()
    copy.unlink()
    audit.root["audit"].delete_one({"_id": ids_of(audit)[45]})
    audit.root["audit_seals"].delete_one({"_id": "tnt_a:3"})
    for _ in range(2):
        await audit.write("tnt_a", 1)
        await audit.seal()
    assert (numbers(audit, "tnt_a"), await audit.faults()) == ([1, 2, 3, 4], {})
    copy.write_bytes(content)  # a sealer that does not compare would have left it there
    assert await audit.faults() == {"tnt_a:3": Fault.SEAL_CHANGED}


async def test_what_is_no_seal_holds_up_nobody_else(audit: Sealed) -> None:
    audit.root["audit_seals"].insert_one({"_id": "tnt_a:4", "tenant_id": "nobody", "number": 4, "stamps": {}})
    await audit.write("tnt_a", 1)
    await audit.write("tnt_b", 1)
    said = await refused(audit)
    assert "what stands in the place of tnt_a:4 is no seal" in said
    assert numbers(audit, "tnt_b") == [1, 2]
    with pytest.raises(CommandError, match="tnt_a:4 in audit_seals is no seal"):
        await audit.verify()
