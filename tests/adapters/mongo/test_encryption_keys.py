"""Opening without the driver: the same answers as the driver's, nothing that is not authentic, and no key for long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pytest
from bson import CodecOptions
from bson.binary import UUID_SUBTYPE, Binary
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient, monitoring
from pymongo.encryption import ClientEncryption
from pymongo.errors import EncryptionError
from pymongo.read_concern import ReadConcern

from adapters.mongo.client import Document
from adapters.mongo.encryption import ERASED, VAULT_COLLECTION, key_encryption_keys
from adapters.mongo.encryption_keys import (
    KEY_BYTES,
    REMEMBERED_SECONDS,
    DataKey,
    DataKeys,
    data_key,
    key_id_of,
    opened,
)
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.data_classes import DataClass
from tests.adapters.mongo.builders import new
from tests.adapters.mongo.test_encryption import destroy

OPTIONS: Final[CodecOptions[Document]] = CodecOptions(tz_aware=True)
CONTENT: Final[Document] = {
    "name": "अनन्या",
    "at": datetime(2031, 3, 3, 4, 30, tzinfo=UTC),
    "more": {"list": [1, 2.5, None, True, b"bytes"], "empty": {}},
}


class Sent(monitoring.CommandListener):
    """The names of the commands that went to the vault."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command.get(event.command_name) == VAULT_COLLECTION:
            self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Not of interest."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Not of interest."""


class Reader(NamedTuple):
    """A reader's keys, what it asked for them, and the seconds that its clock shows."""

    keys: DataKeys
    sent: Sent
    clock: list[float]


@pytest.fixture
def reader(addresses: MongoAddresses) -> Iterator[Reader]:
    sent, clock = Sent(), [0.0]
    with MongoClient[Document](addresses.vault_url, event_listeners=[sent]) as client:
        vault = client[addresses.vault_database].get_collection(VAULT_COLLECTION, read_concern=ReadConcern("majority"))
        keys = DataKeys(vault, key_encryption_keys(addresses.kms_url), lambda: clock[0])
        yield Reader(keys, sent, clock)


async def _page(stores: Repositories, number: int) -> dict[str, bytes]:
    """Sealed values, each of a subject of its own."""
    subjects = [new("usr") for _ in range(number)]
    return {one: await stores.vault.seal(one, DataClass.CLINICAL, CONTENT) for one in subjects}


def _ids(page: dict[str, bytes]) -> set[bytes]:
    return {key_id_of(one) for one in page.values()}


async def test_the_drivers_own_values_open(stores: Repositories, reader: Reader) -> None:
    [sealed] = (await _page(stores, 1)).values()
    [key] = reader.keys.existing({key_id_of(sealed)}).values()
    assert key is not None
    assert opened(sealed, key, OPTIONS) == CONTENT


async def test_not_one_byte_may_differ(stores: Repositories, reader: Reader) -> None:
    [sealed] = (await _page(stores, 1)).values()
    [key] = reader.keys.existing({key_id_of(sealed)}).values()
    assert key is not None
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert opened(bytes(changed), key, OPTIONS) is None, place
        assert opened(sealed[:place], key, OPTIONS) is None, place
    assert opened(sealed + b"\0" * 16, key, OPTIONS) is None
    assert opened(sealed, data_key(os.urandom(KEY_BYTES)), OPTIONS) is None


KEY: Final[DataKey] = data_key(bytes(KEY_BYTES))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda end: b"\2" + bytes(16) + b"\3" + end))
def test_whatever_else_there_is_opens_nothing(anything: bytes) -> None:
    assert opened(anything, KEY, OPTIONS) is None


async def test_what_was_tampered_with_is_an_error_of_the_drivers(stores: Repositories) -> None:
    [sealed] = (await _page(stores, 1)).values()
    assert await stores.vault.open([sealed]) == [CONTENT]
    with pytest.raises(EncryptionError):
        await stores.vault.open([sealed[:-1] + bytes([sealed[-1] ^ 1])])


@pytest.mark.parametrize("algorithm", [f"AEAD_AES_256_CBC_HMAC_SHA_512-{one}" for one in ("Random", "Deterministic")])
async def test_values_of_other_forms_are_the_drivers(
    stores: Repositories, addresses: MongoAddresses, algorithm: str
) -> None:
    [sealed] = (await _page(stores, 1)).values()
    keys = {name: {"key": key} for name, key in key_encryption_keys(addresses.kms_url).items()}
    namespace = f"{addresses.vault_database}.{VAULT_COLLECTION}"
    with (
        MongoClient[Document](addresses.vault_url) as client,
        ClientEncryption[Document](keys, namespace, client, OPTIONS) as driver,
    ):
        text = driver.encrypt("text", algorithm, key_id=Binary(key_id_of(sealed), UUID_SUBTYPE))
    assert await stores.vault.open([sealed, text]) == [CONTENT, "text"]


async def test_a_page_is_one_look_into_the_vault(stores: Repositories, reader: Reader) -> None:
    ids = _ids(await _page(stores, 50))
    assert reader.keys.existing(ids).keys() == ids
    assert reader.sent.names == ["find"]
    assert None not in reader.keys.existing(ids).values()
    assert reader.sent.names == ["find", "count"]


async def test_a_destroyed_key_is_gone_and_forgotten_at_once(
    stores: Repositories, reader: Reader, addresses: MongoAddresses
) -> None:
    page = await _page(stores, 3)
    ids, subject = _ids(page), next(iter(page))
    reader.keys.existing(ids)
    destroy(addresses, subject, DataClass.CLINICAL)
    assert reader.keys.existing(ids).keys() == ids - {key_id_of(page[subject])}
    assert key_id_of(page[subject]) not in reader.keys._remembered
    assert await stores.vault.open(list(page.values())) == [ERASED, CONTENT, CONTENT]


async def test_no_key_is_remembered_longer_than_a_minute(stores: Repositories, reader: Reader) -> None:
    ids = _ids(await _page(stores, 2))
    reader.keys.existing(ids)
    reader.clock[0] = REMEMBERED_SECONDS - 1
    reader.keys.existing(ids)
    assert reader.sent.names == ["find", "count"]
    reader.clock[0] = REMEMBERED_SECONDS
    reader.keys.existing(set())
    assert not reader.keys._remembered
    reader.keys.existing(ids)
    assert reader.sent.names[-1] == "find"
    assert REMEMBERED_SECONDS <= 60
