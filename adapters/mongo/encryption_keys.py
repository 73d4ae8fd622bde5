"""Data keys as the vault's reader keeps them, and the opening of a value with one that is at hand.

The driver opens one value at a time, at some 36 µs each, most of which go into crossing between C and Python; a
list of patients is a page of values. What is opened here is what the driver sealed, in the format that it documents:
a byte for the algorithm, the key's id, a byte for the value's BSON type, then AEAD_AES_256_CBC_HMAC_SHA_512 (MongoDB's
client-side encryption specification, "BSON binary subtype 6"; draft-mcgrew-aead-aes-cbc-hmac-sha2). Whatever does not
have that form or is not authentic yields nothing here and is left to the driver, whose word is final.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from hmac import compare_digest
from typing import Final, NamedTuple

import pymongo.collection
from bson import CodecOptions, decode
from bson.binary import UUID_SUBTYPE, Binary
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.hmac import HMAC

from adapters.mongo.client import Document

KEY_BYTES: Final = 96
"""The length of every key: 32 bytes to authenticate, 32 to encrypt and 32 that only other algorithms use."""

REMEMBERED_SECONDS: Final = 60.0
"""How long an unwrapped data key stays in memory, as long as the driver itself keeps one."""

_MOST: Final = 20_000
_FIELDS: Final = {"_id": 1, "keyMaterial": 1, "masterKey.provider": 1}
_BLOCK: Final = 16
_TAG: Final = 32
_HEADER: Final = 18
_RANDOM: Final = 2
_DOCUMENT: Final = 3
"""The type of an embedded document in BSON."""


class DataKey(NamedTuple):
    """A key that is unwrapped, made ready: its authenticator is copied for each value."""

    mac: HMAC
    cipher: AES


def data_key(key: bytes) -> DataKey:
    """The parts of a key of 96 bytes."""
    return DataKey(HMAC(key[:32], SHA512()), AES(key[32:64]))


def key_id_of(sealed: bytes) -> bytes:
    """The id of the key that a value is sealed under, or what stands in its place."""
    return sealed[1:17]


def opened(sealed: bytes, key: DataKey, options: CodecOptions[Document]) -> Document | None:
    """The document that was sealed; None where it is no document, of another algorithm, or not authentic."""
    if len(sealed) < _HEADER or sealed[0] != _RANDOM or sealed[_HEADER - 1] != _DOCUMENT:
        return None
    content = _authentic(key, sealed[:_HEADER], sealed[_HEADER:])
    return None if content is None else decode(content, options)


def _authentic(key: DataKey, associated: bytes, sealed: bytes) -> bytes | None:
    """The content of an initialisation vector, a ciphertext and a tag; None where the tag is not theirs."""
    if len(sealed) < _BLOCK + _BLOCK + _TAG or len(sealed) % _BLOCK:
        return None
    mac = key.mac.copy()
    mac.update(b"".join((associated, sealed[:-_TAG], (8 * len(associated)).to_bytes(8, "big"))))
    if not compare_digest(mac.finalize()[:_TAG], sealed[-_TAG:]):
        return None
    decryptor = Cipher(key.cipher, CBC(sealed[:_BLOCK])).decryptor()
    padded = decryptor.update(sealed[_BLOCK:-_TAG]) + decryptor.finalize()
    return padded[: -padded[-1]]


class DataKeys:
    """The vault's keys, looked up a page at a time, always in the vault itself: memory spares only the unwrapping."""

    def __init__(
        self,
        vault: pymongo.collection.Collection[Document],
        wrapping: Mapping[str, bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wrapping` are the key-encryption keys, by the name that a data key says it is wrapped under."""
        self._vault = vault
        self._wrapping = {name: data_key(key) for name, key in wrapping.items()}
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[float, DataKey]] = OrderedDict()

    def existing(self, ids: AbstractSet[bytes]) -> dict[bytes, DataKey | None]:
        """Those of the keys that exist at this moment; None stands for one that we cannot unwrap.

        One look into the vault; a second one where a key that is remembered was destroyed since.
        """
        self._forget()
        wanted: Document = {"_id": {"$in": [Binary(one, UUID_SUBTYPE) for one in ids]}}
        known = {one: self._remembered[one][1] for one in ids if one in self._remembered}
        if len(known) == len(ids) == self._count(wanted):
            return dict(known)
        found = {bytes(_binary(one["_id"])): one for one in self._vault.find(wanted, _FIELDS)}
        for gone in known.keys() - found.keys():
            del self._remembered[gone]
        return {key_id: self._key(key_id, document) for key_id, document in found.items()}

    def _count(self, wanted: Document) -> int:
        """How many there are: that no key is gone takes a fifth less time to hear than which ones are there."""
        level = self._vault.read_concern.document
        counted = self._vault.database.command("count", self._vault.name, query=wanted, readConcern=level)
        return int(counted["n"])

    def _key(self, key_id: bytes, document: Document) -> DataKey | None:
        remembered = self._remembered.get(key_id)
        if remembered is not None:
            return remembered[1]
        key = self._unwrapped(document)
        if key is not None:
            self._remembered[key_id] = (self._clock() + REMEMBERED_SECONDS, key)
        return key

    def _unwrapped(self, document: Document) -> DataKey | None:
        master = document["masterKey"]
        name = master.get("provider") if isinstance(master, dict) else None
        wrapping = self._wrapping.get(name) if isinstance(name, str) else None
        if wrapping is None:
            return None
        key = _authentic(wrapping, b"", _binary(document["keyMaterial"]))
        return None if key is None or len(key) != KEY_BYTES else data_key(key)

    def _forget(self) -> None:
        """Drop what is due, or too much; the oldest come first."""
        now = self._clock()
        while self._remembered:
            due, _ = next(iter(self._remembered.values()))
            if due > now and len(self._remembered) <= _MOST:
                return
            self._remembered.popitem(last=False)


def _binary(value: object) -> bytes:
    if not isinstance(value, bytes):
        msg = "the vault holds a key whose fields are not binary"
        raise TypeError(msg)
    return value
