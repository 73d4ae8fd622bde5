"""Backups: what one consists of, by what it is proved whole, and when it has lapsed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from models.base import Id, Model, UtcDatetime

PART_BYTES: Final = 8 * 1024 * 1024
"""So much is gathered before it is sealed and stored: what a backup needs in memory, whatever the database's size."""

UNFINISHED_KEPT: Final = timedelta(days=1)
"""What has no manifest after this long is left over from a run that died."""

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class BackupError(Exception):
    """A backup cannot be made, or is not what was made; the text says why, without anybody's data."""


class UnknownKeyError(BackupError):
    """Something was signed with a key that is not configured: one of ours of before, or anybody's."""

    def __init__(self, what: str, key: str) -> None:
        """Names the key, so that it can be put back."""
        super().__init__(
            f"{what} was signed with the key {key!r}, which VISITNOW_SIGNING_KEYS no longer names: "
            "name it there again, after the newest"
        )


class BackupKind(StrEnum):
    """The data and the keys that open it lie apart, and the keys are kept for a shorter time."""

    DATA = "data"
    VAULT = "vault"


class Part(Model):
    """One sealed object of a backup."""

    name: str
    sha256: Sha256
    """Of the object as it lies in storage."""


class Contents(Model):
    """One collection as the snapshot had it, its documents one after another in the order of their ids."""

    name: str
    documents: int
    size: int
    """Bytes of all documents."""
    sha256: Sha256
    """Of all documents' bytes."""
    parts: tuple[Part, ...]


class Manifest(Model):
    """What a backup consists of; one without a signed manifest is none."""

    format: Literal[1] = 1
    id: Id
    kind: BackupKind
    database: str
    taken_at: UtcDatetime
    """The snapshot's instant by the database's clock: what came after it is not in the backup."""
    finished_at: UtcDatetime
    contents: tuple[Contents, ...]
    files: Contents | None = None
    """The list of the files in object storage, one line of JSON (`StoredFile`) each; None where there is no storage."""

    @property
    def documents(self) -> int:
        """Of all collections."""
        return sum(one.documents for one in self.contents)

    @property
    def size(self) -> int:
        """Bytes of all documents."""
        return sum(one.size for one in self.contents)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every object that belongs to it alone."""
        return tuple(part for one in (*self.contents, *((self.files,) if self.files else ())) for part in one.parts)


class StoredFile(Model):
    """An object of the installation's storage, and under which hash its copy lies."""

    path: str
    size: int
    e_tag: str | None
    modified: UtcDatetime
    sha256: Sha256

    def is_as_it_was(self, size: int, e_tag: str | None, modified: datetime) -> bool:
        """Whether the storage shows it unchanged, so that it need not be read again."""
        return (self.size, self.e_tag, self.modified) == (size, e_tag, modified)


class Measure:
    """Counts and hashes a collection while it passes by."""

    def __init__(self) -> None:
        """Nothing has passed yet."""
        self.documents = 0
        self.size = 0
        self._hash = hashlib.sha256()

    def add(self, content: bytes, documents: int) -> None:
        """So many documents, one after another."""
        self.documents += documents
        self.size += len(content)
        self._hash.update(content)

    @property
    def sha256(self) -> str:
        """Of everything up to now."""
        return self._hash.hexdigest()

    def is_that_of(self, contents: Contents) -> bool:
        """Whether what has passed is exactly that collection."""
        return (self.documents, self.size, self.sha256) == (contents.documents, contents.size, contents.sha256)


def backup_id(at: datetime, salt: str) -> str:
    """A name that sorts by time; `salt` tells those of two machines apart."""
    return f"{at:%Y%m%dT%H%M%S.%fZ}-{salt}"


def lapsed(manifests: Iterable[Manifest], now: datetime, keep: timedelta) -> list[Manifest]:
    """Those whose snapshot is older than `keep`."""
    return [one for one in manifests if one.taken_at < now - keep]
