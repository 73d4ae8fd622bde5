"""Exports: everything that is held about a person, or by a practice, as one file that they may take with them.

Digital Personal Data Protection Act 2023, section 11 (a summary of one's data); medical records within 72 hours of
the request (Indian Medical Council regulations 2002, 1.3.2).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from pydantic import Field

from models.base import Id, Model, UtcDatetime
from models.documents import Sha256
from models.due_clock import reaches
from models.identity import PLATFORM, Scope, Subject, Tenant

LINK_LIFETIME: Final = timedelta(minutes=15)
"""A link to the file; whoever asks how the export stands is given a fresh one."""

KEY_BYTES: Final = 32
BLOCK: Final = 1024 * 1024
"""Bytes of the file in one object, at most: whoever writes or reads holds no more than that."""

PORTION: Final = 8 * 1024 * 1024
"""After about so many bytes it is noted how far an export is: what a crash costs is at most that much again."""

FORMAT: Final = "visitnow-export"
FORMAT_VERSION: Final = 1


class ExportKind(StrEnum):
    """Whose data it is."""

    SUBJECT = "subject"
    """A person's, everything of them wherever it lies."""
    TENANT = "tenant"
    """A practice's, for one that leaves."""


class ExportState(StrEnum):
    """Where an export stands."""

    COLLECTING = "collecting"
    READY = "ready"
    EXPIRED = "expired"
    """Its time was over; the file is gone."""
    STOPPED = "stopped"
    """Whoever it was about is being forgotten; the file is gone."""


_S = ExportState
TRANSITIONS: dict[ExportState, frozenset[ExportState]] = {
    _S.COLLECTING: frozenset({_S.READY, _S.STOPPED}),
    _S.READY: frozenset({_S.EXPIRED, _S.STOPPED}),
    _S.EXPIRED: frozenset(),
    _S.STOPPED: frozenset(),
}
"""What an export may turn into."""


def sources_of(target: ExportState) -> frozenset[ExportState]:
    """The states from which `target` may be reached."""
    return frozenset(state for state, after in TRANSITIONS.items() if target in after)


class Portion(Model):
    """Some bytes of the file in a row, in objects of their own under a name that no other try has."""

    name: Id
    size: int = Field(ge=1)


class Cursor(Model):
    """Where the collecting goes on: in which source, with which of its files, behind which of its things."""

    source: Id
    number: int = Field(default=1, ge=1)
    after: str | None = None


class Export(Model):
    """One export. `about` is whose data it is, under whose identity key the file's own key lies sealed.

    `subject_id` is the account that asked; `key` is None once the file is gone, or the identity key was destroyed.
    """

    id: Id
    kind: ExportKind
    about: Id
    tenant_id: Id
    subject_id: Id
    state: ExportState = ExportState.COLLECTING
    requested_at: UtcDatetime
    due_at: UtcDatetime
    lifetime_seconds: int = Field(ge=1)
    reached: int = Field(default=0, ge=0, le=100)
    """The highest mark of the clock that was reached."""
    portions: tuple[Portion, ...] = ()
    cursor: Cursor | None = None
    """None as long as nothing was collected, and again once everything was."""
    packed: bool = False
    """Whether the file is whole."""
    sha256: Sha256 | None = None
    ready_at: UtcDatetime | None = None
    expires_at: UtcDatetime | None = None
    key: bytes | None = Field(default=None, min_length=KEY_BYTES, max_length=KEY_BYTES, repr=False)

    @property
    def size(self) -> int:
        """How many bytes of the file there are."""
        return sum(one.size for one in self.portions)

    @property
    def scope(self) -> Scope:
        """What is collected."""
        return Subject(self.about) if self.kind is ExportKind.SUBJECT else Tenant(self.about)

    def expiry(self, ready_at: datetime) -> datetime:
        """When a file that is ready then is removed (UTC)."""
        return ready_at + timedelta(seconds=self.lifetime_seconds)

    def is_open(self, now: datetime) -> bool:
        """Whether the file may be fetched."""
        return self.state is ExportState.READY and self.expires_at is not None and now < self.expires_at

    def shown_state(self, now: datetime) -> ExportState:
        """The state as it is told: what is over is over, also before it was cleared away."""
        if self.state is ExportState.READY and not self.is_open(now):
            return ExportState.EXPIRED
        return self.state


class ExportRef(Model):
    """What a workflow knows of an export: ids and times."""

    export_id: Id
    kind: ExportKind
    tenant_id: Id
    subject_id: Id
    requested_at: UtcDatetime
    due_at: UtcDatetime

    @classmethod
    def of(cls, export: Export) -> Self:
        """Its ids and times."""
        return cls(
            export_id=export.id,
            kind=export.kind,
            tenant_id=export.tenant_id,
            subject_id=export.subject_id,
            requested_at=export.requested_at,
            due_at=export.due_at,
        )

    @property
    def scope(self) -> Scope:
        """Whose the export is."""
        return Subject(self.subject_id) if self.kind is ExportKind.SUBJECT else Tenant(self.tenant_id)

    def reaches(self, percent: int) -> datetime:
        """When so much of the time is used (UTC)."""
        return reaches(self.requested_at, self.due_at, percent)


def owner_of(kind: ExportKind, about: str) -> str:
    """The tenant that an export belongs to."""
    return PLATFORM if kind is ExportKind.SUBJECT else about
