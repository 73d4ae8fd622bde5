"""Seals of the audit: each tenant's entries in the order in which the database took them, under one signed chain.

A seal is the root of a Merkle tree over a batch of entries, bound to the seal before it. What is hashed are an entry's
bytes as the database keeps them, so nothing about an entry can be other than it was, its place in the order included.
The tree is sixteen-fold: it costs one hash per entry and a fifteenth more, and an entry's proof a few hundred bytes.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, Final, NamedTuple

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime

FANOUT: Final = 16
DIGEST: Final = 32
"""Bytes of a SHA-256."""

MOST_SEALED: Final = 4096
"""Entries under one seal; more of them make several."""

NOTHING_BEFORE: Final = "0" * 64
"""Stands where the first seal of a chain names the one before, and for the root of no entries."""

MARKS: Final = "audit-marks"
"""Nobody's chain: seals over no entries, each of which says that every tenant's entries up to a stamp are sealed."""

MARK_EVERY: Final = timedelta(minutes=30)
MARK_BEHIND: Final = 60
"""Seconds before a run began, of which its mark says nothing, whatever the run itself took for settled."""
MARK_SLACK: Final = timedelta(minutes=10)
"""A seal that was made so long after a mark was not being made when the mark was."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
"""Leaves and nodes are hashed apart, so that neither can stand for the other (RFC 9162, section 2.1)."""

Hex = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


def leaf(entry: bytes) -> bytes:
    """The hash of an entry's bytes."""
    return hashlib.sha256(_LEAF + entry).digest()


def root(leaves: bytes) -> bytes:
    """The root over leaves that stand one after another. Raises ValueError where there is none, or half of one."""
    if not leaves or len(leaves) % DIGEST:
        raise ValueError("a tree stands on whole leaves, at least one")
    level = _above(leaves)
    while len(level) > DIGEST:
        level = _above(level)
    return level


def _above(level: bytes) -> bytes:
    width = FANOUT * DIGEST
    return b"".join(
        hashlib.sha256(_NODE + level[start : start + width]).digest() for start in range(0, len(level), width)
    )


def path(leaves: bytes, index: int) -> tuple[bytes, ...]:
    """What proves a leaf: its siblings and itself, then those of the node above, up to below the root.

    Raises ValueError where there is no such leaf.
    """
    if not 0 <= index < len(leaves) // DIGEST:
        raise ValueError("there is no such leaf")
    groups, level, width = [], leaves, FANOUT * DIGEST
    while True:
        start = index // FANOUT * width
        groups.append(level[start : start + width])
        if len(level) <= width:
            return tuple(groups)
        level, index = _above(level), index // FANOUT


def climb(below: bytes, index: int, count: int, groups: Sequence[bytes]) -> bytes:
    """The root that such a path leads to, over `count` leaves. Raises ValueError where it proves nothing."""
    if not 0 <= index < count:
        raise ValueError("the place is not within the tree")
    for group in groups:
        start = index // FANOUT * FANOUT
        if len(group) != DIGEST * min(FANOUT, count - start):
            raise ValueError("the path has not the tree's shape")
        place = (index - start) * DIGEST
        if group[place : place + DIGEST] != below:
            raise ValueError("the path does not lead over the entry")
        below, index, count = hashlib.sha256(_NODE + group).digest(), index // FANOUT, -(-count // FANOUT)
    if count != 1 or not groups:
        raise ValueError("the path ends before the root")
    return below


class Seal(Model):
    """One link of a tenant's chain; the entries are those whose stamps lie in (after, upto]."""

    tenant_id: Id
    number: int = Field(ge=1)
    count: int = Field(ge=0)
    """None are under a mark."""
    total: int = Field(ge=0)
    """The entries of this seal and all before it."""
    after: int = Field(ge=0)
    upto: int = Field(ge=1)
    """The last entry's stamp, 64 bits of the database's clock."""
    root: Hex
    previous: Hex
    """The digest of the seal before."""
    at: UtcDatetime
    """When the run began that made it, by the database's clock; of a mark, when its run had sealed everything."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What is signed: every field, and the digest over them."""
        return {**self.model_dump(mode="json"), "digest": self.digest}

    @property
    def digest(self) -> str:
        """What the next seal names."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class SignedSeal(Model):
    """A seal with our name under it: a JWS of its facts."""

    seal: Seal
    signature: str


class UntrustedSealError(Exception):
    """A chain must not go on from a seal for which neither a key of ours nor a copy outside the database vouches."""


class StoredEntry(NamedTuple):
    """An entry as the database keeps it."""

    id: str
    stamp: int
    content: bytes


class Batch(NamedTuple):
    """What a seal keeps of its entries, in their order: enough to name each that was touched."""

    ids: tuple[str, ...]
    leaves: bytes

    @classmethod
    def of(cls, entries: Sequence[StoredEntry]) -> Batch:
        """The entries' ids and leaves."""
        return cls(tuple(one.id for one in entries), b"".join(leaf(one.content) for one in entries))


def next_seal(last: Seal | None, tenant_id: str, entries: Sequence[StoredEntry], at: datetime) -> Seal:
    """The seal over these entries, which come right after those of the last one, in the order of their stamps."""
    return Seal(
        tenant_id=tenant_id,
        number=1 if last is None else last.number + 1,
        count=len(entries),
        total=len(entries) + (0 if last is None else last.total),
        after=0 if last is None else last.upto,
        upto=entries[-1].stamp,
        root=root(Batch.of(entries).leaves).hex(),
        previous=NOTHING_BEFORE if last is None else last.digest,
        at=_as_kept(at),
    )


