"""Erasing, one store at a time. Payloads carry ids and numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from temporalio import activity

from activities.alive import alive
from activities.failures import typed_failures
from models.deletions_ports import Deletions
from models.erasure import EraseStore, ErasureReceipt, Store, with_earlier_tries
from models.erasure_ports import Eraser
from models.identity import Subject


class ErasureActivities:
    """Has stores forget somebody; whoever calls it has made sure that nothing forbids it."""

    def __init__(self, erasers: Mapping[Store, Eraser], deletions: Deletions) -> None:
        """Every store's eraser, and where it is noted what there was."""
        self._erasers = erasers
        self._deletions = deletions

    @activity.defn(name="erasure.erase")
    async def erase(self, step: EraseStore) -> list[ErasureReceipt]:
        """Erase in one store what is kept no longer than for that time; it may be run again at any moment."""
        with typed_failures():
            return await alive(self._erase(step))

    async def _erase(self, step: EraseStore) -> list[ErasureReceipt]:
        """What there is is noted first: whoever runs this again after a crash knows what went before it."""
        eraser, subject_id, data_class = self._erasers[step.store], step.subject_id, step.data_class
        if step.deletion_id is None:
            return _as_of_now(await eraser.erase(subject_id, data_class, step.at))
        there = await eraser.count(subject_id, data_class)
        of = (step.store, data_class)
        found = await self._deletions.found(Subject(subject_id), step.deletion_id, of, there)
        receipts = await eraser.erase(subject_id, data_class, step.at)
        return with_earlier_tries(_as_of_now(receipts), found, await eraser.count(subject_id, data_class))


def _as_of_now(receipts: Sequence[ErasureReceipt]) -> list[ErasureReceipt]:
    """It is gone by now and was not long before: the store may have been away for days. Of a key the vault knows."""
    now = datetime.now(UTC)
    return [one if one.store is Store.KEYS else one.model_copy(update={"at": now}) for one in receipts]
