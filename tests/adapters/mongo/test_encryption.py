"""Sealing: unreadable without the vault, erased with the key, and never a whole page lost for one of them."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bson.binary import UUID_SUBTYPE, Binary
from pymongo import MongoClient
from pymongo.errors import EncryptionError

from adapters.mongo.client import Document
from adapters.mongo.encryption import ERASED, Vault, key_encryption_key
from adapters.mongo.encryption_keys import KEY_BYTES
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.data_classes import DataClass
from models.identity import Tenant
from tests.adapters.mongo.builders import a_command, a_refund, a_step, an_intake, new, soon

TENANT = Tenant("ten_a")


@pytest.fixture
async def vault(addresses: MongoAddresses) -> AsyncIterator[Vault]:
    """A second process's view of the same vault."""
    vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
    yield vault
    await vault.close()


def destroy(addresses: MongoAddresses, subject: str, data_class: DataClass) -> None:
    with MongoClient[Document](addresses.vault_url) as client:
        keys = client[addresses.vault_database]["__keyVault"]
        assert keys.delete_one({"keyAltNames": f"{subject}:{data_class}"}).deleted_count == 1


def key_names(addresses: MongoAddresses, subject: str) -> list[object]:
    with MongoClient[Document](addresses.vault_url) as client:
        keys = client[addresses.vault_database]["__keyVault"]
        return [key["keyAltNames"] for key in keys.find({"keyAltNames": {"$regex": f"^{subject}:"}})]


async def test_what_is_sealed_opens_anywhere_with_the_same_vault(stores: Repositories, vault: Vault) -> None:
    content: Document = {"text": "अनन्या", "number": 7, "list": ["a"], "none": None}
    sealed = await stores.vault.seal(new("usr"), DataClass.CLINICAL, content)
    assert await vault.open([None, bytes(sealed), None]) == [None, content, None]
    assert await vault.open([]) == []
    assert await vault.open([None]) == [None]


@pytest.fixture
async def vaults(addresses: MongoAddresses) -> AsyncIterator[list[Vault]]:
    """The same vault as several processes see it, each connected."""
    several = [Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url) for _ in range(4)]
    for one in several:
        await one.seal(new("usr"), DataClass.CLINICAL, {})
    yield several
    for one in several:
        await one.close()


async def test_one_key_per_subject_and_class_also_when_all_make_it_at_once(
    vaults: list[Vault], stores: Repositories, addresses: MongoAddresses
) -> None:
    for _ in range(20):
        subject = new("usr")
        sealed = await asyncio.gather(
            *(vault.seal(subject, DataClass.CLINICAL, {"n": number}) for number, vault in enumerate(vaults))
        )
        assert key_names(addresses, subject) == [[f"{subject}:clinical"]]
        assert await stores.vault.open(sealed) == [{"n": number} for number in range(4)]


async def test_each_class_has_a_key_of_its_own(stores: Repositories, addresses: MongoAddresses) -> None:
    subject = new("usr")
    for data_class in DataClass:
        await stores.vault.seal(subject, data_class, {})
    assert len(key_names(addresses, subject)) == len(DataClass)


async def test_a_destroyed_key_erases_its_own_and_nothing_else(
    stores: Repositories, vault: Vault, addresses: MongoAddresses
) -> None:
    gone, kept = new("usr"), new("usr")
    page = [
        await stores.vault.seal(subject, data_class, {"of": f"{subject} {data_class}"})
        for subject in (gone, kept)
        for data_class in (DataClass.CLINICAL, DataClass.IDENTITY)
    ]
    expected = await stores.vault.open(page)
    destroy(addresses, gone, DataClass.CLINICAL)
    for reader in (stores.vault, vault):
        assert await reader.open(page) == [ERASED, *expected[1:]], "at once, although its reader has cached the key"


async def test_after_an_erasure_a_new_key_is_made(
    stores: Repositories, vault: Vault, addresses: MongoAddresses
) -> None:
    subject = new("usr")
    old = await stores.vault.seal(subject, DataClass.CLINICAL, {"n": 1})
    destroy(addresses, subject, DataClass.CLINICAL)
    new_one = await vault.seal(subject, DataClass.CLINICAL, {"n": 2})
    assert await vault.open([old, new_one]) == [ERASED, {"n": 2}]


async def test_a_remembered_key_that_is_gone_is_forgotten(vault: Vault, addresses: MongoAddresses) -> None:
    subject = new("usr")
    vault._known[f"{subject}:clinical"] = Binary(os.urandom(16), UUID_SUBTYPE)
    sealed = await vault.seal(subject, DataClass.CLINICAL, {"n": 1})
    assert await vault.open([sealed]) == [{"n": 1}]
    assert len(key_names(addresses, subject)) == 1


async def test_another_key_encryption_key_opens_nothing(stores: Repositories, addresses: MongoAddresses) -> None:
    sealed = await stores.vault.seal(new("usr"), DataClass.CLINICAL, {"n": 1})
    other = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    wrong = Vault(addresses.vault_url, addresses.vault_database, f"local://{other}")
    with pytest.raises(EncryptionError):
        await wrong.open([sealed])
    await wrong.close()


async def test_no_collection_holds_a_readable_word(stores: Repositories, addresses: MongoAddresses) -> None:
    canary = new("canary")
    command = a_command(practitioner_id=new("prc"))
    assert await stores.claims.tentative(TENANT, command, an_intake(canary), soon())
    _, sealed = await stores.claims.hold(TENANT, a_step(command))
    await stores.appointments.insert(TENANT, a_step(command), sealed)
    await stores.appointments.note_cancellation(TENANT, command.appointment_id, canary)
    refund = a_refund(appointment_id=command.appointment_id, subject_id=command.subject_id)
    await stores.payments.open_refund(TENANT, refund, canary, soon())
    dump = "".join(
        [
            str(document)
            for name in ("slots", "appointments", "refunds")
            async for document in stores.database[name].find({})
        ]
    )
    assert command.subject_id in dump
    assert canary not in dump

    destroy(addresses, command.subject_id, DataClass.CLINICAL)
    destroy(addresses, command.subject_id, DataClass.FINANCIAL)
    appointment = await stores.appointments.find(TENANT, command.appointment_id)
    assert appointment is not None
    assert (appointment.intake, appointment.intake_erased) == (None, True)
    assert await stores.payments.refunds_of(TENANT, command.appointment_id) == [(refund, None)]


# The key-encryption key


def test_the_key_comes_from_a_file_or_the_setting(tmp_path: Path) -> None:
    key = os.urandom(KEY_BYTES)
    encoded = base64.b64encode(key).decode()
    path = tmp_path / "a key"
    path.write_text(encoded + "\n")
    assert key_encryption_key(path.as_uri()) == key
    assert key_encryption_key(f"local://{encoded}") == key
    assert len(key_encryption_key("local:")) == KEY_BYTES


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("aws:kms:key", "'aws' is not supported"),
        ("gcp:x", "'gcp' is not supported"),
        ("", "'' is not supported"),
        ("file://host/path", "'file' is not supported"),
        ("file:///nowhere/key", "cannot be read from /nowhere/key: FileNotFoundError"),
        ("local://c2hvcnQ=", "must have 96 bytes, it has 5"),
        ("local://not*base64", "is not base64"),
    ],
)
def test_anything_else_is_refused_without_telling_a_key(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        key_encryption_key(url)
    assert "c2hvcnQ" not in str(refused.value)
