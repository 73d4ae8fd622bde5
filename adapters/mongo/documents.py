"""The records of visits' documents: names, digests and content keys sealed under the patient's clinical key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, answering, clashes_on_id
from adapters.mongo.client import Document as Stored
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.data_classes import DataClass
from models.documents import MOST_DOCUMENTS, Contents, Document
from models.identity import Scope

_STORING: Final = "storing"
_STORED: Final = "stored"

DECLARED: Final = Declared(
    "documents",
    (
        IndexModel([("appointment_id", ASCENDING), ("created_at", ASCENDING)], name="of_appointment"),
        # The same file twice is one document: the digest is noted when it is stored, so one of two is first.
        IndexModel(
            [("appointment_id", ASCENDING), ("digest", ASCENDING)],
            name="same_file",
            unique=True,
            partialFilterExpression={"digest": {"$exists": True}},
        ),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("tenant_id", ASCENDING), ("created_at", ASCENDING)], name="age"),
        IndexModel([("created_at", ASCENDING)], name="storing", partialFilterExpression={"state": _STORING}),
    ),
)

_PLAIN: Final = tuple(sorted(Document.model_fields.keys() - {"id", "at", "contents"}))


class MongoDocuments:
    """Implements `models.documents_ports.Documents` on the collection `documents`."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals what tells of the patient."""
        self._documents: Collection = database["documents"]
        self._vault = vault

    @answering
    async def begin(self, scope: Scope, document: Document) -> None:
        """One insert. Raises `not_found` where the scope does not reach it."""
        if document.contents is None:
            msg = "a document without its contents"
            raise ValueError(msg)
        stored: Stored = {
            "_id": document.id,
            **{name: getattr(document, name) for name in _PLAIN},
            "state": _STORING,
            "version": 1,
            "created_at": document.at,
            "updated_at": document.at,
        }
        require(scope, stored)
        sealed = await self._vault.seal(document.subject_id, DataClass.CLINICAL, document.contents.model_dump())
        await self._documents.insert_one({**stored, "sealed": {"clinical": sealed}})

    @answering
    async def keep(self, scope: Scope, document_id: str, digest: str) -> bool:
        """One conditional update."""
        try:
            done = await self._documents.update_one(
                scoped(scope, {"_id": document_id, "state": _STORING}),
                {"$set": {"state": _STORED, "digest": digest, "updated_at": datetime.now(UTC)}, "$inc": {"version": 1}},
                comment=reason_of(scope),
            )
        except DuplicateKeyError as error:
            if clashes_on_id(error):
                raise
            return False
        return done.matched_count == 1

    @answering
    async def find(self, scope: Scope, document_id: str) -> Document | None:
        """One read by id."""
        return await self._one(scope, {"_id": document_id, "state": _STORED})

    @answering
    async def by_digest(self, scope: Scope, appointment_id: str, digest: str) -> Document | None:
        """One indexed read."""
        return await self._one(scope, {"appointment_id": appointment_id, "digest": digest, "state": _STORED})

    @answering
    async def of_appointment(self, scope: Scope, appointment_id: str) -> list[Document]:
        """One indexed read, and one look into the vault for all of it."""
        found = await self._documents.find(
            scoped(scope, {"appointment_id": appointment_id, "state": _STORED}),
            sort=[("created_at", ASCENDING)],
            limit=MOST_DOCUMENTS,
            comment=reason_of(scope),
        ).to_list(None)
        return await self._opened(found)

    @answering
    async def abandoned(self, scope: Scope, before: datetime, limit: int) -> list[Document]:
        """One read by an index of such documents only."""
        found = await self._documents.find(
            scoped(scope, {"state": _STORING, "created_at": {"$lt": before}}),
            sort=[("created_at", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        ).to_list(None)
        return [_read(one, None) for one in found]

    @answering
    async def remove(self, scope: Scope, document_id: str) -> None:
        """One conditional delete."""
        await self._documents.delete_one(
            scoped(scope, {"_id": document_id, "state": _STORING}), comment=reason_of(scope)
        )

    async def _one(self, scope: Scope, query: Stored) -> Document | None:
        found = await self._documents.find_one(scoped(scope, query), comment=reason_of(scope))
        return None if found is None else (await self._opened([found]))[0]

    async def _opened(self, found: Sequence[Stored]) -> list[Document]:
        sealed = [one["sealed"] for one in found]
        opened = await self._vault.open([one["clinical"] if isinstance(one, dict) else None for one in sealed])
        return [
            _read(one, None if content is ERASED or content is None else Contents.model_validate(content))
            for one, content in zip(found, opened, strict=True)
        ]


def _read(stored: Stored, contents: Contents | None) -> Document:
    plain = {name: stored[name] for name in _PLAIN}
    return Document.model_validate({**plain, "id": stored["_id"], "at": stored["created_at"], "contents": contents})
