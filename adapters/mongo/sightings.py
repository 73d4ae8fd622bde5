"""Everything that MongoDB holds, as it lies there and as our keys open it, for whoever searches it for somebody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from bson import encode

from adapters.mongo.client import Document, open_client
from adapters.mongo.encryption import ERASED, Vault, sealed_within

_PAGE: Final = 500


class Found(NamedTuple):
    """Some bytes and where they were; `opened` is what was sealed there in the document of that id."""

    collection: str
    content: bytes
    document_id: str | None = None
    opened: Document | None = None


class StoredDocuments:
    """The collections of some databases on one server."""

    def __init__(self, url: str, databases: Sequence[str], vault: Vault) -> None:
        """`url` is of an account that may read them all; `vault` has the keys that there are."""
        self._url = url
        self._databases = databases
        self._vault = vault

    async def all(self) -> AsyncIterator[Found]:
        """Page by page as it is stored, then what is sealed in that page, one by one."""
        client = open_client(self._url, "visitnow-sightings")
        try:
            for database in self._databases:
                for collection in sorted(await client[database].list_collection_names()):
                    cursor = client[database][collection].find(batch_size=_PAGE)
                    while page := await cursor.to_list(_PAGE):
                        yield Found(collection, b"\n".join(map(encode, page)))
                        async for one in self._opened(collection, page):
                            yield one
        finally:
            client.close()

    async def _opened(self, collection: str, page: Sequence[Document]) -> AsyncIterator[Found]:
        sealed = [(str(one["_id"]), value) for one in page for value in sealed_within(one)]
        opened = await self._vault.open([value for _, value in sealed])
        for (document_id, _), content in zip(sealed, opened, strict=True):
            if content is not None and content is not ERASED:
                yield Found(collection, encode(content), document_id, content)
