"""The operator's command on the key vault: keys are rotated."""

from __future__ import annotations

import base64
import os

import pytest

from adapters.connections import mongo_addresses
from adapters.mongo.encryption import Vault
from adapters.mongo.encryption_keys import KEY_BYTES
from adapters.settings import Settings
from cli.keys import rewrap_all
from cli.output import CommandError
from models.data_classes import DataClass
from sandbox.servers.stack import Addresses
from tests.api.conftest import settings_for


def _key() -> str:
    return f"local://{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


async def _sealed(settings: Settings, subjects: int) -> list[bytes]:
    addresses = mongo_addresses(settings)
    vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
    sealed = [bytes(await vault.seal(f"usr_{one}", DataClass.IDENTITY, {"n": one})) for one in range(subjects)]
    await vault.close()
    return sealed


async def _opened(settings: Settings, sealed: list[bytes]) -> list[object]:
    addresses = mongo_addresses(settings)
    vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
    opened: list[object] = list(await vault.open(sealed))
    await vault.close()
    return opened


async def test_keys_are_rotated_once_and_for_all(servers: Addresses, module_database_name: str) -> None:
    old, new = _key(), _key()
    settings = settings_for(servers, f"{module_database_name}_k", kms_url=old)
    sealed = await _sealed(settings, 7)
    turned = settings.model_copy(update={"kms_url": f"{new},{old}"})
    with pytest.raises(CommandError):
        await rewrap_all(settings.model_copy(update={"kms_url": new}))
    assert await rewrap_all(turned) == 7
    assert await rewrap_all(turned) == 0
    assert await _opened(settings.model_copy(update={"kms_url": new}), sealed) == [{"n": one} for one in range(7)]
