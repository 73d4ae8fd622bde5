"""What a collection must be like: its indexes and its validator, declared beside the queries that rely on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Document

OUTBOX: Final = IndexModel(
    [("outbox.at", ASCENDING)], name="outbox", partialFilterExpression={"outbox.0": {"$exists": True}}
)
"""Documents in which something waits for the relay."""


class Declared(NamedTuple):
    """One collection, its indexes beside that of `_id`, and the documents that it accepts (None: any)."""

    collection: str
    indexes: Sequence[IndexModel] = ()
    validator: Document | None = None
