"""Looks a MongoDB over: what is missing, what its accounts could do that they must not, its clock, its keys' wrapping.

Whether an account may do something is tried, on documents that do not exist: roles that were granted twice, or a
server that runs without access control, show themselves by nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from pymongo import DESCENDING
from pymongo.errors import OperationFailure

from adapters.mongo import indexes
from adapters.mongo.client import Database, answering, open_client
from adapters.mongo.compliance import stamp_of
from adapters.mongo.encryption import IS_KEY, VAULT_COLLECTION
from adapters.mongo.repositories import MongoAddresses
from models.seals import MARKS

_UNAUTHORIZED: Final = 13
_NOBODY: Final = {"_id": "doctor:nobody"}
_TRAIL: Final = ("audit", "audit_seals")
_RECORDED: Final = (*_TRAIL, "consents")
"""What not even the application may rewrite."""


class Clock(NamedTuple):
    """How far the server's clock is ahead of ours, and how long the question took; seconds."""

    ahead: float
    asked_for: float


class MongoCheckup:
    """Asks one installation's MongoDB; connections are made with the first question."""

    def __init__(self, addresses: MongoAddresses) -> None:
        """As the application, the audit's writer and the vault's user see it."""
        self._clients = tuple(
            open_client(url, "visitnow-doctor", within=5.0)
            for url in (addresses.url, addresses.audit_url, addresses.vault_url)
        )
        application, auditor, vault = self._clients
        self._database: Database = application[addresses.database]
        self._audit: Database = auditor[addresses.database]
        self._vault: Database = vault[addresses.vault_database]
        self._foreign_vault: Database = application[addresses.vault_database]

    def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients:
            client.close()

    @answering
    async def differences(self) -> list[str]:
        """One line for each collection, validator or index that is not as declared."""
        return await indexes.compare(self._database)

    @answering
    async def overreach_of_the_audit_s_writer(self) -> list[str]:
        """What the account that writes the audit could do to it beside adding and reading."""
        return [one for name in _TRAIL for one in await _rewriting(self._audit, name)]

    @answering
    async def overreach_of_the_application(self) -> list[str]:
        """What the application's account could rewrite or read that is not its own to."""
        found = [
            f"change {name}"
            for name in _RECORDED
            if await _allowed(self._database[name].update_one(_NOBODY, {"$set": {"doctor": 1}}))
        ]
        found += [f"remove from {name}" for name in _TRAIL if await _allowed(self._database[name].delete_one(_NOBODY))]
        if await _allowed(self._foreign_vault[VAULT_COLLECTION].find_one(_NOBODY)):
            found.append("read the key vault")
        return found

    @answering
    async def clock(self) -> Clock:
        """The server's clock beside ours."""
        before = datetime.now(UTC)
        told = await self._now()
        after = datetime.now(UTC)
        return Clock((told - (before + (after - before) / 2)).total_seconds(), (after - before).total_seconds())

    async def _now(self) -> datetime:
        answer = await self._database.command("hello", codec_options=self._database.codec_options)
        told = answer["localTime"]
        if not isinstance(told, datetime):
            msg = "MongoDB's answer names no time"
            raise TypeError(msg)
        return told

    @answering
    async def wrapping(self) -> Mapping[str, int]:
        """How many data keys are wrapped under which key-encryption key, by its name."""
        grouped = self._vault[VAULT_COLLECTION].aggregate(
            [{"$match": IS_KEY}, {"$group": {"_id": "$masterKey.provider", "keys": {"$sum": 1}}}]
        )
        return {str(one["_id"]): int(str(one["keys"])) for one in await grouped.to_list(None)}

    @answering
    async def is_held(self, lease: str) -> bool:
        """Whether some process does the job of that lease now, by the server's clock."""
        running = {"$expr": {"$and": [{"$eq": ["$_id", lease]}, {"$gt": ["$until", "$$NOW"]}]}}
        return await self._database["relay_leases"].find_one({"_id": lease, **running}) is not None

    @answering
    async def sealed_until(self, within: timedelta) -> datetime | None:
        """Until when every tenant's entries were under seals when that was last said.

        Nothing has to be said yet, and now is told, of an audit without entries older than `within`; None where it was
        never said of older ones.
        """
        now = await self._now()
        mark = await self._audit["audit_seals"].find_one(
            {"tenant_id": MARKS}, {"stamps": 1}, sort=[("number", DESCENDING)]
        )
        if mark is not None:
            stamps = mark["stamps"]
            return stamps["upto"].as_datetime() if isinstance(stamps, dict) else None
        old = stamp_of(int((now - within).timestamp()) << 32)
        return None if await self._audit["audit"].find_one({"stamp": {"$lt": old}}, {"_id": 1}) is not None else now

    @answering
    async def known(self, user_ids: Collection[str]) -> list[str]:
        """Those of these accounts that exist."""
        found = self._database["users"].find({"_id": {"$in": list(user_ids)}}, {"_id": 1})
        return sorted(str(one["_id"]) for one in await found.to_list(None))


async def _rewriting(database: Database, name: str) -> list[str]:
    changes = await _allowed(database[name].update_one(_NOBODY, {"$set": {"doctor": 1}}))
    removes = await _allowed(database[name].delete_one(_NOBODY))
    return [*([f"change {name}"] if changes else []), *([f"remove from {name}"] if removes else [])]


async def _allowed(trying: Awaitable[object]) -> bool:
    try:
        await trying
    except OperationFailure as error:
        if error.code == _UNAUTHORIZED:
            return False
        raise
    return True
