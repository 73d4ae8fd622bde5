"""Parts of a backup: compressed, then AES-256-GCM under a key of each part's own, bound to the part's name.

A part is `VNB1`, the length of the backup key's id in one byte, that id, 32 random bytes, then the sealed content. The
part's key comes from the backup key and the random bytes (HKDF-SHA256), so it is used once and needs no nonce.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.settings import KEY_BYTES, NamedKey
from models.backups import BackupError

MAGIC: Final = b"VNB1"
_SALT_BYTES: Final = 32
_ONCE: Final = bytes(12)
"""The nonce of a key that seals one thing only."""
_LEVEL: Final = 1
"""Most of a document is sealed and does not shrink; what does shrinks at the quickest level nearly as well."""


class BackupCipher:
    """Seals with the newest key, opens with whichever a part names."""

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """Newest first; at least one."""
        self._newest = keys[0]
        self._keys = {one.id: one.key for one in keys}

    def seal(self, name: str, content: bytes) -> bytes:
        """The part as it is stored under that name."""
        key_id, salt = self._newest.id.encode(), secrets.token_bytes(_SALT_BYTES)
        head = MAGIC + len(key_id).to_bytes(1, "big") + key_id + salt
        sealed = _aead(self._newest.key, salt).encrypt(_ONCE, zlib.compress(content, _LEVEL), head + name.encode())
        return head + sealed

    def open(self, name: str, part: bytes) -> bytes:
        """The content. Raises `BackupError` where it is not exactly that part, or its key is not at hand."""
        begin = len(MAGIC) + 1
        end = begin + (part[begin - 1] if len(part) >= begin else 0)
        if part[: len(MAGIC)] != MAGIC or len(part) < end + _SALT_BYTES:
            raise BackupError(f"{name} is no part of a backup of ours")
        key = self._keys.get(part[begin:end].decode(errors="replace"))
        if key is None:
            raise BackupError(f"{name} is sealed with a key that VISITNOW_BACKUP_KEYS does not name")
        head, sealed = part[: end + _SALT_BYTES], part[end + _SALT_BYTES :]
        try:
            return zlib.decompress(_aead(key, head[end:]).decrypt(_ONCE, sealed, head + name.encode()))
        except (InvalidTag, zlib.error) as error:
            raise BackupError(f"{name} was changed, or is not sealed with the key that it names") from error


def _aead(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"visitnow backup part").derive(key))
