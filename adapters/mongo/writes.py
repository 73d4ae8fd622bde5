"""Writing a whole document by its id, within a scope."""

from __future__ import annotations

from datetime import UTC, datetime

from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Document, clashes_on_id
from adapters.mongo.scopes import reason_of, require, scoped
from models.errors import not_found
from models.identity import Scope


async def put(
    collection: Collection,
    scope: Scope,
    key: str,
    document: Document,
    *,
    at_first: Document | None = None,
    noted: Document | None = None,
) -> None:
    """Write it anew or over what is there, counting its version; `at_first` only where it is new.

    `noted` goes to the document's outbox.

    Raises `not_found` where the scope does not reach the document, or the id is another tenant's.
    """
    require(scope, document)
    now = datetime.now(UTC)
    try:
        await collection.update_one(
            scoped(scope, {"_id": key, "tenant_id": document["tenant_id"]}),
            {
                "$set": {**document, "updated_at": now},
                "$setOnInsert": {**(at_first or {}), "created_at": now},
                "$inc": {"version": 1},
                **({} if noted is None else {"$push": {"outbox": noted}}),
            },
            upsert=True,
            comment=reason_of(scope),
        )
    except DuplicateKeyError as error:
        if clashes_on_id(error):
            raise not_found() from error
        raise
