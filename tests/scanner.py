"""Looks for somebody's words everywhere, in every disguise: after an erasure there must be none of them left.

Every document of every collection, the vault, Redis, object storage, Temporal's histories and what a search there
finds, logs, and what the carrier keeps: as the bytes that are stored, and as whoever holds all our keys can read them.
What is sealed is opened with the vault as it is at that moment, files are decrypted, histories decoded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import httpx
from bson import Binary, encode
from pymongo import MongoClient
from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.connections import mongo_addresses
from adapters.files import ObjectFiles
from adapters.mongo.encryption import ERASED, Vault
from adapters.settings import Settings
from models.addresses import AddressKind, blind_index
from models.documents import Contents
from tests.in_clear import history_in_clear

Json = dict[str, Any]

LEAST: Final = 6
"""Shorter words are found by chance."""
_SEALED: Final = 6
"""BSON's subtype of what is encrypted."""
_PAGE: Final = 500


class Needle(NamedTuple):
    """One disguise of one word."""

    word: str
    form: str
    content: bytes
    folded: bool = False
    """Whether letters of either case count."""


class Sighting(NamedTuple):
    """A word that was found, and where."""

    place: str
    word: str
    form: str


@dataclass
class Canaries:
    """Words that occur nowhere else; `index_key` makes the digests that phones are looked up by."""

    index_key: bytes
    words: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)

    def word(self, text: str) -> str:
        """A name, or anything else that somebody might type."""
        assert len(text) >= LEAST
        self.words.append(text)
        return text

    def phone(self, number: str) -> str:
        """A number in E.164."""
        self.phones.append(number)
        return number

    def needles(self) -> list[Needle]:
        """Every disguise of every word."""
        found = [needle for word in self.words for needle in _disguises(word, word)]
        for number in self.phones:
            national = number.removeprefix("+91")
            spellings = (number, number.removeprefix("+"), national, f"0{national}")
            found += [needle for one in spellings[2:3] for needle in _disguises(number, one)]
            for one in spellings:
                found += _digests(number, "sha256", hashlib.sha256(one.encode()).digest())
            blind = bytes.fromhex(blind_index(self.index_key, AddressKind.PHONE, number))
            found += _digests(number, "blind index", blind)
        return found


def _disguises(word: str, text: str) -> Iterator[Needle]:
    plain = text.encode()
    # Bytes know only the case of plain letters.
    for one in dict.fromkeys((text, text.lower(), text.upper())):
        yield Needle(word, "plain", one.encode().lower(), folded=True)
    yield Needle(word, "escaped", json.dumps(text).strip('"').encode().lower(), folded=True)
    yield Needle(word, "hex", plain.hex().encode(), folded=True)
    yield Needle(word, "utf-16", text.encode("utf-16-le"))
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (Needle(word, "base64", one) for one in _within_base64(plain, alphabet))


