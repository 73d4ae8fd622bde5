"""The scanner that proves erasures finds what is there: each disguise, and something planted in each place."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from models.addresses import AddressKind, blind_index
from models.data_classes import DataClass
from models.disguises import Canaries, sightings
from tests.stack import Stack, eventually
from tests.trust.life import Office
from workflows import attributes
from workflows.upkeep import UpkeepWorkflow

KEY = b"k" * 32
NAME = "Nirmalā Zq81f3"
PHONE = "+919812300417"


def _forms() -> dict[str, bytes]:
    blind = blind_index(KEY, AddressKind.PHONE, PHONE)
    digest = hashlib.sha256(PHONE.encode())
    return {
        "plain": NAME.upper().encode(),
        "escaped": json.dumps({"name": NAME}).encode(),
        "hex": NAME.encode().hex().upper().encode(),
        "utf-16": NAME.encode("utf-16-le"),
        "base64": base64.b64encode(NAME.encode()),
        "base64 after one": base64.b64encode(b"x" + NAME.encode() + b"yz"),
        "base64 after two": base64.urlsafe_b64encode(b"xy" + NAME.encode() + b"z"),
        "national": b"98123 0981230041 9812300417",
        "hashed": digest.digest(),
        "hashed in hex": digest.hexdigest().encode(),
        "hashed without its country": hashlib.sha256(b"9812300417").hexdigest().upper().encode(),
        "blind index": blind.encode(),
        "blind index in base64": base64.b64encode(bytes.fromhex(blind)),
    }


def _canaries() -> Canaries:
    canaries = Canaries(KEY)
    canaries.word(NAME)
    canaries.phone(PHONE)
    return canaries


@pytest.mark.parametrize("form", _forms())
def test_every_disguise_is_seen(form: str) -> None:
    content = b"\x00before " + _forms()[form] + b" after\xff"
    found = sightings("somewhere", content, _canaries().needles())
    assert {one.word for one in found} & {NAME, PHONE}


def test_nothing_is_seen_where_nothing_is() -> None:
    noise = secrets.token_bytes(100_000) + secrets.token_hex(100_000).encode()
    assert sightings("somewhere", noise, _canaries().needles()) == []


@pytest.fixture
def planted(office: Office) -> Canaries:
    canaries = Canaries(office.stack.settings.index_key)
    canaries.word(f"Planted Zq{secrets.token_hex(8)}")
    return canaries


async def _places(office: Office, canaries: Canaries) -> set[str]:
    return {one.place.partition(" ")[0] for one in await office.scanner().scan(canaries)}


async def test_what_is_planted_in_a_store_is_found_there(office: Office, planted: Canaries) -> None:
    stack, [word] = office.stack, planted.words
    assert await _places(office, planted) == set()
    sealed = await office.stores.vault.seal(f"usr_{secrets.token_hex(8)}", DataClass.CLINICAL, {"said": word})
    key = f"{stack.settings.database}:ticket:{secrets.token_hex(8)}"
    url = stack.settings.storage_url
    assert url is not None
    file = Path(unquote(urlsplit(url).path)) / "documents" / secrets.token_hex(8)
    log = stack.folder / "api-planted.log"
    open_one = stack.db.rollups.insert_one({"tenant_id": "platform", "deep": [{"name": word.encode().hex()}]})
    sealed_one = stack.db.rollups.insert_one({"tenant_id": "platform", "sealed": sealed})
    try:
        await office.redis.set(key, base64.b64encode(word.encode()), ex=60)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\x00" + word.encode())
        log.write_text(word, encoding="utf-8")
        assert await _places(office, planted) == {"mongodb", "opened", "redis", "storage", "logs"}
    finally:
        stack.db.rollups.delete_many({"_id": {"$in": [open_one.inserted_id, sealed_one.inserted_id]}})
        await office.redis.delete(key)
        file.unlink()
        log.unlink()
    assert await _places(office, planted) == set()


async def test_what_is_planted_in_a_workflow_is_found_in_what_is_said_and_in_what_is_searched(
    office: Office, planted: Canaries, shared_stack: Stack
) -> None:
    [word], client = planted.words, office.temporal
    handle = await client.start_workflow(
        UpkeepWorkflow.run,
        id=f"planted-{secrets.token_hex(8)}",
        task_queue="nobody-works-here",
        search_attributes=TypedSearchAttributes([SearchAttributePair(attributes.SUBJECT_REF, word)]),
        static_summary=word,
    )
    try:
        await eventually(lambda: _places(office, planted), lambda seen: seen == {"history", "visibility"})
    finally:
        await handle.terminate()
        await _forget(client, handle.id)
    assert shared_stack.worker.alive


async def _forget(client: Client, workflow_id: str) -> None:
    async def ended() -> int:
        found = await client.count_workflows(f'WorkflowId = "{workflow_id}" AND ExecutionStatus != "Running"')
        return found.count

    await eventually(ended, lambda count: count == 1)


async def test_what_the_carrier_keeps_is_found_there(office: Office, planted: Canaries) -> None:
    settings, [word] = office.stack.settings, planted.words
    account, token = settings.twilio_account_sid, settings.twilio_auth_token
    assert account
    assert token
    async with office.stack.control() as carrier:
        answer = await carrier.post(
            f"/2010-04-01/Accounts/{account}/Messages.json",
            auth=(account, token.get_secret_value()),
            data={"To": "+919812345678", "From": str(settings.twilio_sms_from), "Body": word},
        )
    assert answer.status_code == 201, answer.text
    assert await _places(office, planted) == {"carrier"}
