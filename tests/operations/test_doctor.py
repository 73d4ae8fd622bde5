"""The doctor finds each part of an installation that is missing, away, or allowed too much, and says what to do."""

from __future__ import annotations

import base64
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson import Timestamp
from pydantic import SecretStr
from pymongo import MongoClient

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.encryption import Vault
from adapters.mongo.encryption_keys import KEY_BYTES
from adapters.mongo.repositories import Repositories
from adapters.settings import Profile, Settings, development_key
from cli.accounts import ACCOUNTS
from cli.backing_up import back_up
from cli.checks import WORK, Finding, examine
from cli.doctor import show
from cli.migrate import prepare
from models.data_classes import DataClass
from models.identity import System
from models.seals import MARKS
from sandbox.servers.stack import Addresses
from sandbox.servers.temporal import ensure_namespace
from tests.api.conftest import settings_for
from tests.stack import Json, Stack, eventually
from workers import schedules


@pytest.fixture(scope="module")
async def settings(servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation that is well, but that nobody works."""
    found = settings_for(
        servers,
        f"{module_database_name}_doctor",
        temporal_namespace=module_database_name.replace("_", "-"),
        storage_url=tmp_path_factory.mktemp("storage").as_uri(),
        smtp_url=SecretStr("smtp://127.0.0.1:9"),
    )
    ensure_namespace(found.temporal_address, found.temporal_namespace)
    await prepare(found, servers.owner_mongodb_url(found.database))
    return found


def _bad(findings: list[Finding]) -> dict[str, str]:
    return {one.what: one.problem for one in findings if one.problem is not None}


IDLE = {
    "somebody works on every task queue": "; ".join(f"{queue} ({kind})" for queue, kind in WORK),
    "the outbox's relay": "nobody carries events to the audit and to people",
}
"""What is wrong where no worker runs."""


async def test_an_installation_without_workers_lacks_nothing_else(settings: Settings) -> None:
    findings = await examine(settings)
    assert _bad(findings) == IDLE
    assert all(one.remedy for one in findings if one.problem)
    assert {"clocks", "Redis", "schedules"} <= {one.what for one in findings if one.problem is None}


async def test_where_workers_run_all_is_well(shared_stack: Stack) -> None:
    found = _bad(await examine(shared_stack.settings))
    missing = found.pop("schedules")
    assert missing == "; ".join(f"{name} is missing" for name in schedules.schedules()), "the tests' stack has none"
    assert found == {}


async def test_what_is_missing_in_a_database_is_named(settings: Settings, servers: Addresses) -> None:
    with MongoClient[Json](servers.owner_mongodb_url(settings.database)) as owner:
        database = owner[settings.database]
        database["sessions"].drop_index("of_subject")
        database["slots"].create_index("tenant_id", name="stray")
        try:
            said = _bad(await examine(settings))["MongoDB's collections, validators and indexes"]
        finally:
            database["slots"].drop_index("stray")
    await prepare(settings, servers.owner_mongodb_url(settings.database))
    assert said == "slots: the index stray is not declared; sessions: the index of_subject is missing"
    assert _bad(await examine(settings)) == IDLE


async def test_a_schedule_that_was_paused_or_removed_is_named(settings: Settings) -> None:
    client = await connect_temporal(settings)
    upkeep = client.get_schedule_handle("upkeep")
    await upkeep.pause()
    await client.get_schedule_handle("audit-sealing").delete()
    said = _bad(await examine(settings))["schedules"]
    assert set(said.split("; ")) == {"upkeep is paused", "audit-sealing is missing"}
    await upkeep.unpause()
    # What is applied keeps a pause, so it must not come before the end of this one was heard of.
    await eventually(upkeep.describe, lambda seen: not seen.schedule.state.paused)
    await schedules.apply(client)
    assert _bad(await examine(settings)) == IDLE


async def test_accounts_that_may_do_too_much_are_named(settings: Settings, servers: Addresses) -> None:
    owner = SecretStr(servers.owner_mongodb_url(settings.database))
    found = _bad(await examine(settings.model_copy(update={"audit_mongodb_url": owner})))
    assert found["the audit's writer only adds and reads"] == "; ".join(
        f"it could {what} {name}" for name in ("audit", "audit_seals") for what in ("change", "remove from")
    )
    found = _bad(await examine(settings.model_copy(update={"mongodb_url": owner})))
    assert "it could change audit;" in found["the application rewrites no record and reads no keys"]
    assert "it could read the key vault" in found["the application rewrites no record and reads no keys"]
    found = _bad(await examine(settings.model_copy(update={"audit_mongodb_url": None, "vault_mongodb_url": None})))
    assert "VISITNOW_AUDIT_MONGODB_URL is not set" in found["accounts of the audit and of the key vault"]
    assert found["key vault"] == "failed with OperationFailure", "the application's account reads no keys"


async def test_an_audit_that_nobody_seals_is_named(settings: Settings, servers: Addresses) -> None:
    what, now = "the audit's entries are under seals", datetime.now(UTC)
    with MongoClient[Json](servers.owner_mongodb_url(settings.database)) as owner:
        database = owner[settings.database]
        ago = {hours: Timestamp(int((now - timedelta(hours=hours)).timestamp()), 1) for hours in (1, 3)}
        database["audit"].insert_one({"_id": "aud_old", "tenant_id": "tnt_1", "stamp": ago[3]})
        try:
            assert _bad(await examine(settings))[what] == "no run has put all of the audit under seals ever"
            marks = {"tenant_id": MARKS, "number": 1}
            database["audit_seals"].insert_one({"_id": "mark", **marks, "stamps": {"upto": ago[3]}})
            assert re.fullmatch(r"no run .* since 20.* UTC", _bad(await examine(settings))[what])
            database["audit_seals"].update_one({"_id": "mark"}, {"$set": {"stamps.upto": ago[1]}})
            assert _bad(await examine(settings)) == IDLE
        finally:
            database["audit"].delete_one({"_id": "aud_old"})
            database["audit_seals"].delete_one({"_id": "mark"})


async def test_nothing_is_changed_by_looking(settings: Settings, servers: Addresses) -> None:
    owner = SecretStr(servers.owner_mongodb_url(settings.database))
    with MongoClient[Json](servers.owner_mongodb_url(settings.database)) as client:
        names = sorted(client[settings.database].list_collection_names())
        before = {name: client[settings.database][name].count_documents({}) for name in names}
        await examine(settings.model_copy(update={"audit_mongodb_url": owner, "mongodb_url": owner}))
        assert sorted(client[settings.database].list_collection_names()) == names
        assert {name: client[settings.database][name].count_documents({}) for name in names} == before


def _key() -> str:
    return f"local://{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


async def test_data_keys_that_nobody_can_unwrap_are_counted(settings: Settings) -> None:
    old, new = _key(), _key()
    addresses = mongo_addresses(settings)
    vault = Vault(addresses.vault_url, f"{addresses.vault_database}_k", old)
    await vault.seal("usr_doctor", DataClass.IDENTITY, {"n": 1})
    await vault.close()
    at = {"vault_database": f"{addresses.vault_database}_k"}
    assert _bad(await examine(settings.model_copy(update={**at, "kms_url": old}))) == IDLE
    lost = _bad(await examine(settings.model_copy(update={**at, "kms_url": new})))
    assert lost["the key vault: 1 data keys"] == "1 data keys are wrapped under a key that is not in VISITNOW_KMS_URL"
    turned = _bad(await examine(settings.model_copy(update={**at, "kms_url": f"{new},{old}"})))
    assert turned["data keys are wrapped under the newest key"] == "1 data keys are still wrapped under an older key"
    unread = _bad(await examine(settings.model_copy(update={**at, "kms_url": "file:///nowhere/key"})))
    assert unread["keys"].startswith("the key-encryption key cannot be read from /nowhere/key")


@pytest.mark.parametrize(
    ("changes", "away"),
    [
        ({"redis_url": SecretStr("redis://127.0.0.1:1/0")}, {"Redis"}),
        ({"temporal_address": "127.0.0.1:1"}, {"Temporal"}),
        ({"storage_url": "file:///proc/nowhere"}, {"object storage"}),
        ({"storage_url": None}, {"object storage", "documents"}),
        (
            {"mongodb_url": SecretStr("mongodb://somebody:canary-secret@127.0.0.1:1/?replicaSet=rs0")},
            {"MongoDB", "clocks", "MongoDB's accounts", "audit", "relay"},
        ),
        ({"smtp_url": None, "razorpay_webhook_secrets": SecretStr("")}, {"e-mail", "webhooks of payments"}),
    ],
)
async def test_what_is_away_or_not_set_is_named_and_the_rest_is_looked_at(
    settings: Settings, capsys: pytest.CaptureFixture[str], changes: Json, away: set[str]
) -> None:
    findings = await examine(settings.model_copy(update=changes), within=8)
    expected = set(IDLE) - ({"somebody works on every task queue"} if "temporal_address" in changes else set())
    if "mongodb_url" in changes:
        expected -= {"the outbox's relay"}
    assert set(_bad(findings)) == away | expected
    show(findings)
    assert "canary-secret" not in capsys.readouterr().out


async def test_in_production_what_only_pretends_is_named(settings: Settings) -> None:
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    await stores.users.put(System("a test"), ACCOUNTS["admin"])
    production = settings.model_copy(update={"profile": Profile.PRODUCTION, "twilio_sms_from": "+15005550006"})
    try:
        findings = await examine(production)
    finally:
        await stores.close()
    said = [one.problem for one in findings if one.what == "settings"]
    for wanted in (
        "VISITNOW_RAZORPAY_BASE_URL is a sandbox",
        "VISITNOW_TWILIO_BASE_URL is a sandbox",
        "VISITNOW_CODEC_KEYS is a development value",
        "VISITNOW_TWILIO_SMS_FROM is a number for trying out: no message arrives",
        "VISITNOW_RAZORPAY_KEY_ID is one of the gateway's test mode: nobody really pays",
    ):
        assert wanted in said
    assert _bad(findings)["no account with a published password"] == ACCOUNTS["admin"].id
    assert _bad(findings)["backups"] == "VISITNOW_BACKUP_URL is not set: nothing is backed up"


async def test_a_backup_that_is_missing_is_named_until_there_is_one(
    settings: Settings, servers: Addresses, tmp_path: Path
) -> None:
    with MongoClient[Json](servers.owner_mongodb_url(settings.database)) as owner:
        owner[settings.database]["rollups"].replace_one({"_id": "x"}, {"tenant_id": "platform"}, upsert=True)
    addresses = mongo_addresses(settings)
    vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
    await vault.seal("usr_kept", DataClass.IDENTITY, {"n": 1})
    await vault.close()
    changes = {"backup_url": tmp_path.as_uri(), "backup_keys": SecretStr(f"2026:{development_key('a test')}")}
    kept = settings.model_copy(update=changes)
    said = _bad(await examine(kept))["backups"]
    assert [one.partition(" since")[0] for one in said.split("; ")] == [
        "there is none of the data",
        "there is none of the vault",
    ]
    await back_up(kept, lambda what, documents: None)  # noqa: ARG005  nobody listens
    assert _bad(await examine(kept)) == IDLE


async def _nobody(practitioner_id: str) -> None:
    del practitioner_id


def test_what_is_well_and_what_is_not_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    show([Finding("clocks"), Finding("Redis", "does not answer [redis]", "start it")])
    assert capsys.readouterr().out.splitlines() == [
        "OK   clocks",
        "BAD  Redis: does not answer [redis]",
        "       → start it",
    ]
