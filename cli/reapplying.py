"""Deletions that were made after a backup, made again: a restore brings nobody back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from adapters.connections import mongo_addresses
from adapters.erasure import KeyEraser, MongoEraser, StorageEraser
from adapters.erasure_log import StoredErasureLog
from adapters.mongo.repositories import Repositories
from adapters.objects import Objects
from adapters.settings import Settings
from adapters.tokens import Statements
from cli.closing import Closer
from models.backups import BackupError
from models.deletions import LogEntry
from models.deletions_ports import Visits
from models.erasure_ports import Eraser
from models.identity import System

REAPPLYING: Final = System("deletions are made again after a restore")
_BEGUN_BEFORE: Final = timedelta(days=1)
"""A deletion that was being carried out while the backup was made may be in it by half."""

_AT_ONCE: Final = timedelta()
"""Nobody runs who could have a key in memory."""


class Reapplied(NamedTuple):
    """How many deletions, and how much of them had come back."""

    deletions: int
    erased: int
    cancelled: tuple[str, ...]
    """Visits that were still to come: whoever is forgotten has none."""


async def logged(settings: Settings, taken_at: datetime) -> Sequence[LogEntry]:
    """What the log says since a backup. Raises `BackupError` where it is not what we wrote, or we cannot tell."""
    log = StoredErasureLog(settings.storage_url, Statements(settings.token_keys))
    try:
        return await log.since(taken_at - _BEGUN_BEFORE)
    except ValueError as error:
        raise BackupError("the log of deletions is not what we wrote: who was erased cannot be told") from error


async def reapply(settings: Settings, entries: Sequence[LogEntry]) -> Reapplied:
    """Erase again what each entry says, and write the deletions that the backup does not know."""
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody, appname="visitnow-restore")
    # What leads to the files lies in MongoDB, and the keys open what MongoDB says: they go last.
    erasers: tuple[Eraser, ...] = (
        StorageEraser(Objects(settings.storage_url), stores.remains),
        MongoEraser(stores.remains),
        KeyEraser(stores.vault, _AT_ONCE),
    )
    erased, cancelled = 0, list[str]()
    try:
        for entry in entries:
            await stores.deletions.restore(REAPPLYING, entry)
            cancelled += await _cancelled(stores, entry)
            if entry.dependant_id is not None:
                erased += await _forget_child(stores, entry, entry.dependant_id)
                continue
            await stores.users.remove(REAPPLYING, entry.subject_id, entry.restricted_at)
            for data_class, at in entry.erased.items():
                for one in erasers:
                    receipts = await one.erase(entry.subject_id, data_class, at)
                    erased += sum(receipt.erased for receipt in receipts)
    finally:
        await stores.close()
    return Reapplied(len(entries), erased, tuple(cancelled))


async def _cancelled(stores: Repositories, entry: LogEntry) -> list[str]:
    """What was to come had been cancelled, and its money had gone back, before anything of them went.

    Before that was decided the deletion's own workflow cancels.
    """
    if not entry.erased:
        return []
    visits = await stores.subject_visits.look(REAPPLYING, entry.subject_id, datetime.now(UTC))
    if entry.dependant_id is not None:
        visits = visits.only(await _of_child(stores, entry.dependant_id, visits))
    closer, closed = Closer(stores), list[str]()
    for one in visits.to_cancel:
        found = await stores.appointments.find(REAPPLYING, one, open_sealed=False)
        closed += [one] if found is not None and await closer.close(found) else []
    return closed


async def _of_child(stores: Repositories, dependant_id: str, visits: Visits) -> set[str]:
    """Those that say so, and of those that say nothing the ones with its name and birthday."""
    child = await stores.dependants.find(REAPPLYING, dependant_id)
    unsaid = [one.appointment_id for one in visits.visits if one.dependant_id is None]
    told = {} if child is None else await stores.appointments.intakes(REAPPLYING, unsaid)
    patients = {one: words.patient for one, words in told.items() if words is not None}
    named = {one for one, patient in patients.items() if child and patient and child.is_meant_by(patient)}
    return named | {one.appointment_id for one in visits.visits if one.dependant_id == dependant_id}


async def _forget_child(stores: Repositories, entry: LogEntry, dependant_id: str) -> int:
    """Who they are and what was answered about them; until that was decided, finding their visits still needs it."""
    if not entry.erased:
        return 0
    found = await stores.dependants.remove(REAPPLYING, dependant_id)
    return await stores.consents.forget(REAPPLYING, dependant_id) + found


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""
