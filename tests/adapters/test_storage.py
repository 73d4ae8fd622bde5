"""Files in object storage: encrypted, bound to their names, and gone with their owner's key."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from adapters.mongo.encryption import VAULT_COLLECTION, Vault
from adapters.scanning import SignatureScanner
from adapters.storage import EncryptedStore, decrypted, encrypted
from models.chunks import CHUNK
from models.errors import UnavailableError
from models.files import in_one_piece, media_type_of
from sandbox.servers.stack import Addresses

KEY = secrets.token_bytes(32)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def vault(servers: Addresses, module_database_name: str) -> AsyncIterator[Vault]:
    database = f"{module_database_name}_vault"
    opened = Vault(servers.vault_mongodb_url(database), database, "local:")
    yield opened
    await opened.close()


@given(st.binary(max_size=3), st.integers(0, 3), st.integers(-2, 2))
def test_what_went_in_comes_out(start: bytes, chunks: int, more: int) -> None:
    content = start + b"x" * max(0, chunks * CHUNK + more)
    assert decrypted(KEY, "app_1/doc_1", encrypted(KEY, "app_1/doc_1", content)) == content


def _pieces() -> list[bytes]:
    sealed = encrypted(KEY, "a", b"x" * (2 * CHUNK + 5))
    size = CHUNK + 16
    return [sealed[:size], sealed[size : 2 * size], sealed[2 * size :]]


@pytest.mark.parametrize("how", ["moved", "cut", "repeated", "flipped", "renamed"])
def test_whatever_was_done_to_it_is_seen(how: str) -> None:
    one, two, three = _pieces()
    changed = {
        "moved": two + one + three,
        "cut": one + two,
        "repeated": one + two + two + three,
        "flipped": bytes([one[0] ^ 1]) + one[1:] + two + three,
        "renamed": one + two + three,
    }[how]
    with pytest.raises(ValueError, match="changed"):
        decrypted(KEY, "b" if how == "renamed" else "a", changed)


async def test_a_file_lies_encrypted_and_goes_with_its_owner(
    vault: Vault, tmp_path: Path, servers: Addresses, module_database_name: str
) -> None:
    store = EncryptedStore(tmp_path.as_uri(), vault)
    content = b"%PDF-1.7 Nirmala Joshi" + b"y" * CHUNK
    await store.keep("app_1", "doc_1", content)
    await store.keep("app_1", "doc_1", content)
    assert await store.read("app_1", "doc_1") == content
    assert await store.read("app_1", "doc_2") is None
    assert b"Nirmala" not in _only_file(tmp_path)
    database = f"{module_database_name}_vault"
    with MongoClient[dict[str, object]](servers.owner_mongodb_url(database)) as owner:
        owner[database][VAULT_COLLECTION].delete_many({})
    assert await store.read("app_1", "doc_1") is None


def _only_file(folder: Path) -> bytes:
    [stored] = [one for one in folder.rglob("*") if one.is_file()]
    return stored.read_bytes()


async def test_without_a_store_it_says_so(vault: Vault) -> None:
    with pytest.raises(UnavailableError):
        await EncryptedStore(None, vault).keep("app_1", "doc_1", b"%PDF-")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%PDF-1.4 ...", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"MZ\x90", None),
        (b"<html>%PDF-", None),
        (b"", None),
    ],
)
def test_a_file_is_what_its_content_says(content: bytes, what: str | None) -> None:
    assert media_type_of(content) == what


async def test_what_no_certificate_carries_is_refused() -> None:
    scanner = SignatureScanner()
    assert await scanner.is_clean(in_one_piece(b"%PDF-1.4 plain"))
    assert not await scanner.is_clean(in_one_piece(b"%PDF-1.4 /OpenAction << /S /JavaScript >>"))
    eicar = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    assert not await scanner.is_clean(in_one_piece(eicar))
