"""What deletions ask of the outside; each method may raise `UnavailableError`, and writes are idempotent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from models.booking import SYSTEM, Actor, Cancelled, Intake
from models.data_classes import RetentionClass
from models.deletions import Deletion, DeletionState, LogEntry, Retained
from models.dependants import Dependant
from models.erasure import ErasureReceipt, Store
from models.identity import Scope
from models.sessions import EndReason


class Due(NamedTuple):
    """A class that a deletion left behind and whose time is over."""

    deletion_id: str
    subject_id: str
    retained_under: RetentionClass


class Deletions(Protocol):
    """The deletions' documents."""

    async def add(self, scope: Scope, deletion: Deletion) -> Deletion:
        """Keep it; the one that there is, where the person has an open one or this id is known."""
        ...

    async def find(self, scope: Scope, deletion_id: str) -> Deletion | None:
        """One deletion."""
        ...

    async def of_subject(self, scope: Scope, subject_id: str) -> list[Deletion]:
        """A person's deletions, newest first."""
        ...

    async def ask_again(self, scope: Scope, deletion_id: str, challenge_id: str) -> bool:
        """Another code was sent; False where it was confirmed or taken back meanwhile."""
        ...

    async def confirm(self, scope: Scope, deletion_id: str, at: datetime, grace_until: datetime) -> bool:
        """Its owner has proved who they are; False where it was confirmed or taken back before."""
        ...

    async def advance(
        self, scope: Scope, deletion_id: str, to: DeletionState, at: datetime, actor: Actor = SYSTEM
    ) -> Deletion:
        """Move it along its table, once; as it stands then, whether that moved it or not. Raises `not_found`."""
        ...

    async def note_waiting(self, scope: Scope, deletion_id: str, waits_for: Collection[str]) -> None:
        """Note what it waits for."""
        ...

    async def plan(self, scope: Scope, deletion_id: str, retained: Sequence[Retained]) -> None:
        """Note what stays, once it is decided."""
        ...

    async def found(
        self,
        scope: Scope,
        deletion_id: str,
        of: tuple[Store, RetentionClass],
        counts: Mapping[str, int],
    ) -> Mapping[str, int]:
        """Note how much of each part a store has before anything of it is erased; the most that was ever noted."""
        ...

    async def receive(self, scope: Scope, deletion_id: str, receipts: Sequence[ErasureReceipt]) -> None:
        """Note what a store let go of, once per class and part; what was noted before stays."""
        ...

    async def settle(self, scope: Scope, deletion: Deletion, retained: Sequence[Retained]) -> bool:
        """Note what stays now; False where it has changed since it was read."""
        ...

    async def certify(self, scope: Scope, deletion: Deletion, certificate: str) -> bool:
        """Keep what it now says, signed; False where it has changed since it was read."""
        ...

    async def retained_due(self, scope: Scope, before: datetime, limit: int) -> list[str]:
        """The deletions that left something behind which is to be looked at now, oldest first."""
        ...

    async def look_again(self, scope: Scope, subject_id: str, hold_id: str, at: datetime) -> None:
        """Have looked at what an account's deletion left behind under that hold, which stands no more."""
        ...

    async def leaving(self, scope: Scope, since: datetime) -> Mapping[str, DeletionState]:
        """Everybody whose account is to go, or has gone since that instant, and how far that is."""
        ...

    async def standing(self, scope: Scope, about: str) -> DeletionState | None:
        """How far a person's confirmed deletion is; None where nobody is to be forgotten."""
        ...

    async def restore(self, scope: Scope, entry: LogEntry) -> None:
        """Have one be as far as its entry tells, where an older backup knows it not or not so far."""
        ...


class Leaves(Protocol):
    """Whether somebody is to be forgotten: one question for all that is not to be done any more."""

    async def __call__(self, scope: Scope, about: str, /) -> DeletionState | None:
        """How far their confirmed deletion is; None where they stay."""
        ...


class ErasureLog(Protocol):
    """Deletions that took effect, outside the database: a backup of before knows nothing of them."""

    async def keep(self, entry: LogEntry) -> None:
        """Write an entry, over the deletion's earlier one."""
        ...

    async def since(self, instant: datetime) -> Sequence[LogEntry]:
        """Every entry that was written since then, oldest first. Raises `ValueError` for one that is not ours."""
        ...


