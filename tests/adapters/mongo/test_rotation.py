"""A new key-encryption key: everything opens before, while and after the data keys are wrapped anew."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator

import pytest
from pymongo.errors import EncryptionError

from adapters.mongo.encryption import ERASED, RewrapError, Vault
from adapters.mongo.encryption_keys import KEY_BYTES
from adapters.mongo.repositories import MongoAddresses
from models.data_classes import DataClass
from tests.adapters.mongo.builders import new
from tests.adapters.mongo.test_encryption import destroy


def a_kms_url() -> str:
    return f"local://{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


class Installation:
    """One vault, opened with whatever keys a process has."""

    def __init__(self, addresses: MongoAddresses) -> None:
        self._addresses = addresses
        self._open: list[Vault] = []
        self.old, self.new = a_kms_url(), a_kms_url()

    def vault(self, *kms_urls: str) -> Vault:
        name = f"{self._addresses.vault_database}_{id(self)}"[:60]
        self._open.append(Vault(self._addresses.vault_url, name, ",".join(kms_urls)))
        return self._open[-1]

    async def close(self) -> None:
        for one in self._open:
            await one.close()


@pytest.fixture
async def installation(addresses: MongoAddresses) -> AsyncIterator[Installation]:
    one = Installation(addresses)
    yield one
    await one.close()


async def test_everything_opens_before_while_and_after(installation: Installation) -> None:
    old, new_url = installation.old, installation.new
    before = installation.vault(old)
    sealed = [await before.seal(new("usr"), DataClass.CLINICAL, {"number": number}) for number in range(25)]
    wanted = [{"number": number} for number in range(25)]
    # First every process learns of the new key, then it comes first.
    aware, turned = installation.vault(old, new_url), installation.vault(new_url, old)
    assert await aware.rewrap() == 0, "under the key that comes first, nothing is left to do"
    assert await turned.rewrap(10) == 10  # … and here the command is killed
    late = await turned.seal(new("usr"), DataClass.IDENTITY, {"late": True})
    for vault in (aware, turned):
        assert await vault.open([*sealed, late]) == [*wanted, {"late": True}]
    again = installation.vault(new_url, old)
    assert [await again.rewrap(10) for _ in range(3)] == [10, 5, 0]
    assert await installation.vault(new_url).open([*sealed, late]) == [*wanted, {"late": True}]
    with pytest.raises(EncryptionError):
        await installation.vault(old).open(sealed[:1])


async def test_what_was_erased_stays_erased(installation: Installation, addresses: MongoAddresses) -> None:
    subject = new("usr")
    plain = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
    sealed = await plain.seal(subject, DataClass.CLINICAL, {"a": 1})
    destroy(addresses, subject, DataClass.CLINICAL)
    turned = Vault(addresses.vault_url, addresses.vault_database, f"{installation.new},{addresses.kms_url}")
    try:
        while await turned.rewrap():
            pass
        assert await turned.open([sealed]) == [ERASED]
        back = Vault(addresses.vault_url, addresses.vault_database, f"{addresses.kms_url},{installation.new}")
        while await back.rewrap():
            pass
        await back.close()
    finally:
        await plain.close()
        await turned.close()


async def test_without_the_old_key_nothing_is_touched(installation: Installation) -> None:
    sealed = await installation.vault(installation.old).seal(new("usr"), DataClass.CLINICAL, {"a": 1})
    with pytest.raises(RewrapError):
        await installation.vault(installation.new).rewrap()
    assert await installation.vault(installation.old).open([sealed]) == [{"a": 1}]
