"""Somebody is erased, store by store and class by class: nothing readable stays, and each receipt says what went."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
import pytest_asyncio
from bson import Binary
from pydantic import SecretStr
from redis.asyncio import Redis
from temporalio.testing import ActivityEnvironment

from activities.erasure import ErasureActivities
from adapters.connections import mongo_addresses
from adapters.erasure import KeyEraser, MessagesEraser, MongoEraser, StorageEraser
from adapters.mongo.checkup import MongoCheckup
from adapters.mongo.encryption import ERASED, VAULT_COLLECTION, Vault, key_encryption_keys
from adapters.mongo.repositories import Repositories
from adapters.objects import Objects
from adapters.redis.erasure import RedisEraser
from adapters.settings import Settings
from adapters.sightings import Scanner
from cli.backing_up import back_up
from cli.restoring import Target, chosen, restore
from models.data_classes import DataClass, RetentionClass
from models.disguises import Sighting
from models.erasure import STORES, EraseStore, ErasureReceipt, Store, with_earlier_tries
from models.erasure_ports import Eraser
from models.errors import Code, SubjectErasedError, UnavailableError
from models.identity import Role, Subject
from sandbox.servers.processes import free_port
from tests.adapters.mongo.deletion_calls import a_deletion
from tests.api.test_people import a_patient, ask, bearer, ok, refused, verify
from tests.clinics import employee
from tests.stack import Stack, eventually
from tests.trust.life import Life, Office, at_rest, live, nobody_asks

REST = (RetentionClass.CLINICAL, RetentionClass.FINANCIAL, RetentionClass.LOGS, RetentionClass.IDENTITY)


class Story(NamedTuple):
    """Somebody who was erased, what was found of them on the way, and a backup of before."""

    life: Life
    backups: Settings
    before: list[Sighting]
    at_once: list[ErasureReceipt]
    kept: list[Sighting]
    rest: list[ErasureReceipt]
    after: list[Sighting]
    looked_at: dict[str, int]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(shared_stack: Stack, office: Office, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Everything that no rule keeps goes first, then class by class what was kept."""
    folder, key = tmp_path_factory.mktemp("backups"), base64.b64encode(secrets.token_bytes(32)).decode()
    places = {"backup_url": (folder / "data").as_uri(), "backup_vault_url": (folder / "vault").as_uri()}
    backups = shared_stack.settings.model_copy(update={**places, "backup_keys": SecretStr(f"k1:{key}")})
    life = await live(shared_stack, office.stores)
    await at_rest(shared_stack, office.temporal, life)
    first = office.scanner()
    before = await first.scan(life.canaries)
    await back_up(backups, _silent)
    at_once = await office.erase(life.subject_id, RetentionClass.NONE)
    kept = await office.scanner().scan(life.canaries)
    rest = [one for retained_under in REST for one in await office.erase(life.subject_id, retained_under)]
    return Story(
        life, backups, before, at_once, kept, rest, await office.scanner().scan(life.canaries), first.looked_at
    )


def _silent(*words: object) -> None:
    """Nobody watches."""
    del words


def _erased(receipts: list[ErasureReceipt], store: Store) -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in receipts:
        if one.store is store:
            counted[one.part] = counted.get(one.part, 0) + one.erased
    return counted


def test_before_it_everything_can_be_read_by_whoever_has_the_keys(story: Story) -> None:
    assert {one.word for one in story.before} == {*story.life.canaries.words, story.life.phone}
    places = {one.place for one in story.before}
    assert places >= {f"opened {one}" for one in ("users", "dependants", "appointments", "notifications", "files")}
    assert set(story.looked_at) == {
        "mongodb", "opened", "redis", "storage", "logs", "history", "visibility", "carrier",
    }  # fmt: skip
    assert all(story.looked_at.values())
    assert Sighting("mongodb users", story.life.phone, "blind index in hex") in story.before


