"""Verifying the audit: every entry against its seal, every seal against the one before and against its copy.

What was verified is kept in a state file where one is given, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from adapters.mongo.seals import KeptSeal, MongoAuditSeals, leaves_in
from adapters.seal_heads import StoredSealHeads
from adapters.tokens import Statements
from models.base import Model
from models.identity import System
from models.seals import (
    MARK_SLACK,
    MARKS,
    Batch,
    Fault,
    Finding,
    Marks,
    Seal,
    SignedSeal,
    compared,
    follows,
    root,
    summed_up,
)

VERIFYING: Final = System("every tenant's audit is verified")
SEALS_AT_ONCE: Final = 64
MARKS_AT_ONCE: Final = 1_000
ENTRIES_AT_ONCE: Final = 50_000
"""So many are read with one query, however small their seals are."""
_FOREVER: Final = 2**64 - 1

Told = Callable[[int], None]


class State(Model):
    """How far a verification has come: each tenant's last verified seal, and what was found up to there."""

    last: dict[str, Seal] = Field(default_factory=dict)
    entries: int = 0
    findings: tuple[Finding, ...] = ()


class Report(Model):
    """What came of it."""

    tenants: int
    seals: int
    entries: int
    """Entries under seals that were looked at."""
    unsealed: int
    oldest_unsealed: int | None
    """When the oldest entry that is under no seal was written, in seconds since 1970."""
    copies_missing: tuple[str, ...]
    """Tenants whose newest seals have no copy outside the database."""
    findings: tuple[Finding, ...]


def load_state(path: Path | None) -> State:
    """What a run before has left; nothing where there was none. Raises ValueError for a file that is no state."""
    if path is None or not path.exists():
        return State()
    return State.model_validate_json(path.read_bytes())


def forget_state(path: Path | None) -> None:
    """A run that came to its end leaves nothing to go on with."""
    if path is not None:
        path.unlink(missing_ok=True)


def save_state(path: Path | None, state: State) -> None:
    """Replace the file at once, so that it is whole whenever the run ends."""
    if path is None:
        return
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(state.model_dump_json(), encoding="utf-8")
    fresh.replace(path)


