"""Personal data at rest: sealed under a key of its own per subject and class, readable for as long as the key exists.

Each data key lies in the vault, wrapped by one key-encryption key that is unwrapped once, when the vault is opened.
Destroying a data key erases whatever was sealed under it, in every copy and backup of the data.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import Enum, StrEnum
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar
from urllib.parse import unquote
from uuid import uuid4

from bson import CodecOptions
from bson.binary import Binary
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.encryption import ClientEncryption
from pymongo.errors import DuplicateKeyError, EncryptionError
from pymongo.read_concern import ReadConcern

from adapters.mongo.client import TIMEOUTS, Document, answering, unanswered
from adapters.mongo.encryption_keys import KEY_BYTES, DataKey, DataKeys, key_id_of, opened
from models.data_classes import DataClass
from models.erasure_ports import Burial
from models.errors import SubjectErasedError, UnavailableError

T = TypeVar("T")

VAULT_COLLECTION: Final = "__keyVault"
_KNOWN_KEYS: Final = 20_000
_MOST_TIMES: Final = 10
"""So often a key is made anew that somebody else destroys at once."""
_PROVIDER: Final = "local"
_ALGORITHM: Final = "AEAD_AES_256_CBC_HMAC_SHA_512-Random"
_OPTIONS: Final[CodecOptions[Document]] = CodecOptions(tz_aware=True)
_SEALED: Final = 6
"""BSON's subtype of what is encrypted."""
_BURIED: Final = "buriedAt"
_HELD: Final = "held"
IS_KEY: Final[Document] = {"keyMaterial": {"$exists": True}}
"""Beside keys the vault holds notes that one must never be made again."""


class KeyUse(StrEnum):
    """What is done to a data key."""

    MADE = "made"
    DESTROYED = "destroyed"


KeyWord: TypeAlias = Callable[[KeyUse, Sequence[str], DataClass], Awaitable[None]]
"""Told what is done to the keys of some subjects and a class before it happens: no key comes or goes unnoted."""


async def nobody_notes(use: KeyUse, subject_ids: Sequence[str], data_class: DataClass) -> None:
    """Where no audit is kept."""
    del use, subject_ids, data_class


class RewrapError(Exception):
    """A data key is wrapped under a key-encryption key that is not at hand."""


class Erased(Enum):
    """What opening yields where the key was destroyed."""

    ERASED = "erased"


ERASED: Final = Erased.ERASED
Opened: TypeAlias = Document | Literal[Erased.ERASED] | None


