"""What an export is collected from: files one after the other, whose contents come while they are packed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from adapters.mongo.encryption import ERASED
from adapters.mongo.holdings import Held, MongoHoldings
from models.deletions import EVER, GONE
from models.documents import Contents
from models.documents_ports import DamagedError, Files
from models.export_shapes import Shape
from models.exports import Cursor
from models.exports_ports import Departures
from models.files import safe_name
from models.identity import Scope, Subject, System

MOST: Final = 5000
"""So many things stand in one file, at most, where there may be any number of them."""

_EVERYBODY: Final = System("a practice takes along nothing of those who are being forgotten")
PIECE: Final = 256 * 1024
"""Small things are gathered to about so many bytes before they are packed."""


@dataclass
class Member:
    """One file of the export; `behind` and `documents` are right once its content was read."""

    name: str
    content: AsyncIterator[bytes] = field(repr=False)
    documents: int | None = None
    behind: str | None = None
    """Behind which thing the next file of the same source begins."""
    damaged: bool = False
    """Whether it breaks off, since what lies in storage is not what was put there."""


class Source(Protocol):
    """Where files of an export come from."""

    name: str

    def members(self, cursor: Cursor) -> AsyncIterator[Member]:
        """The files from the cursor on; each one's content is read before the next is asked for."""
        ...


def plain(value: object) -> object:
    """A value as JSON has it; raises TypeError for what has no place there."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return None
    msg = f"{type(value).__name__} has no form in an export"
    raise TypeError(msg)


def as_json(value: object) -> bytes:
    """One line of JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, default=plain, separators=(",", ":")).encode()


async def gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in fewer pieces."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        if len(buffer) >= PIECE:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def numbered(stem: str, number: int, suffix: str) -> str:
    """`stem.suffix`, then `stem-2.suffix` and so on."""
    return f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"


class Left:
    """Whoever is being forgotten, or was: a practice takes along nothing more of them."""

    def __init__(self, departures: Departures) -> None:
        """Looked up once for an export."""
        self._departures = departures
        self._known: frozenset[str] | None = None

    async def among(self, scope: Scope) -> frozenset[str]:
        """Those whose things are passed over; nobody where somebody takes along their own."""
        if isinstance(scope, Subject):
            return frozenset()
        if self._known is None:
            known = await self._departures.leaving(_EVERYBODY, EVER)
            self._known = frozenset(one for one, state in known.items() if state in GONE)
        return self._known


class DataSource:
    """One collection: what it holds of the scope, as JSON."""

    def __init__(self, holdings: MongoHoldings, scope: Scope, shape: Shape, left: Left, *, most: int = MOST) -> None:
        """`most` things to a file, for a practice; a person's are all in one."""
        self._left = left
        self.name = f"data:{shape.collection}"
        self._holdings = holdings
        self._scope = scope
        self._shape = shape
        self._most = most

    async def members(self, cursor: Cursor) -> AsyncIterator[Member]:
        """Files of at most so many things; the first is there even where there are none."""
        number, after, whole = cursor.number, cursor.after, isinstance(self._scope, Subject)
        while number == 1 or not whole:
            batches = await self._holdings.stream(self._scope, self._shape.collection, after=after)
            first = await anext(batches, None)
            if first is None and number > 1:
                return
            member = Member(numbered(f"data/{self._shape.collection}", number, ".json"), empty())
            member.content = gathered(self._content(member, first or (), batches, whole=whole))
            yield member
            if member.documents is None or member.documents < self._most:
                return
            number, after = number + 1, member.behind

    async def _content(
        self, member: Member, first: Sequence[Held], rest: AsyncIterator[Sequence[Held]], *, whole: bool
    ) -> AsyncIterator[bytes]:
        left = await self._left.among(self._scope)
        member.documents = 0
        yield b'{"collection":' + as_json(self._shape.collection) + b',"documents":['
        batch: Sequence[Held] | None = first
        while batch:
            for held in batch:
                if not whole and member.documents == self._most:
                    break
                member.behind = held.id
                if held.clear.get("subject_id") in left:
                    continue
                yield (b",\n" if member.documents else b"\n") + as_json(told(self._shape, held))
                member.documents += 1
            batch = await anext(rest, None) if whole or member.documents < self._most else None
        yield b"\n]}\n"


def told(shape: Shape, held: Held) -> dict[str, object]:
    """A document as an export gives it."""
    sealed = {name: None if content is ERASED else content for name, content in held.sealed.items()}
    return shape.told(held.clear, sealed)


async def empty() -> AsyncIterator[bytes]:
    """No bytes at all."""
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


class FileSource:
    """The files that were added to visits, as they were added."""

    name = "files"

    def __init__(
        self, holdings: MongoHoldings, scope: Scope, files: Files, left: Left, packed: Callable[[], frozenset[str]]
    ) -> None:
        """`files` opens them; `packed` tells the names of those that are in the file already."""
        self._left = left
        self._holdings = holdings
        self._scope = scope
        self._files = files
        self._packed = packed

    async def members(self, cursor: Cursor) -> AsyncIterator[Member]:
        """One for each stored document whose key is there, in the order in which the collection gives them."""
        # A person's come without an order that could be begun in the middle: those that are packed are passed over.
        done = self._packed()
        after = None if isinstance(self._scope, Subject) else cursor.after
        left = await self._left.among(self._scope)
        async for batch in await self._holdings.stream(self._scope, "documents", after=after):
            for held in batch:
                contents = contents_of(held)
                if contents is None or held.clear["subject_id"] in left:
                    continue
                member = Member(file_name(held.id, contents), empty(), behind=held.id)
                if member.name not in done:
                    member.content = _as_far_as_whole(member, self._files.read(held.id, contents, 0, contents.size))
                    yield member


async def _as_far_as_whole(member: Member, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """One damaged file must not keep everything else from its owner."""
    try:
        async for piece in content:
            yield piece
    except DamagedError:
        member.damaged = True


def contents_of(held: Held) -> Contents | None:
    """What opens a stored document; None where it was never stored, or its key is gone."""
    opened = held.sealed.get("clinical")
    if held.clear.get("state") != "stored" or opened is None or opened is ERASED:
        return None
    return Contents.model_validate(opened)


def file_name(document_id: str, contents: Contents) -> str:
    """Where a document's file lies in the export."""
    return f"files/{document_id}/{safe_name(contents.name)}"
