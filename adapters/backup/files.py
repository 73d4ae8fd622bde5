"""The installation's files: copied into backups as they lie, sealed once more, and put back where they are missing.

Most files never change, so a copy is named by its content's hash and shared by all backups that hold it, and what the
storage shows unchanged since the last backup is not read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import obstore
from obstore.store import ObjectStore

from adapters.backup.store import BackupStore, file_name
from adapters.storage import answered, open_store
from models.backups import BackupError, StoredFile

LEFT_OUT: Final = ("exports/",)
"""What can be made anew at any time, and is gone within days."""


class InstalledFiles:
    """Everything in one object storage; names hold ids only, and contents are sealed already."""

    def __init__(self, url: str) -> None:
        """`url` as in the setting `STORAGE_URL`."""
        self._store: ObjectStore = open_store(url)

    async def copy(
        self, backups: BackupStore, before: Mapping[str, StoredFile], told: Callable[[int], None]
    ) -> list[StoredFile]:
        """Copy what `before`, the last backup's list by path, does not hold as it is now; the new list."""
        files: list[StoredFile] = []
        async for found in self._everything():
            path, size, e_tag, modified = found["path"], found["size"], found["e_tag"], found["last_modified"]
            known = before.get(path)
            if known is not None and known.is_as_it_was(size, e_tag, modified):
                files.append(known)
            elif (content := await self._read(path)) is not None:
                sha256 = hashlib.sha256(content).hexdigest()
                await backups.put(file_name(sha256), content)
                one = StoredFile(path=path, size=len(content), e_tag=e_tag, modified=modified, sha256=sha256)
                files.append(one)
            told(1)
        return files

    async def restore(self, backups: BackupStore, file: StoredFile) -> bool:
        """Put one file where none lies; whether it was missing. Raises `BackupError` where its copy is not it."""
        try:
            await answered(obstore.head_async(self._store, file.path))
        except FileNotFoundError:
            content = await backups.get(file_name(file.sha256))
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise BackupError(f"the copy of {file.path} is not what it was") from None
            await answered(obstore.put_async(self._store, file.path, content))
            return True
        return False

    async def _everything(self) -> AsyncIterator[obstore.ObjectMeta]:
        async for chunk in obstore.list(self._store):
            for one in chunk:
                if not one["path"].startswith(LEFT_OUT):
                    yield one

    async def _read(self, path: str) -> bytes | None:
        """One whole file, some ten mebibytes at most; None where it has gone since it was listed."""
        try:
            found = await answered(obstore.get_async(self._store, path))
        except FileNotFoundError:
            return None
        return bytes(await answered(found.bytes_async()))