def test_what_no_rule_keeps_goes_first(story: Story) -> None:
    mongodb = _erased(story.at_once, Store.MONGODB)
    assert (mongodb["sessions"], mongodb["reviews"]) == (1, 1)
    assert mongodb["notifications"] >= 4
    assert _erased(story.at_once, Store.MESSAGES)["texts"] >= 4
    assert _erased(story.at_once, Store.TEMPORAL)["histories"] >= 6
    # What a law keeps can still be read by whoever has the keys, and nothing else can.
    assert {one.place for one in story.kept} <= {
        *(f"opened {one}" for one in ("appointments", "users", "dependants", "rights_requests", "consultations")),
        *(f"opened {one}" for one in ("documents", "files", "refunds", "slots")),
        "mongodb users",  # the digest by which the account is found: closing the account takes it away
    }
    assert story.kept


def test_in_the_end_nothing_is_found_anywhere(story: Story) -> None:
    assert story.after == []
    assert _erased(story.rest, Store.STORAGE)["documents"] >= 1
    assert set(_erased(story.rest, Store.KEYS)) == set(DataClass)


async def test_the_carrier_keeps_no_words_to_them(shared_stack: Stack, story: Story) -> None:
    texts = await shared_stack.messages(story.life.phone)
    assert len(texts) == _erased(story.at_once, Store.MESSAGES)["texts"]
    assert {one["text"] for one in texts} == {""}


async def test_their_tokens_open_nothing(shared_stack: Stack, story: Story) -> None:
    async with shared_stack.anonymous() as client:
        refused(await client.get("/v1/me", headers=bearer(story.life.tokens)), 401, Code.TOKEN_INVALID)


async def test_a_second_run_finds_nothing_and_says_so(office: Office, story: Story) -> None:
    for retained_under in (RetentionClass.NONE, *REST):
        again = await office.erase(story.life.subject_id, retained_under)
        assert {one.store for one in again} >= set(STORES) - {Store.KEYS}
        # Pages of searches are everybody's and come anew all the time; a key's name is closed each time.
        assert [one for one in again if one.erased and one.store is not Store.KEYS and one.part != "search"] == []


async def test_the_clinic_still_sees_its_visits_without_their_words(
    shared_stack: Stack, office: Office, story: Story
) -> None:
    life = story.life
    assert await office.stores.users.find(Subject(life.subject_id), life.subject_id) is None
    async with shared_stack.client(employee("steady", Role.STAFF)) as desk:
        for one in life.bookings:
            seen = ok(await desk.get(f"/v1/appointments/{one}"))
            assert seen["state"] == "cancelled"
            assert seen.get("reason") is None
        refunds = ok(await desk.get(f"/v1/appointments/{life.bookings[1]}/refunds"))["items"]
        assert refunds
        assert all(one.get("note") is None for one in refunds)
        summary = await desk.get(f"/v1/appointments/{life.bookings[1]}/summary")
        assert summary.status_code in {404, 410}, summary.text


async def test_a_backup_of_before_says_nothing_with_the_keys_of_today(
    shared_stack: Stack, story: Story, tmp_path: Path, database_name: str
) -> None:
    servers = shared_stack.servers
    restored = story.backups.model_copy(
        update={
            "database": database_name,
            "mongodb_url": SecretStr(servers.mongodb_url(database_name)),
            "audit_mongodb_url": SecretStr(servers.audit_mongodb_url(database_name)),
            "storage_url": (tmp_path / "files").as_uri(),
        }
    )
    owner = servers.owner_mongodb_url(database_name)
    await restore(restored, Target(owner, owner), await chosen(restored, None), _silent)
    scanner = Scanner(restored, shared_stack.servers.owner_mongodb_url(restored.database), redis=False)
    left = await scanner.scan(story.life.canaries)
    assert left
    assert all(one.form.startswith("blind index") for one in left), "only what the account was found by"
    assert scanner.looked_at["storage"] > 0
    stores = Repositories.connect(mongo_addresses(restored), on_time_changed=nobody_asks)
    try:
        erasers = (StorageEraser(Objects(restored.storage_url), stores.remains), MongoEraser(stores.remains))
        for retained_under in RetentionClass:
            for one in erasers:
                await one.erase(story.life.subject_id, retained_under, datetime.now(UTC))
    finally:
        await stores.close()
    assert await scanner.scan(story.life.canaries) == []


