"""Sealing the audit: step by step from each chain's end, so that a run that dies anywhere is simply gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.failures import typed_failures
from models.base import Model
from models.identity import System
from models.seal_ports import AuditSeals, SealHeads, SealSigner
from models.seals import (
    MARK_BEHIND,
    MARK_EVERY,
    MARKS,
    MOST_SEALED,
    Batch,
    SignedSeal,
    UntrustedSealError,
    instant_of,
    next_mark,
    next_seal,
)

SEALING = System("every tenant's audit is sealed")
TOUCHED: Final = "audit_touched"
_SHOWN: Final = 10
"""Of what was touched, so much is told at once."""
_LOOKS: Final = 20
_PAUSE: Final = 0.1
"""Seconds between two looks for the seal that somebody else has put there: a majority sees it a moment later."""
_ADVICE: Final = "a person has to look: `visitnow audit verify`, docs/decisions/0024"


class SealEverything(Model):
    """One turn: entries younger than this are left to the next, since others may still come before them."""

    settle_seconds: int


class SealTally(Model):
    """What was sealed."""

    tenants: int = 0
    seals: int = 0
    entries: int = 0


class _Run:
    """One turn: up to where it seals, and what came of it."""

    def __init__(self, seen: int, settle_seconds: int, marked: int) -> None:
        """What the database's clock showed when it began, and up to where everything was sealed before."""
        self.at = instant_of(seen)
        self.upto = max(0, seen - (settle_seconds << 32))
        self.markable = min(self.upto, max(0, seen - (MARK_BEHIND << 32)))
        self.marked = marked
        self.counts: list[int] = []
        """Entries under each new seal."""
        self.late: list[str] = []
        """Entries that a mark says were there before, and were not."""


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

        A chain whose end was not made by us is left as it is, and what came in behind a mark is sealed, so that it
        stays to be found. Raises `ApplicationError` for either, after everything else.
        """
        with typed_failures():
            # Before anything else is read: what it says held then already.
            marked, refused = await self._marked()
            run = _Run(await self._seals.settled(SEALING, 0), turn.settle_seconds, marked)
            tenants = [one for one in await self._seals.tenants(SEALING) if one != MARKS]
            for tenant in tenants:
                try:
                    await self._tenant(tenant, run)
                except UntrustedSealError as error:
                    refused.append(str(error))
            if not refused:
                refused += await self._mark(run)
        touched = refused + [f"{one} came in behind what was sealed" for one in run.late]
        if touched:
            raise ApplicationError(f"{_few(touched)}: {_ADVICE}", type=TOUCHED, non_retryable=True)
        return SealTally(tenants=len(tenants), seals=len(run.counts), entries=sum(run.counts))

    async def _tenant(self, tenant_id: str, run: _Run) -> None:
        """Seal what is settled of one tenant. Raises `UntrustedSealError`."""
        last = await self._end(tenant_id)
        while True:
            activity.heartbeat(tenant_id)
            after = 0 if last is None else last.seal.upto
            entries = await self._seals.unsealed(SEALING, tenant_id, after, run.upto, MOST_SEALED)
            if not entries:
                return
            seal = next_seal(None if last is None else last.seal, tenant_id, entries, run.at)
            signed = self._signer.sign_seal(seal)
            if await self._added(signed, Batch.of(entries)):
                last = signed
                run.counts.append(len(entries))
                run.late += [one.id for one in entries if one.stamp <= run.marked]
            else:
                last = await self._after_another(tenant_id, seal.number)

    async def _marked(self) -> tuple[int, list[str]]:
        """The stamp up to which everything was sealed before this run, and why that cannot be told."""
        try:
            last = await self._end(MARKS)
        except UntrustedSealError as error:
            return 0, [str(error)]
        return 0 if last is None else last.seal.upto, []

    async def _mark(self, run: _Run) -> list[str]:
        """Say that everything is sealed, where that was not said for long; why it could not be said."""
        try:
            last = await self._end(MARKS)
            now = instant_of(await self._seals.settled(SEALING, 0))
            fresh = last is not None and abs(now - last.seal.at) < MARK_EVERY and self._signer.is_ours(last)
            if run.markable > (0 if last is None else last.seal.upto) and not fresh:
                mark = next_mark(None if last is None else last.seal, run.markable, now)
                await self._added(self._signer.sign_seal(mark), Batch((), b""))
        except UntrustedSealError as error:
            return [str(error)]
        return []

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


def _few(lines: Sequence[str]) -> str:
    more = len(lines) - _SHOWN
    return "; ".join([*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])
