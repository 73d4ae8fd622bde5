"""Looks for somebody's words everywhere, in every disguise: after an erasure there must be none of them left.

Every document of every collection, the vault, Redis, object storage, Temporal's histories and what a search there
finds, logs, and what the carrier keeps: as the bytes that are stored, and as whoever holds all our keys can read them.
What is sealed is opened with the vault as it is at that moment, files are decrypted, histories decoded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
from redis.asyncio import Redis
from temporalio.client import Client

from adapters.connections import mongo_addresses
from adapters.files import ObjectFiles
from adapters.mongo.encryption import Vault
from adapters.mongo.sightings import StoredDocuments
from adapters.objects import PIECE, Objects
from adapters.settings import Settings
from adapters.temporal.in_clear import everything
from adapters.twilio import TwilioCarrier
from models.disguises import Canaries, Lookout, Sighting
from models.documents import Contents


class Scanner:
    """One installation, or what was restored of one; parts that it has not are left out."""

    def __init__(
        self,
        settings: Settings,
        mongodb_url: str,
        *,
        logs: Sequence[Path] = (),
        redis: bool = True,
        temporal: Client | None = None,
        texts: TwilioCarrier | None = None,
        sandbox_url: str | None = None,
    ) -> None:
        """The account of `mongodb_url` may read everything, the vault too; `logs` are files or folders of them.

        `texts` is asked for what was written to and by somebody's numbers; a sandbox shows everything that it carried.
        """
        self._settings = settings
        self._mongodb_url = mongodb_url
        self._logs = logs
        self._redis = redis
        self._temporal = temporal
        self._texts = texts
        self._sandbox_url = sandbox_url
        self.looked_at: dict[str, int] = {}
        """How many bytes of each place were looked at, by its first word."""

    async def scan(self, canaries: Canaries) -> list[Sighting]:
        """Everything that is found, each place, word and disguise once."""
        lookout = Lookout(canaries.needles())
        self.looked_at = {}
        async for place, piece in self._everything(canaries.phones):
            kind = place.partition(" ")[0]
            self.looked_at[kind] = self.looked_at.get(kind, 0) + len(piece)
            lookout.see(place, piece)
        return lookout.found

    async def _everything(self, phones: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        async for one in self._documents():
            yield one
        async for one in Objects(self._settings.storage_url).all():
            yield one
        for one in self._written():
            yield one
        if self._redis:
            async for one in self._redis_keys():
                yield one
        if self._temporal is not None:
            async for one in everything(self._temporal):
                yield one
        async for one in self._texts_of(phones):
            yield one

    async def _documents(self) -> AsyncIterator[tuple[str, bytes]]:
        """As it lies there, and as our keys open it, the files that they open included."""
        addresses = mongo_addresses(self._settings)
        vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
        databases = (addresses.database, addresses.vault_database)
        try:
            async for one in StoredDocuments(self._mongodb_url, databases, vault).all():
                if one.opened is None or one.document_id is None:
                    yield f"mongodb {one.collection}", one.content
                    continue
                yield f"opened {one.collection}", one.content
                if one.collection == "documents" and self._settings.storage_url is not None:
                    contents = Contents.model_validate(one.opened)
                    read = ObjectFiles(self._settings.storage_url).read(one.document_id, contents, 0, contents.size)
                    async for piece in read:
                        yield "opened files", piece
        finally:
            await vault.close()

    def _written(self) -> Iterator[tuple[str, bytes]]:
        for root in self._logs:
            for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
                if not path.is_file():
                    continue
                with path.open("rb") as log:
                    while piece := log.read(PIECE):
                        yield f"logs {path.name}", piece

    async def _redis_keys(self) -> AsyncIterator[tuple[str, bytes]]:
        redis = Redis.from_url(self._settings.redis_url.get_secret_value())
        try:
            async for key in redis.scan_iter(match=f"{self._settings.database}:*", count=1000):
                stored = await redis.get(key)
                yield f"redis {key.decode(errors='replace')}", key + b"\n" + (stored or b"")
        finally:
            await redis.aclose()

    async def _texts_of(self, phones: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        """What the carrier tells that it keeps of texts to and from these numbers; everything where it is a sandbox."""
        if self._texts is not None:
            for number in phones:
                for text in await self._texts.kept(number):
                    yield f"carrier {text.provider_id}", text.body.encode()
        if self._sandbox_url is not None:
            async for one in _carried(self._sandbox_url):
                yield one


async def _carried(sandbox_url: str) -> AsyncIterator[tuple[str, bytes]]:
    """What the carrier keeps of texts; mail leaves no copy with whoever carried it."""
    async with httpx.AsyncClient(base_url=sandbox_url, timeout=30, trust_env=False) as control:
        for message in (await control.get("/_control/messages")).json()["items"]:
            if message["channel"] != "email":
                yield f"carrier {message['id']}", str(message["text"]).encode()
