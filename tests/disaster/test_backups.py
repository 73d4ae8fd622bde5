"""What a backup is: sealed parts under a signed manifest, of which nothing can be changed, moved or left out unseen."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.backup.sealing import BackupCipher
from adapters.backup.store import BackupStore, part_name
from adapters.settings import NamedKey, parse_keys
from adapters.tokens import Statements
from models.backups import UNFINISHED_KEPT, BackupError, BackupKind, Contents, Manifest, Measure, backup_id, lapsed
from tests.disaster.support import a_key

KEYS = parse_keys(f"{a_key('new')},{a_key('old')}", "key")
CIPHER = BackupCipher(KEYS)
SIGNERS = parse_keys(a_key("signer"), "key")
NOW = datetime.now(UTC)


@given(st.binary(max_size=2000), st.text(max_size=20))
def test_what_went_in_comes_out_and_only_under_its_name(content: bytes, name: str) -> None:
    sealed = CIPHER.seal(name, content)
    assert CIPHER.open(name, sealed) == content
    with pytest.raises(BackupError, match="was changed"):
        CIPHER.open(f"{name}.", sealed)


@given(st.data())
def test_no_byte_of_it_can_be_another(data: st.DataObject) -> None:
    sealed = CIPHER.seal("data/1/users/000001", b"Nirmala Joshi" * 20)
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:at] + bytes([sealed[at] ^ data.draw(st.integers(1, 255))]) + sealed[at + 1 :]
    with pytest.raises(BackupError):
        CIPHER.open("data/1/users/000001", changed)
    with pytest.raises(BackupError):
        CIPHER.open("data/1/users/000001", sealed[:at])


def test_an_older_key_opens_what_it_sealed_and_a_foreign_one_nothing() -> None:
    sealed = BackupCipher(KEYS[1:]).seal("a", b"content")
    assert b"content" not in sealed
    assert CIPHER.open("a", sealed) == b"content"
    with pytest.raises(BackupError, match="does not name"):
        BackupCipher([NamedKey("another", KEYS[1].key)]).open("a", sealed)
    with pytest.raises(BackupError, match="not sealed with the key"):
        BackupCipher([NamedKey("old", KEYS[0].key)]).open("a", sealed)


def _manifest(name: str, at: datetime = NOW, kind: BackupKind = BackupKind.DATA) -> Manifest:
    return Manifest(id=name, kind=kind, database="visitnow", taken_at=at, finished_at=at, contents=())


def test_what_is_older_than_it_is_kept_has_lapsed() -> None:
    manifests = [_manifest(f"b{days}", NOW - timedelta(days=days)) for days in (0, 6, 8, 40)]
    assert [one.id for one in lapsed(manifests, NOW, timedelta(days=7))] == ["b8", "b40"]
    assert backup_id(NOW, "b") > backup_id(NOW - timedelta(seconds=1), "f")


def _store(folder: Path, signers: tuple[NamedKey, ...] = SIGNERS) -> BackupStore:
    return BackupStore(folder.as_uri(), KEYS, Statements(signers))


def _files(folder: Path, name: str) -> list[Path]:
    return [one for one in folder.rglob("*") if name in str(one) and one.is_file()]


async def _made(store: BackupStore, name: str = "20310303T043000Z-abc") -> Manifest:
    """A backup of one collection in two parts."""
    measure, parts = Measure(), []
    for number, content in enumerate((b"first", b"second"), start=1):
        measure.add(content, 1)
        parts.append(await store.put(part_name(BackupKind.DATA, name, "users", number), content))
    contents = Contents(name="users", documents=2, size=11, sha256=measure.sha256, parts=tuple(parts))
    assert measure.is_that_of(contents)
    manifest = _manifest(name).model_copy(update={"contents": (contents,)})
    await store.finish(manifest)
    return manifest


async def test_a_backup_is_found_and_read(tmp_path: Path) -> None:
    store = _store(tmp_path)
    made = await _made(store)
    await _made(store, "20310304T043000Z-abc")
    assert await store.finished(BackupKind.DATA) == ["20310304T043000Z-abc", made.id]
    assert await store.finished(BackupKind.VAULT) == []
    found = await store.manifest(BackupKind.DATA, made.id)
    assert found == made
    assert [await store.get(one.name, one.sha256) for one in found.parts] == [b"first", b"second"]
    await store.remove(found)
    assert await store.finished(BackupKind.DATA) == ["20310304T043000Z-abc"]
    assert not _files(tmp_path, made.id)


async def test_a_manifest_that_we_did_not_sign_is_refused(tmp_path: Path) -> None:
    store = _store(tmp_path)
    made = await _made(store)
    path = tmp_path / "data" / made.id / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"documents": 2', b'"documents": 1'))
    with pytest.raises(BackupError, match="not what we signed"):
        await store.manifest(BackupKind.DATA, made.id)


async def test_a_manifest_of_another_backup_is_refused(tmp_path: Path) -> None:
    store = _store(tmp_path)
    made = await _made(store)
    (tmp_path / "data" / made.id).rename(tmp_path / "data" / "20320101T000000Z-abc")
    with pytest.raises(BackupError, match="not what we signed"):
        await store.manifest(BackupKind.DATA, "20320101T000000Z-abc")


async def test_a_manifest_that_somebody_else_signed_is_refused(tmp_path: Path) -> None:
    forged = parse_keys(a_key("signer"), "key")
    made = await _made(_store(tmp_path, forged))
    with pytest.raises(BackupError, match="not what we signed"):
        await _store(tmp_path).manifest(BackupKind.DATA, made.id)
    with pytest.raises(BackupError, match="no longer names"):
        await _store(tmp_path, parse_keys(a_key("newer"), "key")).manifest(BackupKind.DATA, made.id)


async def test_a_part_that_is_gone_or_stands_for_another_is_refused(tmp_path: Path) -> None:
    store = _store(tmp_path)
    first, second = (await _made(store)).parts
    (tmp_path / first.name).write_bytes((tmp_path / second.name).read_bytes())
    with pytest.raises(BackupError, match="not what its manifest says"):
        await store.get(first.name, first.sha256)
    with pytest.raises(BackupError, match="was changed"):
        await store.get(first.name, hashlib.sha256((tmp_path / second.name).read_bytes()).hexdigest())
    (tmp_path / first.name).unlink()
    with pytest.raises(BackupError, match="is gone"):
        await store.get(first.name, first.sha256)


async def test_what_a_run_that_died_has_left_is_none_and_goes_after_a_day(tmp_path: Path) -> None:
    store = _store(tmp_path)
    made = await _made(store)
    await store.put(part_name(BackupKind.DATA, "20310305T043000Z-abc", "users", 1), b"half")
    assert await store.finished(BackupKind.DATA) == [made.id]
    with pytest.raises(BackupError, match="no whole backup"):
        await store.manifest(BackupKind.DATA, "20310305T043000Z-abc")
    assert await store.remove_unfinished(BackupKind.DATA, datetime.now(UTC)) == 0
    assert await store.remove_unfinished(BackupKind.DATA, datetime.now(UTC) + 2 * UNFINISHED_KEPT) == 1
    assert (await store.manifest(BackupKind.DATA, made.id)).parts == made.parts
