"""Where backups lie: `<kind>/<id>/…` for each, its manifest last, and `files/…` for copies that several share."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import obstore
from obstore.store import ObjectStore
from pydantic import ValidationError

from adapters.backup.sealing import BackupCipher
from adapters.settings import NamedKey
from adapters.storage import answered, open_store
from adapters.tokens import Statement, Statements
from models.backups import UNFINISHED_KEPT, BackupError, BackupKind, Manifest, Part, UnknownKeyError

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.jws"
FILES: Final = "files"


class BackupStore:
    """One place for backups. Each method raises `UnavailableError` where it does not answer."""

    def __init__(self, url: str, keys: Sequence[NamedKey], statements: Statements) -> None:
        """`url` as in the setting `BACKUP_URL`, the keys that seal parts, and who signs manifests."""
        self._store: ObjectStore = open_store(url)
        self._cipher = BackupCipher(keys)
        self._statements = statements

    # Parts

    async def put(self, name: str, content: bytes) -> Part:
        """Seal and store one part."""
        sealed = await asyncio.to_thread(self._cipher.seal, name, content)
        await answered(obstore.put_async(self._store, name, sealed, use_multipart=False))
        return Part(name=name, sha256=hashlib.sha256(sealed).hexdigest())

    async def get(self, name: str, sha256: str | None = None) -> bytes:
        """One part in clear. Raises `BackupError` where it is gone or is not what was put there."""
        sealed = await self._read(name)
        if sealed is None:
            raise BackupError(f"{name} is gone")
        if sha256 is not None and hashlib.sha256(sealed).hexdigest() != sha256:
            raise BackupError(f"{name} is not what its manifest says")
        return await asyncio.to_thread(self._cipher.open, name, sealed)

    # Backups

    async def finish(self, manifest: Manifest) -> None:
        """From now on it is one: the manifest, then our name under it."""
        folder = _folder(manifest.kind, manifest.id)
        text = manifest.model_dump_json(indent=1).encode()
        signature = self._statements.sign(Statement.BACKUP, _facts(manifest, text))
        await answered(obstore.put_async(self._store, f"{folder}/{MANIFEST}", text))
        await answered(obstore.put_async(self._store, f"{folder}/{SIGNATURE}", signature.encode()))

    async def finished(self, kind: BackupKind) -> list[str]:
        """The ids of the backups that are whole, newest first."""
        return [one for one in await self._ids(kind) if await self._read(f"{_folder(kind, one)}/{SIGNATURE}")]

    async def manifest(self, kind: BackupKind, backup_id: str) -> Manifest:
        """One backup's. Raises `BackupError` where there is none, or it is not what we signed.

        `UnknownKeyError` where the key that signed it is not at hand.
        """
        folder = _folder(kind, backup_id)
        text, signature = await self._read(f"{folder}/{MANIFEST}"), await self._read(f"{folder}/{SIGNATURE}")
        if text is None or signature is None:
            raise BackupError(f"there is no whole backup {folder}")
        statement = signature.decode(errors="replace")
        if (key := self._statements.foreign_key_of(statement)) is not None:
            raise UnknownKeyError(folder, key)
        try:
            facts = self._statements.read(Statement.BACKUP, statement)
            found = Manifest.model_validate_json(text)
        except (ValidationError, ValueError) as error:
            raise BackupError(f"the manifest of {folder} is not what we signed") from error
        if {**_facts(found, text), "iss": facts.get("iss")} != facts or (found.kind, found.id) != (kind, backup_id):
            raise BackupError(f"the manifest of {folder} is not what we signed")
        return found

    async def remove(self, manifest: Manifest) -> None:
        """The signature first, so that half a backup is none."""
        folder = _folder(manifest.kind, manifest.id)
        for name in (f"{folder}/{SIGNATURE}", f"{folder}/{MANIFEST}", *(one.name for one in manifest.parts)):
            await self._delete(name)

    async def remove_unfinished(self, kind: BackupKind, now: datetime) -> int:
        """What runs that died have left; how many it were."""
        whole, removed = set(await self.finished(kind)), 0
        for one in await self._ids(kind):
            left = await self._list(f"{_folder(kind, one)}/")
            if one not in whole and all(modified < now - UNFINISHED_KEPT for _, modified in left):
                for name, _ in left:
                    await self._delete(name)
                removed += 1
        return removed

    async def remove_untouched(self, kind: BackupKind, backup_id: str, before: datetime) -> bool:
        """Remove a backup whose manifest cannot be read, if nothing of it was written since; whether it was removed."""
        left = await self._list(f"{_folder(kind, backup_id)}/")
        if not all(modified < before for _, modified in left):
            return False
        # Signature first, as ever.
        for name, _ in sorted(left, key=lambda one: not one[0].endswith(SIGNATURE)):
            await self._delete(name)
        return True

    async def copies(self, before: datetime) -> set[str]:
        """Copies of files, by their hashes, that were put before then: one that was just put may be named soon."""
        return {name.rpartition("/")[2] for name, modified in await self._list(f"{FILES}/") if modified < before}

    async def remove_copies(self, hashes: Collection[str]) -> None:
        """Remove copies that no backup names any more."""
        for one in hashes:
            await self._delete(file_name(one))

    async def _ids(self, kind: BackupKind) -> list[str]:
        listed = await answered(obstore.list_with_delimiter_async(self._store, prefix=f"{kind}/"))
        return sorted((one.rstrip("/").rpartition("/")[2] for one in listed["common_prefixes"]), reverse=True)

    async def _list(self, prefix: str) -> list[tuple[str, datetime]]:
        found = await answered(obstore.list(self._store, prefix=prefix).collect_async())
        return [(one["path"], one["last_modified"]) for one in found]

    async def _read(self, name: str) -> bytes | None:
        try:
            found = await answered(obstore.get_async(self._store, name))
        except FileNotFoundError:
            return None
        return bytes(await answered(found.bytes_async()))

    async def _delete(self, name: str) -> None:
        try:
            await answered(obstore.delete_async(self._store, name))
        except FileNotFoundError:
            return


def file_name(sha256: str) -> str:
    """Where the copy of a file with that hash lies."""
    return f"{FILES}/{sha256[:2]}/{sha256}"


def part_name(kind: BackupKind, backup_id: str, contents: str, number: int) -> str:
    """Where a part lies."""
    return f"{_folder(kind, backup_id)}/{contents}/{number:06}"


def _folder(kind: BackupKind, backup_id: str) -> str:
    return f"{kind}/{backup_id}"


def _facts(manifest: Manifest, text: bytes) -> dict[str, object]:
    """What is signed: which backup it is, and the hash of its manifest's bytes."""
    return {"kind": str(manifest.kind), "backup": manifest.id, "sha256": hashlib.sha256(text).hexdigest()}