def sealed_within(value: object) -> Iterator[bytes]:
    """Every sealed value within a document, however deep."""
    if isinstance(value, Binary) and value.subtype == _SEALED:
        yield bytes(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from sealed_within(one)
    elif isinstance(value, list):
        for one in value:
            yield from sealed_within(one)


def key_encryption_key(kms_url: str) -> bytes:
    """The key that wraps all data keys: 96 bytes.

    `file:///path` names a file with the key in base64, as a secret is mounted; `local://…` carries the base64 itself,
    and `local:` alone stands for the published key of the development profile. Raises ValueError, never with the key
    in its text, for anything else, a cloud's key service included: those are not built yet.
    """
    scheme, _, rest = kms_url.partition(":")
    match scheme:
        case "local" if not rest:
            return hashlib.shake_256(b"visitnow development key-encryption key").digest(KEY_BYTES)
        case "local":
            return _decoded(rest.removeprefix("//"), "the key-encryption key in the setting")
        case "file" if rest.startswith("///"):
            path = Path(unquote(rest.removeprefix("//")))
            try:
                encoded = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                msg = f"the key-encryption key cannot be read from {path}: {type(error).__name__}"
                raise ValueError(msg) from None
            return _decoded(encoded.strip(), f"the key-encryption key in {path}")
        case _:
            msg = f"the key service {scheme!r} is not supported: use file:///path to a key in base64"
            raise ValueError(msg)


def _decoded(encoded: str, what: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        msg = f"{what} is not base64"
        raise ValueError(msg) from None
    if len(key) != KEY_BYTES:
        msg = f"{what} must have {KEY_BYTES} bytes, it has {len(key)}"
        raise ValueError(msg)
    return key


def key_encryption_keys(kms_urls: str) -> dict[str, bytes]:
    """The keys of comma-separated settings, newest first, by the name that a data key says it is wrapped under.

    Raises ValueError as `key_encryption_key` does.
    """
    keys = [key_encryption_key(one.strip()) for one in kms_urls.split(",")]
    named = {f"{_PROVIDER}:{hashlib.sha256(key).hexdigest()[:16]}": key for key in keys}
    # Data keys made before keys had names are wrapped under the oldest.
    return {**named, _PROVIDER: keys[-1]}


class Vault:
    """Seals and opens subdocuments.

    The driver's encryption blocks, so all of it runs in one thread of its own; a page of documents goes there at
    once. Opening asks the vault each time which keys still exist: what was erased is unreadable from that moment on,
    whatever caches hold, and one destroyed key spoils nothing but its own documents. Keys that are at hand open what
    they sealed without the driver, which is asked for everything else.
    """

    def __init__(self, url: str, database: str, kms_url: str, on_key: KeyWord = nobody_notes) -> None:
        """Connects with its first use; `kms_url` may name several keys, as `key_encryption_keys` reads it.

        `on_key` is told before a data key is made or destroyed. New data keys are wrapped under the first; those
        wrapped under another one open all the same.
        Raises ValueError as `key_encryption_key` does.
        """
        keys = key_encryption_keys(kms_url)
        self._newest = next(iter(keys))
        self._client: MongoClient[Document] = MongoClient(
            url, appname="visitnow-vault", w="majority", tz_aware=True, **TIMEOUTS
        )
        # The driver fetches keys at this level: one that another process is just making must not be seen before.
        self._keys = self._client[database].get_collection(VAULT_COLLECTION, read_concern=ReadConcern("majority"))
        self._encryption: ClientEncryption[Document] = ClientEncryption(
            {name: {"key": key} for name, key in keys.items()}, f"{database}.{VAULT_COLLECTION}", self._client, _OPTIONS
        )
        self._data_keys = DataKeys(self._keys, keys)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")
        self._known: OrderedDict[str, Binary] = OrderedDict()
        self._indexed = False
        self._on_key = on_key

    @answering
    async def seal(self, subject_id: str, data_class: DataClass, content: Document) -> Binary:
        """`content` encrypted under the subject's key of that class; the key is made with its first use.

        Raises `SubjectErasedError` where that key was destroyed for good.
        """
        name = f"{subject_id}:{data_class}"
        sealed = await self._in_thread(lambda: self._seal(name, content))
        if sealed is None:
            await self._on_key(KeyUse.MADE, [subject_id], data_class)
            sealed = await self._in_thread(lambda: self._seal_anew(name, content))
        return sealed

    @answering
    async def open(self, sealed: Sequence[bytes | None]) -> list[Opened]:
        """A page of sealed subdocuments, in order; None stays None, and `ERASED` stands where the key is gone."""
        if not any(sealed):
            return [None] * len(sealed)
        return await self._in_thread(lambda: self._open(sealed))

    @answering
    async def rewrap(self, at_once: int = 500) -> int:
        """Wrap up to so many data keys under the newest key-encryption key; how many there were, 0 when all are.

        The data keys themselves stay what they are, so nothing that is sealed changes. Raises `RewrapError` where
        the key that one of them is wrapped under is not among those of the setting.
        """
        return await self._in_thread(lambda: self._rewrap(at_once))

    @answering
    async def destroy(self, subject_ids: Sequence[str], data_class: DataClass) -> None:
        """Destroy these subjects' keys of that class: what is sealed under them opens as `ERASED` from now on."""
        existing = await self._in_thread(lambda: self._existing({f"{one}:{data_class}": one for one in subject_ids}))
        if existing:
            await self._on_key(KeyUse.DESTROYED, list(existing.values()), data_class)
            await self._in_thread(lambda: self._destroy(list(existing)))

    @answering
    async def bury(self, subject_id: str, data_class: DataClass) -> Burial:
        """Destroy a subject's key of that class for good: nobody ever makes one of that name again.

        A note in the key's place says so, under the name that no two of the vault's documents share. A process that
        has sealed with the key lately may go on for `REMEMBERED_SECONDS`; what it seals then nobody opens.
        """
        name = f"{subject_id}:{data_class}"
        if await self._in_thread(lambda: self._existing({name: subject_id})):
            await self._on_key(KeyUse.DESTROYED, [subject_id], data_class)
        return await self._in_thread(lambda: self._bury(name))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._in_thread(self._encryption.close)
        await self._in_thread(self._client.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _seal(self, name: str, content: Document) -> Binary | None:
        """None where there is no key yet."""
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            sealed = self._seal_with(name, known, content)
            if sealed is not None:
                return sealed
        key_id = self._find(name)
        return None if key_id is None else self._seal_with(name, key_id, content)

    def _seal_anew(self, name: str, content: Document) -> Binary:
        for _ in range(_MOST_TIMES):
            key_id = self._find_or_make(name)
            sealed = None if key_id is None else self._seal_with(name, key_id, content)
            if sealed is not None:
                return sealed
        msg = "somebody destroys the key as often as it is made"
        raise UnavailableError(msg)

    def _seal_with(self, name: str, key_id: Binary, content: Document) -> Binary | None:
        """None where the key was destroyed since it was found."""
        self._known[name] = key_id
        if len(self._known) > _KNOWN_KEYS:
            self._known.popitem(last=False)
        try:
            return self._encrypted(content, key_id)
        except EncryptionError as error:
            if unanswered(error) or self._keys.find_one({"_id": key_id}, {"_id": 1}) is not None:
                raise
            self._known.pop(name, None)
            return None

    def _existing(self, names: Mapping[str, str]) -> dict[str, str]:
        """Those of the names that have a key."""
        found = self._keys.find({"keyAltNames": {"$in": sorted(names)}, **IS_KEY}, {"keyAltNames": 1})
        there = {name for one in found for name in _names(one)}
        return {name: subject for name, subject in names.items() if name in there}

    def _encrypted(self, content: Document, key_id: Binary) -> Binary:
        return self._encryption.encrypt(content, _ALGORITHM, key_id=key_id)

    def _destroy(self, names: Sequence[str]) -> None:
        self._keys.delete_many({"keyAltNames": {"$in": names}, **IS_KEY})
        for name in names:
            self._known.pop(name, None)

    def _bury(self, name: str) -> Burial:
        """The key and the note that takes its place change together, so the note knows whether there was one."""
        self._ensure_index()
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        while True:
            try:
                with self._client.start_session() as session:
                    held = session.with_transaction(lambda within: self._replaced(name, now, within))
            except DuplicateKeyError:
                before = self._keys.find_one({"keyAltNames": name, _BURIED: {"$exists": True}})
                if before is not None:
                    return Burial(_instant(before[_BURIED]), held=bool(before.get(_HELD, True)))
                # Somebody has made the key anew just now: it goes too.
            else:
                self._known.pop(name, None)
                return Burial(now, held=held)

    def _replaced(self, name: str, now: datetime, session: ClientSession) -> bool:
        gone = self._keys.delete_many({"keyAltNames": name, **IS_KEY}, session=session).deleted_count
        note: Document = {"_id": Binary.from_uuid(uuid4()), "keyAltNames": [name], _BURIED: now, _HELD: gone > 0}
        self._keys.insert_one(note, session=session)
        return gone > 0

    def _rewrap(self, at_once: int) -> int:
        others: Document = {"masterKey.provider": {"$ne": self._newest}, **IS_KEY}
        found = [_key_id(one) for one in self._keys.find(others, {"_id": 1}, limit=at_once)]
        try:
            if found:
                self._encryption.rewrap_many_data_key({"_id": {"$in": found}}, self._newest)
        except EncryptionError as error:
            if unanswered(error):
                raise
            msg = "a data key is wrapped under a key-encryption key that the setting does not name"
            raise RewrapError(msg) from error
        return len(found)

    def _find_or_make(self, name: str) -> Binary | None:
        """None where somebody else was faster, and the key they made is gone again."""
        found = self._find(name)
        if found is not None:
            return found
        self._ensure_index()
        try:
            return self._encryption.create_data_key(self._newest, key_alt_names=[name])
        except EncryptionError as error:
            if not isinstance(error.cause, DuplicateKeyError):
                raise
            # This level waits until what the other process has written is there for good.
            return self._find(name, ReadConcern("linearizable"))

    def _find(self, name: str, level: ReadConcern | None = None) -> Binary | None:
        """Raises `SubjectErasedError` where the key was destroyed for good."""
        found = self._keys.with_options(read_concern=level).find_one({"keyAltNames": name}, {_BURIED: 1})
        if found is not None and _BURIED in found:
            raise SubjectErasedError
        return None if found is None else _key_id(found)

    def _ensure_index(self) -> None:
        """Two processes that make the same key at once are told apart by this index, so it comes before any key."""
        if not self._indexed:
            self._keys.create_index(
                "keyAltNames",
                name="name",
                unique=True,
                partialFilterExpression={"keyAltNames": {"$exists": True}},
            )
            self._indexed = True

    def _open(self, sealed: Sequence[bytes | None]) -> list[Opened]:
        existing = self._data_keys.existing({key_id_of(one) for one in sealed if one is not None})
        return [None if one is None else self._opened(one, existing) for one in sealed]

    def _opened(self, sealed: bytes, existing: Mapping[bytes, DataKey | None]) -> Opened:
        key_id = key_id_of(sealed)
        if key_id not in existing:
            return ERASED
        key = existing[key_id]
        content = None if key is None else opened(sealed, key, _OPTIONS)
        return self._decrypted(Binary(sealed, 6), key_id) if content is None else content

    def _decrypted(self, sealed: Binary, key_id: bytes) -> Opened:
        try:
            content: Document = self._encryption.decrypt(sealed)
        except EncryptionError as error:
            # The key may have been destroyed since the look into the vault.
            if unanswered(error) or self._data_keys.existing({key_id}):
                raise
            return ERASED
        return content


def _key_id(found: Document) -> Binary:
    key_id = found["_id"]
    if not isinstance(key_id, Binary):
        msg = "the vault holds a key whose id is not a UUID"
        raise TypeError(msg)
    return key_id


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        msg = "the vault holds a note without its time"
        raise TypeError(msg)
    return value


def _names(found: Document) -> list[str]:
    names = found["keyAltNames"]
    return names if isinstance(names, list) else []
