"""Uploads on their way: how far each has come, and the key of its pieces under that of whoever uploads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.data_classes import DataClass
from models.documents import MOST_PIECES, Piece, Upload, UploadSecrets
from models.identity import Scope

DECLARED: Final = Declared(
    "uploads",
    (IndexModel([("expires_at", ASCENDING)], name="expires"), IndexModel([("subject_id", ASCENDING)], name="subject")),
)

_PLAIN: Final = ("tenant_id", "subject_id", "length", "offset", "pieces", "expires_at", "document_id")


class MongoUploads:
    """Implements `models.documents_ports.Uploads` on the collection `uploads`; their subject is whoever uploads."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals names and keys."""
        self._uploads: Collection = database["uploads"]
        self._vault = vault

    @answering
    async def open(self, scope: Scope, upload: Upload) -> None:
        """One insert. Raises `not_found` where the scope does not reach it."""
        if upload.secrets is None:
            msg = "an upload without its key"
            raise ValueError(msg)
        now = datetime.now(UTC)
        document: Document = {
            "_id": upload.id,
            **upload.model_dump(include=set(_PLAIN)),
            "pieces": [],
            "version": 1,
            "created_at": now,
            "updated_at": now,
        }
        require(scope, document)
        sealed = await self._vault.seal(upload.subject_id, DataClass.CLINICAL, upload.secrets.model_dump())
        await self._uploads.insert_one({**document, "sealed": {"clinical": sealed}})

    @answering
    async def find(self, scope: Scope, upload_id: str) -> Upload | None:
        """One read by id."""
        found = await self._uploads.find_one(scoped(scope, {"_id": upload_id}), comment=reason_of(scope))
        if found is None:
            return None
        sealed = found["sealed"]
        [opened] = await self._vault.open([sealed["clinical"] if isinstance(sealed, dict) else None])
        return _read(found, None if opened is ERASED or opened is None else UploadSecrets.model_validate(opened))

    @answering
    async def add(self, scope: Scope, upload_id: str, piece: Piece) -> bool:
        """One conditional update: the place must still be the end, and there must be room for it."""
        done = await self._uploads.update_one(
            scoped(
                scope,
                {
                    "_id": upload_id,
                    "offset": piece.offset,
                    "length": {"$gte": piece.offset + piece.size},
                    f"pieces.{MOST_PIECES - 1}": {"$exists": False},
                    "document_id": None,
                },
            ),
            {
                "$inc": {"offset": piece.size, "version": 1},
                "$push": {"pieces": piece.model_dump()},
                "$set": {"updated_at": datetime.now(UTC)},
            },
            comment=reason_of(scope),
        )
        return done.modified_count == 1

    @answering
    async def finish(self, scope: Scope, upload_id: str, document_id: str) -> None:
        """One update."""
        await self._uploads.update_one(
            scoped(scope, {"_id": upload_id}),
            {
                "$set": {"document_id": document_id, "pieces": [], "updated_at": datetime.now(UTC)},
                "$inc": {"version": 1},
            },
            comment=reason_of(scope),
        )

    @answering
    async def expired(self, scope: Scope, before: datetime, limit: int) -> list[Upload]:
        """One indexed read."""
        found = await self._uploads.find(
            scoped(scope, {"expires_at": {"$lt": before}}),
            sort=[("expires_at", ASCENDING)],
            limit=limit,
            comment=reason_of(scope),
        ).to_list(None)
        return [_read(one, None) for one in found]

    @answering
    async def remove(self, scope: Scope, upload_id: str) -> None:
        """One delete by id."""
        await self._uploads.delete_one(scoped(scope, {"_id": upload_id}), comment=reason_of(scope))


def _read(found: Document, secrets: UploadSecrets | None) -> Upload:
    return Upload.model_validate({**{name: found[name] for name in _PLAIN}, "id": found["_id"], "secrets": secrets})