class Verifier:
    """Looks at everything once."""

    def __init__(self, seals: MongoAuditSeals, heads: StoredSealHeads, statements: Statements) -> None:
        """Entries and seals, the copies of seals, and the keys that signed them."""
        self._seals = seals
        self._heads = heads
        self._statements = statements

    async def sealed(self) -> int:
        """How many entries there are to look at."""
        last = [await self._seals.last(VERIFYING, one) for one in await self._seals.tenants(VERIFYING)]
        return sum(one.seal.total for one in last if one is not None)

    async def run(self, state: State, told: Told, keep: Callable[[State], None]) -> Report:
        """Verify from there; `told` hears of entries that are done, `keep` gets the state after each stretch."""
        # Both before the seals are read: what they tell of was there by then.
        copies, marks = await self._heads.newest(), await self._marks()
        seen = await self._seals.settled(VERIFYING, 0)
        tenants = sorted({*await self._seals.tenants(VERIFYING), *copies})
        unsealed, oldest, missing = 0, [], []
        for tenant in tenants:
            state = await self._tenant(tenant, marks, state, told, keep)
            last = state.last.get(tenant)
            findings = await self._end(tenant, last, copies.get(tenant, 0))
            later, lost = await self._rest(tenant, last, marks.newest, seen)
            new = [one for one in (*findings, *lost) if one not in state.findings]
            state = state.model_copy(update={"findings": (*state.findings, *new)})
            unsealed += later
            oldest += [await self._oldest(tenant, last)] if later else []
            if self._heads.configured and last is not None and copies.get(tenant, 0) < last.number - 1:
                missing.append(tenant)
        return Report(
            tenants=len([one for one in tenants if one != MARKS]),
            seals=sum(one.number for tenant, one in state.last.items() if tenant != MARKS),
            entries=state.entries,
            unsealed=unsealed,
            oldest_unsealed=min((one for one in oldest if one is not None), default=None),
            copies_missing=tuple(missing),
            findings=tuple(summed_up(state.findings)),
        )

    async def _marks(self) -> Marks:
        """When everything was sealed up to where; what comes after the last of our own is anybody's."""
        found: list[SignedSeal] = []
        number = 0
        while kept := await self._seals.page(VERIFYING, MARKS, number, MARKS_AT_ONCE):
            found += [one.signed for one in kept]
            number = found[-1].seal.number
        while found and not self._statements.is_ours(found[-1]):
            found.pop()
        return Marks(one.seal for one in found)

    async def _tenant(
        self, tenant: str, marks: Marks, state: State, told: Told, keep: Callable[[State], None]
    ) -> State:
        """One chain from the last verified seal to its end."""
        while kept := await self._seals.page(VERIFYING, tenant, _number(state.last.get(tenant)), SEALS_AT_ONCE):
            for group in _groups(kept):
                findings = await self._group(state.last.get(tenant), group)
                late = await self._late(group, marks)
                count = sum(one.signed.seal.count for one in group)
                state = State(
                    last={**state.last, tenant: group[-1].signed.seal},
                    entries=state.entries + count,
                    findings=(*state.findings, *findings, *(one for one in late if one not in findings)),
                )
                keep(state)
                told(count)
        return state

    async def _group(self, last: Seal | None, group: Sequence[KeptSeal]) -> list[Finding]:
        """Seals that follow one another, and all their entries with one query."""
        findings = self._links(last, group, await self._copies(group))
        first, end = group[0].signed.seal, group[-1].signed.seal
        if first.tenant_id == MARKS:
            return findings
        whole = all(_stands(one) for one in group)
        if not findings and whole and await self._leaves(first, end) == b"".join(one.leaves for one in group):
            return []
        for one in group:
            findings += await self._looked_into(one)
        return findings

    async def _copies(self, group: Sequence[KeptSeal]) -> list[str | None]:
        """What object storage has of each of these seals: as many reads at once as a page has seals."""
        seals = [one.signed.seal for one in group]
        return await asyncio.gather(*(self._heads.read(one.tenant_id, one.number) for one in seals))

    def _links(self, last: Seal | None, group: Sequence[KeptSeal], copies: Sequence[str | None]) -> list[Finding]:
        findings: list[Finding] = []
        blamed = False
        for (signed, _), copy in zip(group, copies, strict=True):
            seal = signed.seal
            known = self._statements.knows_key_of(signed.signature)
            genuine = self._statements.is_ours(signed) if known else self._statements.says(signed)
            forged = not genuine or copy not in {None, signed.signature}
            if not known and copy is None and self._heads.configured:
                findings.append(_about(Fault.SIGNATURE, seal, seal.number))
            fault = Fault.SEAL_CHANGED if forged else follows(last, seal)
            if fault is Fault.SEAL_MISSING:
                findings.append(_about(fault, seal, _number(last) + 1))
            elif fault is not None and (forged or not blamed):
                # What follows a seal that was changed no longer fits, and is not to blame.
                findings.append(_about(fault, seal, seal.number))
            last, blamed = seal, forged
        return findings

    async def _leaves(self, first: Seal, end: Seal) -> bytes:
        """The leaves of what lies between the seals' stamps; hashing goes on while the next is read."""
        leaves: list[bytes] = []
        reading = self._seals.raw(VERIFYING, first.tenant_id, first.after, end.upto)
        batch = await anext(reading, None)
        while batch is not None:
            hashing = asyncio.create_task(asyncio.to_thread(leaves_in, batch))
            batch = await anext(reading, None)
            leaves.append(await hashing)
        return b"".join(leaves)

    async def _looked_into(self, kept: KeptSeal) -> list[Finding]:
        """One seal's entries, each by itself."""
        seal = kept.signed.seal
        batch = Batch(await self._seals.ids(VERIFYING, seal.tenant_id, seal.number), kept.leaves)
        return compared(seal, batch, await self._seals.between(VERIFYING, seal.tenant_id, seal.after, seal.upto))

    async def _end(self, tenant: str, last: Seal | None, copied: int) -> list[Finding]:
        """The end of a chain against what lies outside the database, and against our keys."""
        if copied > _number(last):
            return [Finding(fault=Fault.CUT_OFF, tenant_id=tenant, what=f"{tenant}:{copied}")]
        newest = await self._seals.last(VERIFYING, tenant)
        if newest is not None and not self._statements.knows_key_of(newest.signature):
            return [_about(Fault.SIGNATURE, newest.seal, newest.seal.number)]
        return []

    async def _late(self, group: Sequence[KeptSeal], marks: Marks) -> list[Finding]:
        """Entries under these seals that were put in behind a mark: it says that they were not there."""
        seals = [one.signed.seal for one in group if one.signed.seal.tenant_id != MARKS]
        spans = [(one.after, min(one.upto, marks.sealed_before(one.at))) for one in seals]
        return await self._inserted(group[0].signed.seal.tenant_id, spans)

    async def _inserted(self, tenant: str, spans: Sequence[tuple[int, int]]) -> list[Finding]:
        """A finding for each entry whose stamp lies in one of these spans, where none can be."""
        reading = [self._seals.between(VERIFYING, tenant, after, upto) for after, upto in spans if after < upto]
        found = [one for entries in await asyncio.gather(*reading) for one in entries]
        return [Finding(fault=Fault.INSERTED, tenant_id=tenant, what=one.id) for one in found]

    async def _rest(self, tenant: str, last: Seal | None, marked: int, seen: int) -> tuple[int, list[Finding]]:
        """How many entries wait for a seal, and those that cannot: behind the marks, of a time to come, without one."""
        after = 0 if last is None else last.upto
        soon = seen + (int(MARK_SLACK.total_seconds()) << 32)
        spans = [(0, _FOREVER)] if tenant == MARKS else [(after, marked), (max(after, soon), _FOREVER)]
        findings = await self._inserted(tenant, spans)
        later, everything = await self._seals.count(VERIFYING, tenant, after)
        if everything - later != (0 if last is None else last.total):
            astray = await self._seals.unstamped(VERIFYING, tenant)
            findings += [Finding(fault=Fault.INSERTED, tenant_id=tenant, what=one) for one in astray]
        return later, findings

    async def _oldest(self, tenant: str, last: Seal | None) -> int | None:
        after = 0 if last is None else last.upto
        found = await self._seals.unsealed(VERIFYING, tenant, after, _FOREVER, 1)
        return found[0].stamp >> 32 if found else None


def _number(seal: Seal | None) -> int:
    return 0 if seal is None else seal.number


def _stands(kept: KeptSeal) -> bool:
    return bool(kept.leaves) and root(kept.leaves).hex() == kept.signed.seal.root


def _about(fault: Fault, seal: Seal, number: int) -> Finding:
    return Finding(fault=fault, tenant_id=seal.tenant_id, what=f"{seal.tenant_id}:{number}")


def _groups(kept: Sequence[KeptSeal]) -> Iterator[list[KeptSeal]]:
    group: list[KeptSeal] = []
    for one in kept:
        group.append(one)
        if sum(each.signed.seal.count for each in group) >= ENTRIES_AT_ONCE:
            yield group
            group = []
    if group:
        yield group