async def test_the_same_number_is_a_new_person_afterwards(shared_stack: Stack, office: Office, story: Story) -> None:
    life = story.life
    async with shared_stack.anonymous() as client:
        challenge = await ask(client, life.phone)
        [code] = await eventually(lambda: _codes(shared_stack, life.phone), bool)
        again = ok(await verify(client, challenge, code, name="Tara Again"))
        assert again["user"]["id"] != life.subject_id
        client.headers.update(bearer(again))
        assert ok(await client.get("/v1/appointments"))["items"] == []
        # Whatever is still done about the old one leaves the new one alone.
        await office.erase(life.subject_id, RetentionClass.IDENTITY)
        assert ok(await client.get("/v1/me"))["name"] == "Tara Again"


async def _codes(stack: Stack, phone: str) -> list[str]:
    return [found[0] for one in await stack.messages(phone) if (found := re.search(r"\b\d{6}\b", one["text"]))]


async def test_what_was_being_brought_or_taken_along_goes_with_its_files(shared_stack: Stack, office: Office) -> None:
    subject, folder = f"usr_{secrets.token_hex(8)}", shared_stack.settings.storage_url
    assert folder is not None
    root = Path(unquote(urlsplit(folder).path))
    files = []
    for collection in ("uploads", "exports"):
        record = f"{collection[:3]}_{secrets.token_hex(8)}"
        owner = {"tenant_id": "platform", "subject_id": subject, "about": record}
        shared_stack.db[collection].insert_one({"_id": record, **owner, "sealed": None})
        file = root / collection / record / "part" / "00000"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"sealed")
        files.append(file)
    receipts = await office.erase(subject, RetentionClass.NONE, Store.STORAGE, Store.MONGODB)
    assert _erased(receipts, Store.STORAGE) == {"uploads": 1, "exports": 1}
    assert {name: count for name, count in _erased(receipts, Store.MONGODB).items() if count} == {
        "uploads": 1,
        "exports": 1,
    }
    assert not any(one.exists() for one in files)


# Keys


def _a_vault(office: Office) -> Vault:
    settings = office.stack.settings
    assert settings.vault_mongodb_url is not None
    return Vault(settings.vault_mongodb_url.get_secret_value(), settings.vault_database, settings.kms_url)


async def test_a_buried_key_is_never_made_again(office: Office) -> None:
    subject, vault, other = f"usr_{secrets.token_hex(8)}", office.stores.vault, _a_vault(office)
    sealed = await vault.seal(subject, DataClass.IDENTITY, {"name": "Tara"})
    assert await other.open([sealed]) == [{"name": "Tara"}]
    burial = await other.bury(subject, DataClass.IDENTITY)
    assert burial.held
    assert await vault.open([sealed]) == [ERASED]
    with pytest.raises(SubjectErasedError):
        await other.seal(subject, DataClass.IDENTITY, {"name": "Tara"})
    # A process that has the key in memory may go on for a while; what it seals nobody reads.
    late = await _sealed_or_refused(vault, subject)
    assert late is None or await other.open([late]) == [ERASED]
    assert await other.bury(subject, DataClass.IDENTITY) == burial, "it is noted when it first went"
    assert await vault.seal(subject, DataClass.CLINICAL, {"reason": "a cough"}), "the other classes have their own"
    await other.close()


async def test_the_note_of_a_buried_key_is_none_that_the_doctor_misses(office: Office) -> None:
    checkup = MongoCheckup(mongo_addresses(office.stack.settings))
    try:
        await office.stores.vault.bury(f"usr_{secrets.token_hex(8)}", DataClass.FINANCIAL)
        assert set(await checkup.wrapping()) <= set(key_encryption_keys(office.stack.settings.kms_url))
    finally:
        checkup.close()


