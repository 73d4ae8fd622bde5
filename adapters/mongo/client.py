"""Motor clients that give up in time, and one meaning for all the ways in which MongoDB may fail to answer."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    EncryptionError,
    ExecutionTimeout,
    PyMongoError,
    WriteConcernError,
)

from models.errors import UnavailableError

P = ParamSpec("P")
T = TypeVar("T")

Document: TypeAlias = dict[str, object]
Client: TypeAlias = AsyncIOMotorClient[Document]
Database: TypeAlias = AsyncIOMotorDatabase[Document]
Collection: TypeAlias = AsyncIOMotorCollection[Document]

TIMEOUTS: Final[dict[str, Any]] = {
    "serverSelectionTimeoutMS": 2_000,
    "connectTimeoutMS": 2_000,
    "socketTimeoutMS": 5_000,
    "waitQueueTimeoutMS": 2_000,
}
"""How long any client of ours waits for a server, a connection, an answer and a free connection of its pool."""


def open_client(url: str, appname: str, *, within: float | None = None) -> Client:
    """A client of the server at `url`; it connects with its first operation. Instants come back aware, in UTC.

    `within` are the seconds after which the server itself gives any of its operations up.

    What BSON keeps of an instant is its milliseconds: the driver cuts the rest off, in documents and filters alike.
    """
    return AsyncIOMotorClient(
        url,
        appname=appname,
        tz_aware=True,
        maxPoolSize=int(os.environ["MOTOR_MAX_WORKERS"]),  # more connections than threads would stay unused
        w="majority",  # what was acknowledged outlives the primary
        timeoutMS=None if within is None else int(within * 1000),
        **TIMEOUTS,
    )


def unanswered(error: PyMongoError) -> bool:
    """Whether nothing is known about the outcome: no connection, no answer in time, a primary that steps down."""
    if isinstance(error, EncryptionError):
        return isinstance(error.cause, PyMongoError) and unanswered(error.cause)
    return (
        isinstance(error, ConnectionFailure | ExecutionTimeout | WriteConcernError)
        or error.timeout
        or error.has_error_label("RetryableWriteError")
    )


def answering(method: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a method raise `UnavailableError` where MongoDB does not answer; every other error passes as it is."""

    @wraps(method)
    async def translated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except PyMongoError as error:
            if unanswered(error):
                raise UnavailableError("MongoDB does not answer") from error
            raise

    return translated


def clashes_on_id(error: DuplicateKeyError) -> bool:
    """Whether the key that was there before is the document's own `_id`."""
    return (error.details or {}).get("keyPattern") == {"_id": 1}


def literal(value: object) -> Document:
    """`value` in an update's pipeline, never read as an expression, whatever it holds."""
    return {"$literal": value}
