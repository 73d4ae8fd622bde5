"""Steps of retention: what was kept for its time goes, unless a hold forbids it. Payloads carry ids and numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from temporalio import activity

from activities.certificates import Certificates
from activities.failures import typed_failures
from models.base import Model, UtcDatetime
from models.data_classes import RetentionClass
from models.erasure import LONGEST_JOURNEY, ErasureReceipt
from models.erasure_ports import KeyBurial, Redactor
from models.errors import Code, VisitNowError
from models.holdings import Holding
from models.holds import LegalHolds, held_by
from models.identity import System
from models.policy import TenantPolicy
from models.ports import Tenancy
from models.retention import AT_ONCE, Folders, Line, Outdated, Over, Record, RetentionTally, Turn, dated

RETENTION: Final = System("what was kept for its time goes, at every tenant")
MOST_LEFT: Final = 100
"""So many classes of those who were erased are looked at in one turn; the rest follow with the next."""


class Amendment(Model):
    """What stayed of somebody who was erased is gone too."""

    over: Over
    receipts: tuple[ErasureReceipt, ...]
    at: UtcDatetime


class Ages:
    """What is too old by the settings of whose it is."""

    def __init__(self, outdated: Outdated, tenancy: Tenancy) -> None:
        """The records, and the tenants' settings."""
        self._outdated = outdated
        self._tenancy = tenancy

    async def bounds(self, now: datetime) -> AsyncIterator[tuple[str, Holding, datetime]]:
        """Each tenant's records, kind by kind, and the instant before which they are too old."""
        policies = {one: await self._policy(one) for one in await self._outdated.tenants(RETENTION)}
        for holding in dated():
            for tenant_id, policy in policies.items():
                yield tenant_id, holding, now - policy.retention(holding.retained_under)

    async def _policy(self, tenant_id: str) -> TenantPolicy:
        try:
            return (await self._tenancy.settings(RETENTION, tenant_id)).settings
        except VisitNowError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return TenantPolicy()

    async def plan(self, now: datetime) -> list[Line]:
        """What would go at this moment; what a hold spares is counted with it. Raises `UnavailableError`."""
        lines = [
            Line(tenant_id, holding.collection, holding.retained_under, before, count)
            async for tenant_id, holding, before in self.bounds(now)
            if (count := await self._outdated.count(RETENTION, holding, tenant_id, before))
        ]
        return sorted(lines)


class RetentionActivities:
    """Removes records by their age, and has the certificates of those who were erased say what went since."""

    def __init__(
        self,
        ages: Ages,
        outdated: Outdated,
        folders: Folders,
        keys: KeyBurial,
        holds: LegalHolds,
        certificates: Certificates,
        *,
        redactor: Redactor | None,
    ) -> None:
        """What is too old and where it is, what forbids to remove it, and what was promised to those who left.

        Without a `redactor` no text message ever left.
        """
        self._ages = ages
        self._outdated = outdated
        self._folders = folders
        self._keys = keys
        self._redactor = redactor
        self._holds = holds
        self._certificates = certificates

    @activity.defn(name="retention.sweep")
    async def sweep(self, turn: Turn) -> RetentionTally:
        """Everything that is too old; as good as never run where nothing is."""
        tally = RetentionTally()
        with typed_failures():
            async for tenant_id, holding, before in self._ages.bounds(turn.at):
                spared = set[str]()
                while found := await self._some(holding, tenant_id, before, spared):
                    free = [one for one in found if not await self._is_held(one, holding.retained_under, turn.at)]
                    free = await self._forgotten_elsewhere(holding, free, turn.at)
                    spared |= {str(one.subject_id) for one in found if one not in free}
                    tally = tally.plus(holding.collection, await self._remove(holding, free))
                    activity.heartbeat()
        return tally

    async def _some(self, holding: Holding, tenant_id: str, before: datetime, spared: set[str]) -> list[Record]:
        return await self._outdated.some(RETENTION, holding, tenant_id, before, spared, AT_ONCE)

    async def _is_held(self, one: Record, retained_under: RetentionClass, now: datetime) -> bool:
        if one.subject_id is None:
            return False
        holds = await self._holds.standing(RETENTION, one.subject_id, now)
        return held_by(holds, retained_under, now) is not None

    async def _forgotten_elsewhere(self, holding: Holding, records: list[Record], now: datetime) -> list[Record]:
        """Those of which no carrier has the words any more: only our own record leads to them.

        One that is still on its way waits for another turn.
        """
        if not holding.carried or self._redactor is None or not records:
            return records
        travelling = set[str]()
        for sent in await self._outdated.sent_texts(RETENTION, [one.id for one in records]):
            redacted = await self._redactor.redact(sent.provider_id)
            if not redacted and now - sent.since < LONGEST_JOURNEY:
                travelling.add(sent.message_id)
            activity.heartbeat()
        return [one for one in records if one.id not in travelling]

    async def _remove(self, holding: Holding, records: Sequence[Record]) -> int:
        for one in records:
            if (folder := holding.folder_of(one.id)) is not None:
                await self._folders.remove(folder)
            if holding.is_subject and holding.data_class is not None:
                await self._keys.bury(one.id, holding.data_class)
            activity.heartbeat()
        return await self._outdated.remove(RETENTION, holding, [one.id for one in records]) if records else 0

    @activity.defn(name="retention.over")
    async def over(self, turn: Turn) -> list[Over]:
        """What those who were erased left behind and whose time is over; what a hold keeps has a new time."""
        with typed_failures():
            return [
                Over(deletion_id=one.deletion_id, subject_id=one.subject_id, retained_under=one.retained_under)
                for one in await self._certificates.due(turn.at, MOST_LEFT)
            ]

    @activity.defn(name="retention.amend")
    async def amend(self, step: Amendment) -> None:
        """Say in the certificate that it is gone."""
        with typed_failures():
            await self._certificates.amend(step.over.deletion_id, step.over.retained_under, step.receipts, step.at)