def next_mark(last: Seal | None, upto: int, at: datetime) -> Seal:
    """The mark that says: by then, whatever has a stamp up to `upto` was under a seal, whoever's it is."""
    return Seal(
        tenant_id=MARKS,
        number=1 if last is None else last.number + 1,
        count=0,
        total=0,
        after=0 if last is None else last.upto,
        upto=upto,
        root=NOTHING_BEFORE,
        previous=NOTHING_BEFORE if last is None else last.digest,
        at=_as_kept(at),
    )


class Marks:
    """When everything was sealed up to where: what was put in behind a mark came after it, whatever its stamp says."""

    def __init__(self, marks: Iterable[Seal]) -> None:
        """The marks in any order."""
        ordered = sorted(marks, key=lambda one: one.at)
        self._at = [one.at for one in ordered]
        self._upto = list(accumulate((one.upto for one in ordered), max))

    @property
    def newest(self) -> int:
        """Up to this stamp everything is sealed; 0 where there is no mark."""
        return self._upto[-1] if self._upto else 0

    def sealed_before(self, at: datetime) -> int:
        """The stamp up to which everything had been sealed when a seal of that instant began to be made."""
        marks = bisect_left(self._at, at - MARK_SLACK)
        return self._upto[marks - 1] if marks else 0


def _as_kept(at: datetime) -> datetime:
    """The database keeps milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def instant_of(stamp: int) -> datetime:
    """When the database's clock showed that stamp, to the second."""
    return datetime.fromtimestamp(stamp >> 32, UTC)


class Fault(StrEnum):
    """What can be wrong with an audit."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    SEAL_CHANGED = "seal changed"
    SEAL_MISSING = "seal missing"
    SIGNATURE = "signature not ours"
    CUT_OFF = "cut off"


class Finding(Model):
    """Something that was touched: an entry by its id, or a seal by `<tenant>:<number>`."""

    fault: Fault
    tenant_id: str
    what: str


def follows(last: Seal | None, seal: Seal) -> Fault | None:
    """What is wrong with a seal as the next one of its chain; None where it is."""
    number, digest, upto, total = (
        (0, NOTHING_BEFORE, 0, 0) if last is None else (last.number, last.digest, last.upto, last.total)
    )
    if seal.number != number + 1:
        return Fault.SEAL_MISSING
    linked = (seal.previous, seal.after, seal.total) == (digest, upto, total + seal.count)
    return None if linked and seal.upto > seal.after else Fault.SEAL_CHANGED


def compared(seal: Seal, batch: Batch, present: Sequence[StoredEntry]) -> list[Finding]:
    """What was done to a seal's entries: `present` are those that lie between its stamps now, in their order."""
    if len(batch.ids) != seal.count or len(batch.leaves) != seal.count * DIGEST or _root(batch.leaves) != seal.root:
        return [Finding(fault=Fault.SEAL_CHANGED, tenant_id=seal.tenant_id, what=f"{seal.tenant_id}:{seal.number}")]
    was = {one: batch.leaves[n * DIGEST : (n + 1) * DIGEST] for n, one in enumerate(batch.ids)}
    there = {one.id: leaf(one.content) for one in present}
    order = [one for one in batch.ids if one in there]
    moved = {one for one, now in zip(order, [one.id for one in present if one.id in was], strict=True) if one != now}
    faults = {one: Fault.REMOVED for one in batch.ids if one not in there}
    faults |= {one: Fault.INSERTED for one in there if one not in was}
    for one in order:
        if one in moved:
            faults[one] = Fault.REORDERED
        elif there[one] != was[one]:
            faults[one] = Fault.CHANGED
    return [Finding(fault=fault, tenant_id=seal.tenant_id, what=one) for one, fault in faults.items()]


def _root(leaves: bytes) -> str | None:
    return root(leaves).hex() if leaves else None


def summed_up(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, where an entry that left one place and came to another of the same tenant counts as one moved."""
    gone = {(one.tenant_id, one.what) for one in findings if one.fault is Fault.REMOVED}
    come = {(one.tenant_id, one.what) for one in findings if one.fault is Fault.INSERTED}
    moved = gone & come
    rest = [one for one in findings if (one.tenant_id, one.what) not in moved]
    return [
        *rest,
        *(Finding(fault=Fault.REORDERED, tenant_id=tenant, what=what) for tenant, what in sorted(moved)),
    ]


class Proof(Model):
    """That an entry is under a seal: anybody can check it who has the keys that we publish."""

    entry_id: str
    content: str = Field(description="The entry's bytes (BSON) as hex.")
    index: int
    path: tuple[str, ...]
    seal: Seal
    signature: str


def prove(entry: StoredEntry, signed: SignedSeal, leaves: bytes) -> Proof:
    """The proof of one entry. Raises ValueError where its seal does not hold it as it is."""
    below = leaf(entry.content)
    places = [n for n in range(len(leaves) // DIGEST) if leaves[n * DIGEST : (n + 1) * DIGEST] == below]
    if not places:
        raise ValueError("the seal does not hold the entry as it is")
    proof = Proof(
        entry_id=entry.id,
        content=entry.content.hex(),
        index=places[0],
        path=tuple(group.hex() for group in path(leaves, places[0])),
        seal=signed.seal,
        signature=signed.signature,
    )
    check(proof)
    return proof


def check(proof: Proof) -> None:
    """Raise ValueError where the proof does not lead from the entry to its seal; the signature is another matter."""
    reached = climb(
        leaf(bytes.fromhex(proof.content)),
        proof.index,
        proof.seal.count,
        [bytes.fromhex(group) for group in proof.path],
    )
    if reached.hex() != proof.seal.root:
        raise ValueError("the proof leads elsewhere")
