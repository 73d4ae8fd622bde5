"""Makes an export: collects source by source, packs while it reads, and notes how far it is after each portion."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Final

from adapters.export.fhir import FhirSource, Sources
from adapters.export.objects import ObjectExports
from adapters.export.pages import OwnPages
from adapters.export.sources import DataSource, FileSource, Left, Member, Source
from adapters.export.zipping import Entry, Packing
from adapters.mongo.holdings import MongoHoldings
from models.documents_ports import Files
from models.errors import UnavailableError
from models.export_shapes import shapes_of
from models.exports import BLOCK, PORTION, Cursor, Export, ExportState, Portion
from models.exports_ports import Departures, Exports, Made
from models.identity import Scope

_NAME_BYTES: Final = 6

Plan = Callable[[Export, Sequence[Entry]], Sequence[Source]]
"""The sources of an export, in their order; the entries are those that were packed, and grow."""


class _Writing:
    """A portion that is being written."""

    def __init__(self, objects: ObjectExports, export: Export) -> None:
        self.name = secrets.token_hex(_NAME_BYTES)
        self.size = 0
        self.entries: list[Entry] = []
        self._objects = objects
        self._export = export
        self._blocks = 0

    async def write(self, block: bytes) -> None:
        await self._objects.write(self._export, self.name, self._blocks, block)
        self._blocks += 1
        self.size += len(block)

    async def close(self, rest: Iterable[bytes]) -> Portion:
        for block in rest:
            await self.write(block)
        await self._objects.write_entries(self._export, self.name, self.entries)
        return Portion(name=self.name, size=self.size)


class PackedExports:
    """Implements `models.exports_ports.ExportMaker`.

    A try that dies costs the portion that it was at: the next one takes the directory's lines of all portions before,
    and goes on behind the last of them.
    """

    def __init__(self, exports: Exports, objects: ObjectExports, plan: Plan, portion: int = PORTION) -> None:
        """Where exports are noted and lie, and what they are made from; noted after about `portion` bytes each."""
        self._exports = exports
        self._objects = objects
        self._plan = plan
        self._portion = portion

    async def make(self, scope: Scope, export: Export) -> AsyncGenerator[Made, None]:
        """Go on where it was left until the file is whole. Raises `UnavailableError` where another try is ahead."""
        if export.packed or export.state is not ExportState.COLLECTING:
            return
        entries = await self._objects.entries(export)
        packing = Packing(export.requested_at, BLOCK, entries, export.size)
        writing = _Writing(self._objects, export)
        async for member, behind in _members(self._plan(export, packing.entries), export.cursor):
            async for block in packing.add(member.name, member.content):
                await writing.write(block)
                yield Made(export.size + writing.size)
            _complete(packing, member)
            writing.entries.append(packing.entries[-1])
            # Small members make no block for a long time, and whoever waits wants to know that it goes on.
            yield Made(export.size + writing.size)
            if packing.position - export.size >= self._portion:
                portion = await writing.close(packing.rest())
                export = await self._added(scope, export, portion, behind())
                if export.state is not ExportState.COLLECTING:
                    yield Made(export.size, stopped=True)
                    return
                writing = _Writing(self._objects, export)
        portion = await writing.close(packing.finish())
        export = await self._added(scope, export, portion, None)
        yield Made(export.size, stopped=export.state is not ExportState.COLLECTING)

    async def _added(self, scope: Scope, export: Export, portion: Portion, cursor: Cursor | None) -> Export:
        """The export with the portion; one that was stopped as it stands."""
        if await self._exports.add(scope, export, portion, cursor):
            return export.model_copy(update={"portions": (*export.portions, portion), "cursor": cursor})
        stands = await self._exports.find(scope, export.id)
        if stands is not None and stands.state is ExportState.COLLECTING:
            raise UnavailableError("another try at this export is ahead")
        # Whoever stopped it may have cleared it before this portion was written.
        await self._objects.clear(export.id)
        return export.model_copy(update={"state": ExportState.STOPPED})

    async def digest(self, export: Export, alive: Callable[[int], None]) -> str:
        """Read the whole file back: its SHA-256. Raises `DamagedError`."""
        digest, size = hashlib.sha256(), 0
        async for content in self._objects.read(export, 0, export.size):
            digest.update(content)
            size += len(content)
            alive(size)
        return digest.hexdigest()

    async def clear(self, export_id: str) -> int:
        """Remove whatever lies there of it."""
        return await self._objects.clear(export_id)


async def _members(
    sources: Sequence[Source], cursor: Cursor | None
) -> AsyncIterator[tuple[Member, Callable[[], Cursor]]]:
    """Every file from the cursor on, and where it goes on behind it, which is known once it was read."""
    names = [one.name for one in sources]
    first = 0 if cursor is None else names.index(cursor.source)
    for source in sources[first:]:
        begin = cursor if cursor is not None and source.name == cursor.source else Cursor(source=source.name)
        number = begin.number
        async for member in source.members(begin):
            number += 1
            behind = _behind(source.name, number, member)
            yield member, behind


def _behind(source: str, number: int, member: Member) -> Callable[[], Cursor]:
    return lambda: Cursor(source=source, number=number, after=member.behind)


def _complete(packing: Packing, member: Member) -> None:
    """What is only known of a file once it was read."""
    told = {"documents": member.documents, "damaged": member.damaged}
    packing.entries[-1] = packing.entries[-1].model_copy(update=told)


def plan(holdings: MongoHoldings, files: Files, sources: Sources, departures: Departures) -> Plan:
    """Records as data, visits as FHIR, the files, and at last what the export says of itself."""

    def of(export: Export, entries: Sequence[Entry]) -> Sequence[Source]:
        scope, left = export.scope, Left(departures)
        return (
            *(DataSource(holdings, scope, one, left) for one in shapes_of(export.kind)),
            FhirSource(sources, scope, export.requested_at, left),
            FileSource(holdings, scope, files, left, lambda: frozenset(one.name for one in entries)),
            OwnPages(export, entries),
        )

    return of
