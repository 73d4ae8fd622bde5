"""Steps of an export: collecting it, its clock, the word that it is ready, and clearing it away. Ids only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.alive import alive
from activities.failures import typed_failures
from models.base import Model, UtcDatetime
from models.booking import ActorKind
from models.compliance import AuditAction, AuditEntry
from models.deletions import EVER, GONE
from models.due_clock import due_letter
from models.exports import Export, ExportKind, ExportRef, ExportState
from models.exports_ports import Departures, ExportBeginner, ExportMaker, Exports, VisitOf
from models.identity import PLATFORM, Account, Subject, System
from models.messaging import Message, Template
from models.notice_ports import Accounts, Messenger
from models.ports import AuditTrail

WORTH: Final = timedelta(days=3)
"""How long it is tried to tell somebody."""


LATE: Final = timedelta(minutes=10)
"""An export's own workflow is given so long to clear it away."""

SWEEP: Final = System("the upkeep looks after everybody's exports")


FORGOTTEN: Final = System("nobody is given what is held of somebody who is being forgotten")


class Collected(Model):
    """How collecting ended; `expires_at` is when a file that is ready is removed."""

    state: ExportState
    expires_at: UtcDatetime | None = None


class ReachExportMark(Model):
    """The clock of an export is so far."""

    about: ExportRef
    percent: int = Field(ge=1, le=100)
    at: UtcDatetime


class TellExport(Model):
    """The file may be fetched."""

    about: ExportRef
    expires_at: UtcDatetime
    at: UtcDatetime


class ClearExport(Model):
    """The file is to go."""

    about: ExportRef
    state: ExportState
    at: UtcDatetime


class ExportActivities:
    """Collects, warns those who see to it that exports come in time, and tells whoever asked."""

    def __init__(
        self,
        exports: Exports,
        maker: ExportMaker,
        departures: Departures,
        accounts: Accounts,
        messenger: Messenger,
        trail: AuditTrail,
        *,
        public_url: str,
        officers: str | None,
    ) -> None:
        """`officers` is the mailbox of those who see to it that requests are answered in time."""
        self._exports = exports
        self._maker = maker
        self._departures = departures
        self._accounts = accounts
        self._messenger = messenger
        self._trail = trail
        self._public_url = public_url
        self._officers = officers

    @activity.defn(name="exports.collect")
    async def collect(self, about: ExportRef) -> Collected:
        """Make the file, going on where a try before has left it, and read it back before it is given away."""
        with typed_failures():
            # A small practice's things may be far apart among everybody's, and nothing is packed until one is found.
            return await alive(self._collected(about))

    async def _collected(self, about: ExportRef) -> Collected:
        export = await self._exports.find(about.scope, about.export_id)
        if export is None:
            return Collected(state=ExportState.STOPPED)
        if await self._departures.standing(FORGOTTEN, export.about) in GONE:
            await self._exports.stop(FORGOTTEN, export.about, datetime.now(UTC))
            return Collected(state=ExportState.STOPPED)
        if export.state is not ExportState.COLLECTING or export.key is None:
            return _outcome(export)
        async for made in self._maker.make(about.scope, export):
            activity.heartbeat(made.size)
            if made.stopped:
                return Collected(state=ExportState.STOPPED)
        return await self._finished(about)

    async def _finished(self, about: ExportRef) -> Collected:
        export = await self._exports.find(about.scope, about.export_id)
        if export is None or export.state is not ExportState.COLLECTING or export.key is None:
            return Collected(state=ExportState.STOPPED) if export is None else _outcome(export)
        sha256 = await self._maker.digest(export, activity.heartbeat)
        if export.kind is ExportKind.TENANT:
            await self._note_reading(export)
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        await self._exports.finish(about.scope, export, sha256, now)
        stands = await self._exports.find(about.scope, about.export_id)
        return Collected(state=ExportState.STOPPED) if stands is None else _outcome(stands)

    async def _note_reading(self, export: Export) -> None:
        """Whoever fetches a practice's export reads every record in it, as each patient may see in theirs."""
        leaving = await self._departures.leaving(FORGOTTEN, EVER)
        gone = frozenset(one for one, state in leaving.items() if state in GONE)
        async for visits in await self._exports.visits(export.scope):
            entries = [_reading(export, one) for one in visits if one.subject_id not in gone]
            if entries:
                await self._trail.append(entries)

    @activity.defn(name="exports.reach")
    async def reach(self, step: ReachExportMark) -> bool:
        """Note the mark and write to the officers; False where the file is ready, or was stopped."""
        about = step.about
        with typed_failures():
            waits = await self._exports.reach(about.scope, about.export_id, step.percent)
            if waits and self._officers is not None:
                letter = due_letter(self._officers, about.export_id, step.percent, about.due_at, step.at + WORTH)
                await self._messenger.send(letter)
        return waits

    @activity.defn(name="exports.tell")
    async def tell(self, step: TellExport) -> None:
        """Tell whoever asked that the file is there, not where: that is told after signing in."""
        about = step.about
        with typed_failures():
            account = await self._accounts.find(Subject(about.subject_id), about.subject_id)
            message = None if account is None else self._message(step, account)
            if message is not None:
                await self._messenger.send(message)

    def _message(self, step: TellExport, account: Account) -> Message | None:
        if account.surest_address is None or account.removed_at is not None:
            return None
        channel, to = account.surest_address
        return Message(
            id=f"msg_{step.about.export_id}_ready",
            tenant_id=PLATFORM,
            subject_id=account.id,
            channel=channel,
            to=to,
            template=Template.EXPORT_READY,
            params={"link": f"{self._public_url}/privacy", "until": f"{step.expires_at:%Y-%m-%d %H:%M} UTC"},
            locale=account.locale,
            expires_at=min(step.at + WORTH, step.expires_at),
        )

    @activity.defn(name="exports.clear")
    async def clear(self, step: ClearExport) -> None:
        """First the bytes, then the record that says where they lie."""
        about = step.about
        with typed_failures():
            await self._maker.clear(about.export_id)
            await self._exports.cleared(about.scope, about.export_id, step.state, step.at)


