"""Each store's eraser: what the worker and whoever restores a backup forget somebody with."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client

from adapters.mongo.repositories import Repositories
from adapters.objects import Objects
from adapters.redis.client import RedisClient
from adapters.redis.erasure import RedisEraser
from adapters.settings import Settings
from adapters.temporal.erasure import TemporalEraser
from models.data_classes import RetentionClass
from models.erasure import LONGEST_JOURNEY, ErasureReceipt, Gone, Store
from models.erasure_ports import Eraser, KeyBurial, Redactor, Remains
from models.errors import UnavailableError
from models.holdings import Holding, Treatment, about_patients, due
from models.identity import Scope, Subject, System

_SEATS: Final = System("a group's session is its clinic's; the patient stands in the seat")


class MongoEraser:
    """Implements `models.erasure_ports.Eraser` over the collections of the table of holdings."""

    def __init__(self, remains: Remains) -> None:
        """What the database holds."""
        self._remains = remains

    @property
    def store(self) -> Store:
        """The application's database."""
        return Store.MONGODB

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """Line by line of the table; the account last, since its address leads to what lies under digests of it."""
        tries = await self._remains.forget_tries(Subject(subject_id), subject_id)
        gone = {"sign_in_tries": Gone(erased=tries, kept=0)}
        for line in _lines(data_class):
            here = await self._remains.remove(_scope(line, subject_id), line, subject_id)
            before = gone.get(line.collection, Gone(erased=0, kept=0))
            gone[line.collection] = Gone(erased=before.erased + here.erased, kept=before.kept + here.kept)
        return [_receipt(part, data_class, one.erased, one.kept, at) for part, one in gone.items()]

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """Line by line of the table."""
        counted = Counter({"sign_in_tries": await self._remains.count_tries(Subject(subject_id), subject_id)})
        for line in _lines(data_class):
            counted[line.collection] += await self._remains.count(_scope(line, subject_id), line, subject_id)
        return counted


def _lines(data_class: RetentionClass) -> list[Holding]:
    """What goes, the account last; what is deleted as a whole need not be blanked before."""
    lines = due(data_class)
    whole = {one.collection for one in lines if one.treatment is Treatment.DELETE}
    lines = [one for one in lines if one.treatment is Treatment.DELETE or one.collection not in whole]
    if data_class is RetentionClass.NONE:
        lines += [one for one in about_patients() if one.treatment is Treatment.KEEP]
    return sorted(lines, key=lambda one: one.collection == "users")


def _scope(line: Holding, subject_id: str) -> Scope:
    return _SEATS if "." in (line.subject_field or "") else Subject(subject_id)


def _receipt(part: str, data_class: RetentionClass, erased: int, kept: int, at: datetime) -> ErasureReceipt:
    return ErasureReceipt(store=Store.MONGODB, part=part, data_class=data_class, erased=erased, kept=kept, at=at)


class StorageEraser:
    """Implements `models.erasure_ports.Eraser` for files, every version of them included."""

    def __init__(self, objects: Objects, remains: Remains) -> None:
        """`remains` knows which files are theirs."""
        self._objects = objects
        self._remains = remains

    @property
    def store(self) -> Store:
        """Object storage."""
        return Store.STORAGE

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """Whatever lies in the folders of their documents, also what a broken write has left there."""
        receipts = []
        for part, folders in (await self._folders(subject_id, data_class)).items():
            erased = sum([await self._objects.remove(one) for one in folders])
            receipts.append(ErasureReceipt(store=Store.STORAGE, part=part, data_class=data_class, erased=erased, at=at))
        return receipts

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """What lies in the folders of their documents."""
        folders = await self._folders(subject_id, data_class)
        return {part: sum([await self._objects.count(one) for one in there]) for part, there in folders.items()}

    async def _folders(self, subject_id: str, data_class: RetentionClass) -> dict[str, list[str]]:
        """The folders of their documents, by what is in them."""
        found: dict[str, list[str]] = {}
        for line in due(data_class):
            if line.folder is not None:
                ids = await self._remains.ids(Subject(subject_id), line.collection, subject_id)
                found[line.folder] = [folder for one in ids if (folder := line.folder_of(one)) is not None]
        return found


class MessagesEraser:
    """Implements `models.erasure_ports.Eraser` for the words that the carrier of text messages keeps.

    Mail leaves no copy with us, and none that we could ask for with those who carried it.
    """

    def __init__(self, redactor: Redactor | None, remains: Remains) -> None:
        """`remains` knows what was sent; without a `redactor` no text message ever left."""
        self._redactor = redactor
        self._remains = remains

    @property
    def store(self) -> Store:
        """The carrier."""
        return Store.MESSAGES

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """One call for each message. Raises `UnavailableError` while one of them is still on its way."""
        scope = Subject(subject_id)
        erased = kept = travelling = 0
        for sent in await self._remains.sent_texts(scope, subject_id):
            if self._redactor is not None and await self._redactor.redact(sent.provider_id):
                await self._remains.note_redacted(scope, sent.message_id, at)
                erased += 1
                continue
            kept += 1
            travelling += self._redactor is not None and datetime.now(UTC) - sent.since < LONGEST_JOURNEY
        if travelling:
            raise UnavailableError("a message is still on its way")
        return [
            ErasureReceipt(store=Store.MESSAGES, part="texts", data_class=data_class, erased=erased, kept=kept, at=at)
        ]

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """Messages whose words the carrier may have; every class takes all of them."""
        del data_class
        if self._redactor is None:
            return {}
        return {"texts": len(await self._remains.sent_texts(Subject(subject_id), subject_id))}


class KeyEraser:
    """Implements `models.erasure_ports.Eraser` for the keys of a class; nothing that they sealed is opened again."""

    def __init__(self, vault: KeyBurial, settle: timedelta) -> None:
        """`settle` is how long any process may still have a key in its memory."""
        self._vault = vault
        self._settle = settle

    @property
    def store(self) -> Store:
        """The vault."""
        return Store.KEYS

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """Destroy the key, then wait until no process can have it any more; it went when the vault noted it."""
        del at
        own = data_class.data_class
        if own is None:
            return []
        burial = await self._vault.bury(subject_id, own)
        left = burial.at + self._settle - datetime.now(UTC)
        await asyncio.sleep(max(0.0, left.total_seconds()))
        erased = int(burial.held)
        return [ErasureReceipt(store=Store.KEYS, part=own, data_class=data_class, erased=erased, at=burial.at)]

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """Nothing: the vault's own note says for good whether there had been a key."""
        del subject_id, data_class
        return {}


def erasers(
    settings: Settings, stores: Repositories, redis: RedisClient, temporal: Client, redactor: Redactor | None
) -> dict[Store, Eraser]:
    """Every store's eraser."""
    remains = stores.remains
    every: tuple[Eraser, ...] = (
        RedisEraser(redis, settings.database, remains),
        StorageEraser(Objects(settings.storage_url), remains),
        MessagesEraser(redactor, remains),
        TemporalEraser(temporal, remains),
        MongoEraser(remains),
        KeyEraser(stores.vault, timedelta(seconds=settings.key_settle_seconds)),
    )
    return {one.store: one for one in every}
