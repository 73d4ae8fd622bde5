"""Sealing the audit: step by step from each chain's end, so that a run that dies anywhere is simply gone on with."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import activity

from activities.failures import typed_failures
from models.base import Model
from models.identity import System
from models.seal_ports import AuditSeals, SealHeads, SealSigner
from models.seals import MOST_SEALED, Batch, SignedSeal, next_seal

SEALING = System("every tenant's audit is sealed")


class SealEverything(Model):
    """One turn: entries younger than this are left to the next, since others may still come before them."""

    settle_seconds: int


class SealTally(Model):
    """What was sealed."""

    tenants: int = 0
    seals: int = 0
    entries: int = 0


class AuditActivities:
    """Seals whatever is settled and under no seal yet."""

    def __init__(self, seals: AuditSeals, heads: SealHeads, sign: SealSigner) -> None:
        """The chains, their copies outside the database, and what signs them."""
        self._seals = seals
        self._heads = heads
        self._sign = sign

    @activity.defn(name="audit.seal")
    async def seal(self, turn: SealEverything) -> SealTally:
        """Every tenant's entries, each under one seal; two runs at once divide the work."""
        with typed_failures():
            upto = await self._seals.settled(SEALING, turn.settle_seconds)
            tenants = await self._seals.tenants(SEALING)
            counts = [count for tenant in tenants for count in await self._tenant(tenant, upto)]
        return SealTally(tenants=len(tenants), seals=len(counts), entries=sum(counts))

    async def _tenant(self, tenant_id: str, upto: int) -> list[int]:
        """How many entries went under each new seal."""
        last = await self._seals.last(SEALING, tenant_id)
        counts: list[int] = []
        if last is not None:
            await self._heads.keep(last)  # a run may have died between the seal and its copy
        while True:
            activity.heartbeat(tenant_id)
            after = 0 if last is None else last.seal.upto
            entries = await self._seals.unsealed(SEALING, tenant_id, after, upto, MOST_SEALED)
            if not entries:
                return counts
            signed = self._sign(next_seal(None if last is None else last.seal, tenant_id, entries, datetime.now(UTC)))
            if await self._seals.add(SEALING, signed, Batch.of(entries)):
                last = signed
                counts.append(len(entries))
            else:
                last = await self._after_another(tenant_id)
            await self._heads.keep(last)

    async def _after_another(self, tenant_id: str) -> SignedSeal:
        """The seal that somebody else has put there meanwhile."""
        last = await self._seals.last(SEALING, tenant_id)
        if last is None:
            raise RuntimeError("a seal that was there is gone")
        return last