class ExportUpkeep:
    """Begins exports that nobody has begun, and clears away those whose workflow is gone."""

    def __init__(self, exports: Exports, maker: ExportMaker, beginner: ExportBeginner) -> None:
        """Where they are, who removes their files, and who begins them."""
        self._exports = exports
        self._maker = maker
        self._beginner = beginner

    async def begin(self, before: datetime, limit: int) -> int:
        """A process that died after it had kept the wish left it here; one that is under way takes no notice."""
        found = await self._exports.unbegun(SWEEP, before, limit)
        for export in found:
            await self._beginner.begin_export(ExportRef.of(export))
        return len(found)

    async def forget(self, at: datetime, limit: int) -> int:
        """Remove files that should have been removed a while ago; how many objects that were."""
        removed = 0
        for export in await self._exports.over(SWEEP, at - LATE, limit):
            removed += await self._maker.clear(export.id)
            await self._exports.cleared(SWEEP, export.id, ExportState.EXPIRED, at)
        return removed


def _reading(export: Export, visit: VisitOf) -> AuditEntry:
    """Once for an export and a visit, however often the step is tried."""
    return AuditEntry(
        id=f"aud_of_{export.id}_{visit.appointment_id}",
        tenant_id=export.tenant_id,
        at=export.requested_at,
        actor=export.subject_id,
        actor_kind=ActorKind.CLINIC,
        action=AuditAction.RECORD_READ,
        target=visit.appointment_id,
        subject_id=visit.subject_id,
        why=f"export:{export.id}",
    )


def _outcome(export: Export) -> Collected:
    """How it ended; a key that is gone ends it too."""
    if export.state is ExportState.COLLECTING:
        return Collected(state=ExportState.STOPPED)
    return Collected(state=export.state, expires_at=export.expires_at)
