"""A ZIP archive that is written while its files are read, and gone on with after a crash.

`zipfile` writes to what cannot be sought in; and of the files before a break nothing but their lines in the directory
is needed, which are a few numbers each.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from pydantic import TypeAdapter

from models.base import Model

_MODE: Final = 0o600 << 16
_EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""The format knows nothing before."""


class Entry(Model):
    """A file of the archive: what its line in the directory needs, and its digest."""

    name: str
    size: int
    packed: int
    crc: int
    offset: int
    flags: int
    sha256: str
    documents: int | None = None
    """How many things it tells of, where it is a list."""
    damaged: bool = False


ENTRIES: Final = TypeAdapter(tuple[Entry, ...])


class _Sink:
    """Takes what the archive writes, and gives it away in blocks; it knows where it is and cannot go back."""

    def __init__(self, position: int) -> None:
        self._position = position
        self._buffer = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._buffer += data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self, size: int, *, rest: bool = False) -> Iterator[bytes]:
        """Blocks of that size; with `rest` also what is left, which may be shorter."""
        while len(self._buffer) >= size or (rest and self._buffer):
            block = bytes(self._buffer[:size])
            del self._buffer[:size]
            yield block


class Packing:
    """An archive in the making."""

    def __init__(self, at: datetime, block: int, entries: Sequence[Entry] = (), position: int = 0) -> None:
        """Behind `position` bytes that hold `entries`; all files bear the time `at`, blocks have `block` bytes."""
        self.entries = list(entries)
        self._block = block
        self._sink = _Sink(position)
        self._date = max(at.astimezone(UTC), _EARLIEST).timetuple()[:6]
        self._zip = ZipFile(self._sink, "w", ZIP_DEFLATED)
        self._zip.infolist().extend(self._info_of(one) for one in entries)

    @property
    def position(self) -> int:
        """How many bytes of the archive there are, those that were not given away yet included."""
        return self._sink.tell()

    async def add(self, name: str, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pack one file of less than two gibibytes; blocks of the archive as they come."""
        info = self._info(name)
        digest, size = hashlib.sha256(), 0
        with self._zip.open(info, "w") as member:
            async for piece in content:
                digest.update(piece)
                size += len(piece)
                await asyncio.to_thread(member.write, piece)
                for block in self._sink.take(self._block):
                    yield block
        self.entries.append(
            Entry(
                name=name,
                size=size,
                packed=info.compress_size,
                crc=info.CRC,
                offset=info.header_offset,
                flags=info.flag_bits,
                sha256=digest.hexdigest(),
            )
        )

    def rest(self) -> Iterator[bytes]:
        """What is written and was not given away yet."""
        yield from self._sink.take(self._block, rest=True)

    def finish(self) -> Iterator[bytes]:
        """The directory, and with it the end of the archive."""
        self._zip.close()
        yield from self.rest()

    def _info(self, name: str) -> ZipInfo:
        info = ZipInfo(name, self._date)
        info.compress_type = ZIP_DEFLATED
        info.external_attr = _MODE
        return info

    def _info_of(self, entry: Entry) -> ZipInfo:
        info = self._info(entry.name)
        info.CRC, info.file_size, info.compress_size = entry.crc, entry.size, entry.packed
        info.header_offset, info.flag_bits = entry.offset, entry.flags
        return info
