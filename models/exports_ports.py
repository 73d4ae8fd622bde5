"""What exports ask of the outside, as `models.ports` does for the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from models.deletions import DeletionState
from models.exports import Cursor, Export, ExportRef, ExportState, Portion
from models.identity import Scope


class VisitOf(NamedTuple):
    """A visit and whose it was."""

    appointment_id: str
    subject_id: str


class Exports(Protocol):
    """The exports' documents; each method may raise `UnavailableError`."""

    async def begin(self, scope: Scope, export: Export) -> Export:
        """Keep it, once per id and one at a time about the same; the one that there is."""
        ...

    async def find(self, scope: Scope, export_id: str) -> Export | None:
        """One export, its key opened."""
        ...

    async def add(self, scope: Scope, export: Export, portion: Portion, cursor: Cursor | None) -> bool:
        """Note the portion that follows; without a cursor it is the last. False where it does not follow any more.

        So it is where somebody else has added one, or the export was stopped.
        """
        ...

    async def finish(self, scope: Scope, export: Export, sha256: str, at: datetime) -> bool:
        """The file may be fetched from now on; False where the export was stopped."""
        ...

    async def reach(self, scope: Scope, export_id: str, percent: int) -> bool:
        """Note how far its clock is; whether it is still being collected."""
        ...

    async def stop(self, scope: Scope, about: str, at: datetime) -> Sequence[str]:
        """End whatever is under way or ready about somebody, and where they are among others; the ids of those.

        Nobody can fetch those from then on; their files are removed by `exports.clear`, and those ids are told again
        until that is done.
        """
        ...

    async def cleared(self, scope: Scope, export_id: str, state: ExportState, at: datetime) -> None:
        """Its file is gone, and so is its key."""
        ...

    async def unbegun(self, scope: Scope, before: datetime, limit: int) -> list[Export]:
        """Those that were asked for before that instant and are not ready yet, oldest first; not opened."""
        ...

    async def visits(self, scope: Scope) -> AsyncIterator[Sequence[VisitOf]]:
        """All of a practice's. Raises `not_found` for another scope than a practice's."""
        ...

    async def over(self, scope: Scope, before: datetime, limit: int) -> list[Export]:
        """Those that were over before that instant and whose file may still be there; not opened."""
        ...


class Made(NamedTuple):
    """How far an export has come: bytes that lie there, and whether it is over."""

    size: int
    stopped: bool = False


class Departures(Protocol):
    """Who is being forgotten, or was: a part of `models.deletions_ports.Deletions`."""

    async def leaving(self, scope: Scope, since: datetime) -> Mapping[str, DeletionState]:
        """Everybody whose account is to go, or has gone since that instant, and how far that is."""
        ...

    async def standing(self, scope: Scope, about: str) -> DeletionState | None:
        """How far somebody's confirmed deletion is; None where nobody is to be forgotten."""
        ...


class ExportBeginner(Protocol):
    """How an export is begun, once, however often it is asked for."""

    async def begin_export(self, about: ExportRef) -> None:
        """Have it made."""
        ...


class ExportMaker(Protocol):
    """Collects and packs what an export holds, and takes it away again."""

    def make(self, scope: Scope, export: Export) -> AsyncIterator[Made]:
        """Go on where it was left until the file is whole; something is yielded at least with each mebibyte."""
        ...

    async def digest(self, export: Export, alive: Callable[[int], None]) -> str:
        """Read the whole file back: its SHA-256; `alive` is told how far it is. Raises `DamagedError`."""
        ...

    async def clear(self, export_id: str) -> int:
        """Remove whatever lies there of it; how many objects that were."""
        ...
