"""An HTTP/1.1 client that costs next to nothing: requests are prepared bytes, answers are a status and a body.

A full client costs as much as the server it measures; on a machine with two cores that would be the measurement.
Made for a server of ours on the loopback address only: answers with a Content-Length, connections kept alive.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Answer(NamedTuple):
    """What the server said."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body, a JSON object. Raises `ValueError`."""
        content: dict[str, Any] = json.loads(self.body)
        return content


def prepared(method: str, url: str, *, token: str | None = None, body: object = None, **headers: str) -> bytes:
    """A whole request as bytes; `body` is sent as JSON, `idempotency_key="…"` becomes `Idempotency-Key: …`."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    content = b"" if body is None else json.dumps(body).encode()
    head = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    head += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*head, "", ""]).encode() + content


class Connection(asyncio.Protocol):
    """One connection, one request at a time; made anew where the server has closed it for being idle."""

    def __init__(self, host: str, port: int) -> None:
        """Not connected yet."""
        self._host = host
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: asyncio.Future[Answer] | None = None

    @classmethod
    async def to(cls, url: str) -> Connection:
        """Connect. Raises `OSError`, and `ValueError` for a URL without host and port."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError("an address with host and port is needed")
        connection = cls(parts.hostname, parts.port)
        await connection._connect()
        return connection

    async def _connect(self) -> None:
        self._buffer = b""
        await asyncio.get_running_loop().create_connection(lambda: self, self._host, self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop's call."""
        # uvloop's transports behave like asyncio's without being declared so.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The event loop's call: fail the request that waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """The event loop's call: complete the request as soon as its answer is whole."""
        self._buffer += data
        head_end = self._buffer.find(END_OF_HEAD)
        if head_end < 0 or self._waiting is None or self._waiting.done():
            return
        head = self._buffer[:head_end]
        whole = head_end + len(END_OF_HEAD) + _content_length(head)
        if len(self._buffer) < whole:
            return
        answer = Answer(int(head[9:12]), head, self._buffer[head_end + len(END_OF_HEAD) : whole])
        self._buffer = self._buffer[whole:]
        self._waiting.set_result(answer)

    async def ask(self, request: bytes) -> Answer:
        """Send a prepared request and await its answer. Raises `OSError`."""
        if self._transport is None or self._transport.is_closing():
            await self._connect()
        self._waiting = asyncio.get_running_loop().create_future()
        cast("asyncio.Transport", self._transport).write(request)
        return await self._waiting

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(_LENGTH)
    if at < 0:
        return 0
    end = lowered.find(b"\r\n", at)
    return int(lowered[at + len(_LENGTH) : end if end >= 0 else len(lowered)])


class Pool:
    """Open connections to one server; a request takes one and gives it back."""

    def __init__(self, connections: list[Connection]) -> None:
        """All connected."""
        self._free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self.connections = connections
        for connection in connections:
            self._free.put_nowait(connection)

    async def ask(self, request: bytes) -> Answer:
        """Send a prepared request over a free connection and await its answer. Raises `OSError`."""
        connection = await self._free.get()
        try:
            return await connection.ask(request)
        finally:
            self._free.put_nowait(connection)

    def close(self) -> None:
        """Drop all connections."""
        for connection in self.connections:
            connection.close()


@asynccontextmanager
async def pool(url: str, size: int) -> AsyncIterator[Pool]:
    """`size` connections to the server at `url`, until the block ends."""
    connections: list[Connection] = []
    try:
        for _ in range(size):
            connections.append(await Connection.to(url))  # noqa: PERF401  those made so far must be closed in any case
        yield Pool(connections)
    finally:
        for connection in connections:
            connection.close()
