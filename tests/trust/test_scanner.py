"""The scanner that proves erasures finds what is there: each disguise, and something planted in each place."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import tracemalloc
from itertools import accumulate, pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from adapters.carriers import carriers
from adapters.objects import Objects
from models.addresses import AddressKind, blind_index
from models.data_classes import DataClass
from models.disguises import Canaries, Lookout, sightings
from models.errors import UnavailableError
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


@given(st.data())
def test_what_comes_in_pieces_is_seen_wherever_it_is_cut(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(sorted(_forms())))
    content = b"\x00before " + _forms()[form] + b" after\xff"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(content) - 1), max_size=8)))
    lookout = Lookout(_canaries().needles())
    for begin, end in pairwise([0, *cuts, len(content)]):
        lookout.see("somewhere", content[begin:end])
    assert {one.word for one in lookout.found} & {NAME, PHONE}


def test_the_end_of_one_place_is_not_the_beginning_of_another() -> None:
    lookout = Lookout(_canaries().needles())
    half = len(NAME) // 2
    lookout.see("here", NAME[:half].encode())
    lookout.see("there", NAME[half:].encode())
    assert lookout.found == []


async def test_a_large_object_is_looked_through_piece_by_piece(tmp_path: Path) -> None:
    """60 MB with a word across each border of what is read at once; a piece or two of it are in memory."""
    size, file = 60 * 1024 * 1024, tmp_path / "large"
    with file.open("wb") as empty:
        empty.truncate(size)
    objects = Objects(tmp_path.as_uri())
    _, *pieces = [len(piece) async for _, piece in objects.all()]
    assert (sum(pieces), max(pieces) < size // 10) == (size, True)
    words = [f"Border Zq{secrets.token_hex(8)}" for _ in pieces[1:]]
    with file.open("r+b") as written:
        for word, border in zip(words, accumulate(pieces[:-1]), strict=True):
            written.seek(border - len(word) // 2)
            written.write(word.encode())
    canaries, apart, most = Canaries(KEY), 0, 0
    for word in words[::8]:
        canaries.word(word)
    lookout = Lookout(canaries.needles())
    tracemalloc.start()
    try:
        async for place, piece in objects.all():
            lookout.see(place, piece)
            apart += any(word.encode() in piece for word in words)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {one.word for one in lookout.found} == set(canaries.words)
    assert apart == 0, "each word lies across a border"
    assert most < size // 6


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


async def test_letters_that_join_others_hide_no_word(office: Office) -> None:
    """Names in Marathi, Malayalam and Kannada are written with them."""
    canaries = Canaries(office.stack.settings.index_key)
    words = [
        canaries.word(f"{name} Zq{secrets.token_hex(8)}") for name in ("ज्योत्स्ना र\u200dय", "ന\u200dന്ദ", "ಕ\u200cಷಮ")
    ]
    sealed = await office.stores.vault.seal(
        f"usr_{secrets.token_hex(8)}", DataClass.CLINICAL, {"said": " ".join(words)}
    )
    planted = office.stack.db.rollups.insert_one({"tenant_id": "platform", "sealed": sealed})
    try:
        found = await office.scanner().scan(canaries)
    finally:
        office.stack.db.rollups.delete_one({"_id": planted.inserted_id})
    assert [(one.place, one.word) for one in found] == [("opened rollups", word) for word in words]


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


async def test_the_carrier_is_asked_by_number_and_pages_through_everything(office: Office, planted: Canaries) -> None:
    """As whoever has only the account's credentials asks: what went to a number, by either channel, until redacted."""
    settings, [word] = office.stack.settings, planted.words
    number = f"+9177{secrets.randbelow(10**8):08d}"
    account, token = settings.twilio_account_sid, settings.twilio_auth_token
    assert account
    assert token
    sent = []
    async with office.stack.control() as carrier:
        for channel, sender in (("", settings.twilio_sms_from), ("whatsapp:", settings.twilio_whatsapp_from)):
            form = {"To": f"{channel}{number}", "From": f"{channel}{sender}", "Body": f"for {word}{channel}"}
            url = f"/2010-04-01/Accounts/{account}/Messages.json"
            answer = await carrier.post(url, auth=(account, token.get_secret_value()), data=form)
            assert answer.status_code == 201, answer.text
            sent.append(answer.json()["sid"])
    with carriers(settings) as carried:
        texts = carried.texts
        assert texts is not None
        assert await texts.kept("+917700000000") == []
        assert {one.provider_id: word in one.body for one in await texts.kept(number)} == dict.fromkeys(sent, True)

        async def redacted() -> list[bool]:
            return [await texts.redact(one) for one in sent]

        await eventually(redacted, all, 30)
        assert [one.body for one in await texts.kept(number)] == ["", ""]


async def test_a_carrier_that_lets_nobody_ask_is_named(office: Office) -> None:
    refused = office.stack.settings.model_copy(update={"twilio_auth_token": SecretStr("another")})
    with carriers(refused) as carried:
        assert carried.texts is not None
        with pytest.raises(UnavailableError, match="the messaging provider"):
            await carried.texts.kept("+919812345678")
