"""One way to reach Redis: short time-outs, one fresh try for a stale pooled connection, one error when it is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from models.errors import UnavailableError

RedisClient: TypeAlias = Redis
"""The client's type, for those who only pass it on."""

TIMEOUT_SECONDS = 0.5
"""Redis only speeds things up: waiting longer for it than for MongoDB would turn that around."""


MAX_CONNECTIONS = 16
"""Of one process: a crowd waits its turn, which takes less than opening a connection for each of them."""


def connect(url: str, *, retries: int = 1) -> Redis:
    """A client that connects on first use; close it with `aclose`."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), retries),
    )
    return Redis.from_pool(pool)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn every failure to reach Redis into `UnavailableError`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise UnavailableError("redis") from error