def _within_base64(plain: bytes, encoded: Any) -> Iterator[bytes]:  # noqa: ANN401  either of two functions
    """What stays of it within a longer text, wherever in that it begins: less the letters that it shares."""
    for offset in range(3):
        whole: bytes = encoded(b"\0" * offset + plain)
        begin = -(-offset * 8 // 6)
        end = (offset + len(plain)) * 8 // 6
        yield whole[begin:end]


def _digests(word: str, what: str, digest: bytes) -> list[Needle]:
    return [
        Needle(word, what, digest),
        Needle(word, f"{what} in hex", digest.hex().encode(), folded=True),
        Needle(word, f"{what} in base64", base64.b64encode(digest).rstrip(b"=")),
        Needle(word, f"{what} in base64", base64.urlsafe_b64encode(digest).rstrip(b"=")),
    ]


def sightings(place: str, content: bytes, needles: Iterable[Needle]) -> list[Sighting]:
    """What is found in some bytes."""
    folded = content.lower()
    return [
        Sighting(place, one.word, one.form) for one in needles if one.content in (folded if one.folded else content)
    ]


class Scanner:
    """One installation, or what was restored of one; parts that it has not are left out."""

    def __init__(
        self,
        settings: Settings,
        mongo: MongoClient[Json],
        *,
        logs: Sequence[Path] = (),
        redis: bool = True,
        temporal: Client | None = None,
        sandbox_url: str | None = None,
    ) -> None:
        """`mongo` may read everything; `logs` are files or folders of them."""
        self._settings = settings
        self._mongo = mongo
        self._logs = logs
        self._redis = redis
        self._temporal = temporal
        self._sandbox_url = sandbox_url
        self.looked_at: dict[str, int] = {}
        """How many bytes of each place were looked at, by its first word."""

    async def scan(self, canaries: Canaries) -> list[Sighting]:
        """Everything that is found, each place, word and disguise once."""
        needles = canaries.needles()
        self.looked_at = {}
        found: dict[Sighting, None] = {}
        async for place, content in self._everything():
            kind = place.partition(" ")[0]
            self.looked_at[kind] = self.looked_at.get(kind, 0) + len(content)
            found |= dict.fromkeys(sightings(place, content, needles))
        return list(found)

    async def _everything(self) -> AsyncIterator[tuple[str, bytes]]:
        async for one in self._documents():
            yield one
        for one in self._files():
            yield one
        if self._redis:
            async for one in self._redis_keys():
                yield one
        if self._temporal is not None:
            async for one in self._histories(self._temporal):
                yield one
        if self._sandbox_url is not None:
            async with httpx.AsyncClient(base_url=self._sandbox_url, timeout=30, trust_env=False) as control:
                for message in (await control.get("/_control/messages")).json()["items"]:
                    if message["channel"] != "email":  # mail leaves no copy with whoever carried it
                        yield f"carrier {message['id']}", str(message["text"]).encode()

    # MongoDB: as it lies there, and as our keys open it

    async def _documents(self) -> AsyncIterator[tuple[str, bytes]]:
        addresses = mongo_addresses(self._settings)
        vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
        try:
            for name in (self._settings.database, self._settings.vault_database):
                database = self._mongo[name]
                for collection in database.list_collection_names():
                    for page in _pages(database[collection].find()):
                        yield f"mongodb {collection}", b"\n".join(map(encode, page))
                        async for one in self._opened(vault, collection, page):
                            yield one
        finally:
            await vault.close()

    async def _opened(self, vault: Vault, collection: str, page: list[Json]) -> AsyncIterator[tuple[str, bytes]]:
        """What of these documents can be read with the keys that there are, the files that they open included."""
        sealed = [(one["_id"], value) for one in page for value in _sealed(one)]
        for (document_id, _), content in zip(sealed, await vault.open([one for _, one in sealed]), strict=True):
            if content is None or content is ERASED:
                continue
            yield f"opened {collection}", repr(content).encode()
            if collection == "documents" and self._settings.storage_url is not None:
                contents = Contents.model_validate(content)
                files = ObjectFiles(self._settings.storage_url)
                read = files.read(str(document_id), contents, 0, contents.size)
                yield "opened files", b"".join([piece async for piece in read])

    # Everything else

    def _files(self) -> Iterator[tuple[str, bytes]]:
        url = self._settings.storage_url
        roots = [("logs", one) for one in self._logs]
        if url is not None and urlsplit(url).scheme == "file":
            roots.append(("storage", Path(unquote(urlsplit(url).path))))
        for kind, root in roots:
            for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
                if path.is_file():
                    yield f"{kind} {path.name}", path.as_posix().encode() + b"\n" + path.read_bytes()

    async def _redis_keys(self) -> AsyncIterator[tuple[str, bytes]]:
        redis = Redis.from_url(self._settings.redis_url.get_secret_value())
        try:
            async for key in redis.scan_iter(match=f"{self._settings.database}:*", count=1000):
                stored = await redis.get(key)
                yield f"redis {key.decode(errors='replace')}", key + b"\n" + (stored or b"")
        finally:
            await redis.aclose()

    async def _histories(self, client: Client) -> AsyncIterator[tuple[str, bytes]]:
        async for one in client.list_workflows():
            found = one.raw_info.SerializeToString() + repr(one.typed_search_attributes).encode()
            yield f"visibility {one.id}", found
            try:
                yield f"history {one.id}", await history_in_clear(client, one.id)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # deleted since it was listed
                    raise


def _pages(found: Iterable[Json]) -> Iterator[list[Json]]:
    page: list[Json] = []
    for one in found:
        page.append(one)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _sealed(value: object) -> Iterator[bytes]:
    """Every sealed value within a document, however deep."""
    if isinstance(value, Binary) and value.subtype == _SEALED:
        yield bytes(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _sealed(one)
    elif isinstance(value, list):
        for one in value:
            yield from _sealed(one)