class CertificateSigner(Protocol):
    """Puts our name under what a certificate says."""

    def __call__(self, facts: Mapping[str, object]) -> str:
        """The facts, signed (compact JWS)."""
        ...


class SessionEnds(Protocol):
    """How sessions end, and every process hears of it."""

    async def end_all(self, subject_id: str, reason: EndReason) -> None:
        """End all of somebody's."""
        ...


class Leaver(Protocol):
    """Bookings of somebody who leaves, commanded through their workflows."""

    async def cancel_by_patient(self, appointment_id: str, subject_id: str) -> Cancelled:
        """Cancel for the patient, under the policy. Raises `state_conflict` where its workflow has ended."""
        ...

    async def let_go(self, appointment_id: str) -> None:
        """Have a booking whose visit is over close now; nothing where it has."""
        ...

    async def stop_export(self, export_id: str) -> None:
        """Have the file of an export that was stopped removed; nothing where it is gone."""
        ...


class ExportStops(Protocol):
    """A part of `models.exports_ports.Exports`."""

    async def stop(self, scope: Scope, about: str, at: datetime) -> Sequence[str]:
        """End whatever is under way or ready about somebody, and where they are among others; the ids of those."""
        ...


class OpenWork(Protocol):
    """What is still going on for somebody, as the workflow service knows it."""

    async def running(self, workflow_ids: Sequence[str]) -> list[str]:
        """Those of the workflows that have not ended."""
        ...

    async def of_subject(self, subject_id: str) -> list[str]:
        """The ids of everything that is found running by its subject; what has just begun may be missing."""
        ...

    async def end(self, workflow_id: str) -> None:
        """Stop one for good; nothing where it has ended."""
        ...


class Visit(NamedTuple):
    """One appointment of somebody who is to be forgotten."""

    appointment_id: str
    is_to_come: bool
    may_close: bool
    was_paid: bool
    ended: datetime
    """When it ended, or now where that is later."""
    updated: datetime
    workflows: Mapping[str, str]
    dependant_id: str | None = None
    """For whom it was booked; None: for the account's owner, or for whom its sealed words say."""


class Visits(NamedTuple):
    """What a person's appointments mean for a deletion."""

    visits: Sequence[Visit]

    @property
    def to_cancel(self) -> list[str]:
        """Appointments that are still to come."""
        return [one.appointment_id for one in self.visits if one.is_to_come]

    @property
    def to_close(self) -> list[str]:
        """Appointments whose visit is over, and whose day may not be."""
        return [one.appointment_id for one in self.visits if one.may_close]

    @property
    def workflows(self) -> dict[str, str]:
        """Every workflow that may still move money or a visit, and what it is waited for."""
        return {key: what for one in self.visits for key, what in one.workflows.items()}

    @property
    def last_visit(self) -> datetime | None:
        """The latest end of any of them (UTC)."""
        return max((one.ended for one in self.visits), default=None)

    @property
    def last_payment(self) -> datetime | None:
        """When money last moved for any of them (UTC)."""
        return max((one.updated for one in self.visits if one.was_paid), default=None)

    def only(self, appointment_ids: Collection[str]) -> Visits:
        """Those of them."""
        return Visits([one for one in self.visits if one.appointment_id in appointment_ids])


class Children(Protocol):
    """Those whom somebody books for, as their deletion needs them."""

    async def find(self, scope: Scope, dependant_id: str) -> Dependant | None:
        """One of them."""
        ...

    async def remove(self, scope: Scope, dependant_id: str) -> bool:
        """Forget one; False where there is none."""
        ...


class Told(Protocol):
    """What patients said when they booked."""

    async def intakes(self, scope: Scope, appointment_ids: Sequence[str]) -> Mapping[str, Intake | None]:
        """Of these appointments, those that have anything to be read; None where it was erased."""
        ...


class Answers(Protocol):
    """What was answered about somebody's data."""

    async def count(self, scope: Scope, about: str) -> int:
        """How many answers there are about somebody."""
        ...

    async def forget(self, scope: Scope, about: str) -> int:
        """Remove every answer about somebody whom the account books for; how many those were."""
        ...


class SubjectVisits(Protocol):
    """A person's appointments, read for their deletion only."""

    async def look(self, scope: Scope, subject_id: str, now: datetime) -> Visits:
        """As they stand now."""
        ...
