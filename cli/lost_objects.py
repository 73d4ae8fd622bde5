"""What a restored database takes for granted in object storage and is not there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from adapters.connections import mongo_addresses
from adapters.erasure_log import StoredErasureLog
from adapters.mongo.entrusted import MongoEntrusted
from adapters.objects import Objects
from adapters.settings import Settings
from adapters.tokens import Statements

SHOWN: Final = 5


async def lost_objects(settings: Settings) -> list[str]:
    """One sentence for each kind of thing that is lost. Raises `UnavailableError`."""
    addresses = mongo_addresses(settings)
    entrusted = MongoEntrusted(addresses.url, addresses.database)
    log = StoredErasureLog(settings.storage_url, Statements(settings.token_keys))
    try:
        documents, deletions = await entrusted.documents(), await entrusted.deletions()
    finally:
        entrusted.close()
    folders = await Objects(settings.storage_url).folders("documents/")
    return [
        *_lost(documents, folders, "documents have no file in object storage"),
        *_lost(deletions, await log.known(), "deletions are not in their log, where others may be missing too"),
    ]


def _lost(wanted: Sequence[str], there: Collection[str], what: str) -> list[str]:
    lost = [one for one in wanted if one not in there]
    return [f"{len(lost):,} {what} ({', '.join(lost[:SHOWN])}{'…' if lost[SHOWN:] else ''})"] if lost else []