async def _sealed_or_refused(vault: Vault, subject: str) -> Binary | None:
    try:
        return await vault.seal(subject, DataClass.IDENTITY, {"name": "late"})
    except SubjectErasedError:
        return None


async def test_whoever_makes_a_key_while_it_is_buried_loses(office: Office) -> None:
    vaults = [_a_vault(office) for _ in range(4)]
    for _ in range(5):
        subject = f"usr_{secrets.token_hex(8)}"
        sealed = await asyncio.gather(
            *(_sealed_or_refused(one, subject) for one in vaults), vaults[0].bury(subject, DataClass.IDENTITY)
        )
        late = [one for one in sealed if isinstance(one, Binary)]
        assert await vaults[1].open(late) == [ERASED] * len(late)
        keys = office.stack.mongo[office.stack.settings.vault_database][VAULT_COLLECTION]
        [left] = keys.find({"keyAltNames": f"{subject}:{DataClass.IDENTITY}"})
        assert "keyMaterial" not in left
    for one in vaults:
        await one.close()


async def test_an_erasure_waits_until_nobody_remembers_the_key(office: Office) -> None:
    subject, settle = f"usr_{secrets.token_hex(8)}", timedelta(seconds=1.5)
    eraser = KeyEraser(office.stores.vault, settle)
    began = datetime.now(UTC)
    [receipt] = await eraser.erase(subject, RetentionClass.CLINICAL, began)
    assert (receipt.part, receipt.erased) == ("clinical", 0), "there was no such key, and none is made any more"
    assert datetime.now(UTC) - began >= settle - timedelta(milliseconds=5)
    again = datetime.now(UTC)
    await eraser.erase(subject, RetentionClass.CLINICAL, began)
    assert datetime.now(UTC) - again < settle, "whoever repeats it need not wait once more"
    assert await eraser.erase(subject, RetentionClass.LOGS, began) == []


# What is not there, or not yet


async def test_a_store_that_is_away_is_asked_again(shared_stack: Stack, office: Office) -> None:
    subject = f"usr_{secrets.token_hex(8)}"
    away = Redis.from_url(f"redis://127.0.0.1:{free_port()}/0")
    eraser = RedisEraser(away, shared_stack.settings.database, office.stores.remains)
    with pytest.raises(UnavailableError):
        await eraser.erase(subject, RetentionClass.NONE, datetime.now(UTC))
    await away.aclose()


async def test_a_carrier_in_trouble_is_asked_again_and_only_for_the_rest(shared_stack: Stack, office: Office) -> None:
    async with shared_stack.anonymous() as client:
        tokens = await a_patient(shared_stack, client, f"+9197{secrets.randbelow(10**8):08d}", name="Tara")
    subject = str(tokens["user"]["id"])
    eraser = office.erasers[Store.MESSAGES]
    assert isinstance(eraser, MessagesEraser)
    await shared_stack.fault("message.update", "error", service="twilio", status=503)
    with pytest.raises(UnavailableError):
        await eraser.erase(subject, RetentionClass.NONE, datetime.now(UTC))
    assert len(await office.stores.remains.sent_texts(Subject(subject), subject)) == 1
    [receipt] = await eraser.erase(subject, RetentionClass.NONE, datetime.now(UTC))
    assert (receipt.erased, receipt.kept) == (1, 0)
    assert await office.stores.remains.sent_texts(Subject(subject), subject) == []


class _OnTheRoad:
    """A carrier whose messages never arrive."""

    async def redact(self, provider_id: str) -> bool:
        """Not yet."""
        del provider_id
        return False


