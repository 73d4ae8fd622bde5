"""Certificates of erasure: issued when a deletion ends, issued anew when what it left behind goes too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from models.data_classes import RetentionClass
from models.deletions import Deletion, DeletionState, LogEntry, Retained, certificate_of
from models.deletions_ports import CertificateSigner, Deletions, Due, ErasureLog
from models.erasure import ErasureReceipt, Store
from models.errors import Code, UnavailableError, VisitNowError, not_found
from models.holds import LegalHolds, held_by
from models.identity import System

CERTIFYING: Final = System("what is kept of those who are to be forgotten, at whichever tenant")
_MOST_AT_ONCE: Final = 10
"""Nobody else changes a deletion that has come to its end more often while a certificate is signed."""


class Certificates:
    """Says under our name what went, what stays until when, and from when on no backup opens it any more."""

    def __init__(
        self,
        deletions: Deletions,
        holds: LegalHolds,
        log: ErasureLog,
        sign: CertificateSigner,
        *,
        issuer: str,
        backups: timedelta,
        data_backups: timedelta,
    ) -> None:
        """`issuer` is our public address; a backup of the key vault is kept for `backups`, of data `data_backups`."""
        self._deletions = deletions
        self._holds = holds
        self._log = log
        self._sign = sign
        self._issuer = issuer
        self._backups = backups
        self._data_backups = data_backups

    async def log(self, deletion: Deletion, at: datetime, erased: Sequence[RetentionClass] = ()) -> None:
        """Write to object storage what a restored backup must not bring back."""
        if deletion.confirmed_at is None or deletion.restricted_at is None:
            raise VisitNowError(Code.STATE_CONFLICT)
        gone = {one.retained_under: one.erased_at for one in deletion.retained if one.erased_at is not None}
        receipts = {one.data_class: one.at for one in deletion.receipts}
        await self._log.keep(
            LogEntry(
                deletion_id=deletion.id,
                subject_id=deletion.subject_id,
                dependant_id=deletion.dependant_id,
                state=deletion.state if deletion.erased_at is None else DeletionState.ERASED,
                requested_at=deletion.requested_at,
                confirmed_at=deletion.confirmed_at,
                restricted_at=deletion.restricted_at,
                erased={**dict.fromkeys(erased, at), **receipts, **gone},
                retained=deletion.retained,
                at=at,
            )
        )

    async def issue(self, deletion_id: str, at: datetime) -> Deletion:
        """Sign what a deletion that has ended comes to. Raises `not_found`."""
        for _ in range(_MOST_AT_ONCE):
            deletion = await self._there(deletion_id)
            said = deletion.model_copy(
                update={
                    "erased_at": deletion.erased_at or at,
                    "backups_lapse_at": self._backups_lapse_at(deletion),
                    "certificate_number": deletion.certificate_number + 1,
                }
            )
            signed = self._sign(certificate_of(said, at, issuer=self._issuer))
            if await self._deletions.certify(CERTIFYING, said, signed):
                await self.log(said, at)
                return said.model_copy(update={"certificate": signed})
        msg = "the deletion changes faster than it can be certified"
        raise UnavailableError(msg)

    def _backups_lapse_at(self, deletion: Deletion) -> datetime | None:
        """When the last backup goes from which what went could be read; None where nothing has gone.

        A destroyed key is in the vault's backups. What went otherwise is in those of the data, in clear or sealed
        under a key that stays: one class's key may stay for years, and a child has none of its own.
        """
        lapse = (
            one.at + (self._backups if one.store is Store.KEYS else self._data_backups) for one in deletion.receipts
        )
        return max(lapse, default=None)

    async def due(self, now: datetime, limit: int) -> list[Due]:
        """What was left behind and is to go now; what a hold keeps, or keeps no more, has its new end on paper."""
        due = list[Due]()
        for deletion_id in await self._deletions.retained_due(CERTIFYING, now, limit):
            deletion = await self._under_holds(deletion_id, now)
            left = [one for one in deletion.retained if one.erased_at is None and one.until <= now]
            due += [Due(deletion_id, deletion.subject_id, one.retained_under) for one in left]
        return due

    async def _under_holds(self, deletion_id: str, now: datetime) -> Deletion:
        """What it leaves behind, with the holds that stand now.

        They are read after the deletion, which changes when one is lifted: what is noted here was true of both.
        """
        for _ in range(_MOST_AT_ONCE):
            deletion = await self._there(deletion_id)
            holds = await self._holds.standing(CERTIFYING, deletion.subject_id, now)
            after = tuple(
                one.under(held_by(holds, one.retained_under, now)) if one.erased_at is None else one
                for one in deletion.retained
            )
            if await self._deletions.settle(CERTIFYING, deletion, after):
                return deletion if after == deletion.retained else await self.issue(deletion_id, now)
        msg = "the deletion changes faster than it can be settled"
        raise UnavailableError(msg)

    async def amend(
        self, deletion_id: str, retained_under: RetentionClass, receipts: Sequence[ErasureReceipt], at: datetime
    ) -> Deletion:
        """Say that what stayed under that rule is gone too; the certificate is issued anew."""
        await self._deletions.receive(CERTIFYING, deletion_id, receipts)
        await self._settle(deletion_id, retained_under, at)
        return await self.issue(deletion_id, at)

    async def _settle(self, deletion_id: str, retained_under: RetentionClass, at: datetime) -> None:
        for _ in range(_MOST_AT_ONCE):
            deletion = await self._there(deletion_id)
            after = tuple(_without(one, retained_under, at) for one in deletion.retained)
            if after == deletion.retained or await self._deletions.settle(CERTIFYING, deletion, after):
                return
        msg = "the deletion changes faster than it can be settled"
        raise UnavailableError(msg)

    async def _there(self, deletion_id: str) -> Deletion:
        deletion = await self._deletions.find(CERTIFYING, deletion_id)
        if deletion is None:
            raise not_found()
        return deletion


def _without(retained: Retained, retained_under: RetentionClass, at: datetime) -> Retained:
    if retained.retained_under is not retained_under or retained.erased_at is not None:
        return retained
    return retained.model_copy(update={"erased_at": at})
