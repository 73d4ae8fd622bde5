"""What the database takes for granted that object storage keeps; all of it is read, and that may take its time."""

from __future__ import annotations

from adapters.mongo.backups import SECONDS
from adapters.mongo.client import Database, Document, answering, open_client


class MongoEntrusted:
    """Reads ids only."""

    def __init__(self, url: str, database: str) -> None:
        """Any account that may read it; connects with its first use."""
        self._client = open_client(url, "visitnow-entrusted", within=SECONDS)
        self._database: Database = self._client[database]

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    async def documents(self) -> list[str]:
        """Patients' documents whose files were stored. Raises `UnavailableError`."""
        return await self._ids("documents", {"state": "stored"})

    async def deletions(self) -> list[str]:
        """Deletions that came to their end, and so to the log. Raises `UnavailableError`."""
        return await self._ids("deletions", {"state": "erased"})

    @answering
    async def _ids(self, collection: str, query: Document) -> list[str]:
        return [str(one["_id"]) async for one in self._database[collection].find(query, {"_id": 1})]