async def test_a_message_that_never_arrives_is_waited_for_a_day(shared_stack: Stack, office: Office) -> None:
    """By the clock: the step itself is as old as its first try."""
    subject, began = f"usr_{secrets.token_hex(8)}", datetime.now(UTC)
    sent = {"tenant_id": "platform", "subject_id": subject, "channel": "sms", "provider_id": f"SM{subject}"}
    for moment, message in ((began - timedelta(days=2), "first"), (began - timedelta(hours=23), "second")):
        of = {"_id": f"msg_{subject}_{message}", "redacted_at": None, "state": "sent", "updated_at": moment}
        shared_stack.db.notifications.insert_one({**sent, **of})
    eraser = MessagesEraser(_OnTheRoad(), office.stores.remains)
    at_first = began - timedelta(hours=2)
    with pytest.raises(UnavailableError):
        await eraser.erase(subject, RetentionClass.NONE, at_first)
    a_day_ago = {"updated_at": began - timedelta(days=1, seconds=1)}
    shared_stack.db.notifications.update_one({"_id": f"msg_{subject}_second"}, {"$set": a_day_ago})
    found = await eraser.count(subject, RetentionClass.NONE)
    receipts = await eraser.erase(subject, RetentionClass.NONE, at_first)
    left = await eraser.count(subject, RetentionClass.NONE)
    [receipt] = with_earlier_tries(receipts, found, left)
    assert (receipt.erased, receipt.kept) == (0, 2), "what could not be had is not said to be gone"
    await office.erase(subject, RetentionClass.LOGS, Store.MONGODB)


class _Crashing:
    """An eraser whose process dies when it has erased, before anybody hears of it; the next one gets through."""

    def __init__(self, real: Eraser) -> None:
        self._real = real
        self._crashes = 1
        self.store = real.store

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        return await self._real.count(subject_id, data_class)

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        receipts = await self._real.erase(subject_id, data_class, at)
        if self._crashes:
            self._crashes -= 1
            raise ConnectionResetError
        return receipts


@pytest.mark.parametrize("store", [Store.STORAGE, Store.MONGODB])
async def test_a_step_that_died_after_erasing_counts_what_went_then(
    shared_stack: Stack, office: Office, store: Store
) -> None:
    subject, record = f"usr_{secrets.token_hex(8)}", f"upl_{secrets.token_hex(8)}"
    owner = {"tenant_id": "platform", "subject_id": subject, "about": record}
    shared_stack.db.uploads.insert_one({"_id": record, **owner, "sealed": None})
    if store is Store.STORAGE:
        folder = Path(unquote(urlsplit(shared_stack.settings.storage_url or "").path)) / "uploads" / record
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"sealed")
    deletion = await office.stores.deletions.add(Subject(subject), a_deletion(subject))
    steps = ErasureActivities({store: _Crashing(office.erasers[store])}, office.stores.deletions)
    at = datetime.now(UTC)
    step = EraseStore(subject_id=subject, store=store, data_class=RetentionClass.NONE, at=at, deletion_id=deletion.id)
    with pytest.raises(ConnectionResetError):
        await ActivityEnvironment().run(steps.erase, step)
    assert not any((await office.erasers[store].count(subject, RetentionClass.NONE)).values())
    receipts = await ActivityEnvironment().run(steps.erase, step)
    assert _erased(receipts, store)["uploads"] == 1
    assert sum(_erased(receipts, store).values()) == 1
    await office.erase(subject, RetentionClass.NONE, Store.MONGODB)


async def test_a_receipt_says_when_it_went_and_not_when_that_was_due(office: Office) -> None:
    """The database was away for three days; the key had gone before the worker died."""
    subject, due = f"usr_{secrets.token_hex(8)}", datetime.now(UTC) - timedelta(days=3)
    deletion = await office.stores.deletions.add(Subject(subject), a_deletion(subject))
    burial = await office.stores.vault.bury(subject, DataClass.IDENTITY)
    steps, began = ErasureActivities(office.erasers, office.stores.deletions), datetime.now(UTC)
    for store in (Store.MONGODB, Store.KEYS):
        step = EraseStore(
            subject_id=subject, store=store, data_class=RetentionClass.IDENTITY, at=due, deletion_id=deletion.id
        )
        receipts = await ActivityEnvironment().run(steps.erase, step)
        assert receipts
        for one in receipts:
            assert one.at == burial.at if store is Store.KEYS else one.at >= began
