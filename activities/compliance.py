"""Sealing the audit: step by step from each chain's end, so that a run that dies anywhere is simply gone on with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.failures import typed_failures
from models.base import Model
from models.identity import System
from models.seal_ports import AuditSeals, SealHeads, SealSigner
from models.seals import MOST_SEALED, Batch, SignedSeal, UntrustedSealError, next_seal

SEALING = System("every tenant's audit is sealed")
TOUCHED: Final = "audit_touched"
_LOOKS: Final = 20
_PAUSE: Final = 0.1
"""Seconds between two looks for the seal that somebody else has put there: a majority sees it a moment later."""
_ADVICE: Final = "nothing is sealed there until a person has looked: `visitnow audit verify`, docs/decisions/0024"


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

    def __init__(self, seals: AuditSeals, heads: SealHeads, signer: SealSigner) -> None:
        """The chains, their copies outside the database, and what signs them."""
        self._seals = seals
        self._heads = heads
        self._signer = signer

    @activity.defn(name="audit.seal")
    async def seal(self, turn: SealEverything) -> SealTally:
        """Every tenant's entries, each under one seal; two runs at once divide the work.

        A chain whose end was not made by us is left as it is. Raises `ApplicationError` for it, after all the others.
        """
        counts, refused = list[int](), list[str]()
        with typed_failures():
            upto = await self._seals.settled(SEALING, turn.settle_seconds)
            tenants = await self._seals.tenants(SEALING)
            for tenant in tenants:
                try:
                    counts += await self._tenant(tenant, upto)
                except UntrustedSealError as error:
                    refused.append(str(error))
        if refused:
            raise ApplicationError(f"{'; '.join(refused)}: {_ADVICE}", type=TOUCHED, non_retryable=True)
        return SealTally(tenants=len(tenants), seals=len(counts), entries=sum(counts))

    async def _tenant(self, tenant_id: str, upto: int) -> list[int]:
        """How many entries went under each new seal. Raises `UntrustedSealError`."""
        last = await self._end(tenant_id)
        counts: list[int] = []
        while True:
            activity.heartbeat(tenant_id)
            after = 0 if last is None else last.seal.upto
            entries = await self._seals.unsealed(SEALING, tenant_id, after, upto, MOST_SEALED)
            if not entries:
                return counts
            seal = next_seal(None if last is None else last.seal, tenant_id, entries, datetime.now(UTC))
            signed = self._signer.sign_seal(seal)
            if await self._added(signed, Batch.of(entries)):
                last = signed
                counts.append(len(entries))
            else:
                last = await self._after_another(tenant_id, seal.number)

    async def _end(self, tenant_id: str) -> SignedSeal | None:
        """The newest seal. Raises `UntrustedSealError` where a signature under the next would vouch for a forgery.

        One of a key that was rotated out has to be as its copy is; without a place for copies, the key has to be named.
        """
        last = await self._seals.last(SEALING, tenant_id)
        if last is None:
            return None
        name = f"{tenant_id}:{last.seal.number}"
        if self._signer.is_ours(last):
            await self._heads.keep(last)  # a run may have died between the seal and its copy
        elif not self._signer.says(last):
            raise UntrustedSealError(f"the seal {name} is not what was signed")
        elif await self._heads.read(tenant_id, last.seal.number) != last.signature:
            raise UntrustedSealError(
                f"no key of VISITNOW_SIGNING_KEYS and no copy in object storage vouches for {name}"
            )
        return last

    async def _added(self, signed: SignedSeal, batch: Batch) -> bool:
        """Put a seal and its copy there; False where somebody else was quicker.

        Raises `UntrustedSealError` where a copy tells of a seal that the chain does not have (any more).
        """
        tenant_id, number = signed.seal.tenant_id, signed.seal.number
        if await self._heads.read(tenant_id, number) is not None:
            last = await self._seals.last(SEALING, tenant_id)
            if last is None or last.seal.number < number:
                raise UntrustedSealError(f"the chain ends before {tenant_id}:{number}, which object storage has")
            return False
        if not await self._seals.add(SEALING, signed, batch):
            return False
        await self._heads.keep(signed)
        return True

    async def _after_another(self, tenant_id: str, number: int) -> SignedSeal:
        """The seal that somebody else has put there meanwhile. Raises `UntrustedSealError`."""
        for _ in range(_LOOKS):
            last = await self._end(tenant_id)
            if last is not None and last.seal.number >= number:
                return last
            await asyncio.sleep(_PAUSE)
        raise UntrustedSealError(f"what stands in the place of {tenant_id}:{number} is no seal of that chain")
