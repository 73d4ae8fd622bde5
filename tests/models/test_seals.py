"""The tree, the chain, and what each way of touching an audit looks like."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.seals import (
    DIGEST,
    FANOUT,
    MARK_SLACK,
    Batch,
    Fault,
    Finding,
    Marks,
    Seal,
    SignedSeal,
    StoredEntry,
    check,
    climb,
    compared,
    follows,
    leaf,
    next_mark,
    next_seal,
    path,
    prove,
    root,
    summed_up,
)

NOW = datetime(2027, 1, 5, 10, tzinfo=UTC)
COUNTS = st.one_of(st.integers(1, 40), st.sampled_from([FANOUT**2 - 1, FANOUT**2, FANOUT**2 + 1, 700]))


def entries(count: int, first: int = 1) -> list[StoredEntry]:
    """Entries with stamps one after another."""
    return [StoredEntry(f"aud_{n}", n, f"entry {n}".encode()) for n in range(first, first + count)]


def leaves_of(count: int) -> bytes:
    return Batch.of(entries(count)).leaves


@given(COUNTS, st.data())
@settings(max_examples=60)
def test_every_leaf_leads_to_the_root_and_to_no_other(count: int, data: st.DataObject) -> None:
    leaves = leaves_of(count)
    index = data.draw(st.integers(0, count - 1))
    own = leaves[index * DIGEST : (index + 1) * DIGEST]
    groups = path(leaves, index)
    assert climb(own, index, count, groups) == root(leaves)
    for wrong in ((leaf(b"another"), index, count, groups), (own, index, count, groups[:-1]), (own, index, count, ())):
        with pytest.raises(ValueError, match="path"):
            climb(*wrong)
    other = data.draw(st.integers(-1, count).filter(lambda one: one != index))
    with pytest.raises(ValueError, match=r"path|place"):
        climb(own, other, count, groups)


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=60)
def test_another_number_of_leaves_is_another_root(one: int, other: int) -> None:
    assert (root(leaves_of(one)) == root(leaves_of(other))) is (one == other)


@given(COUNTS, st.data())
@settings(max_examples=60)
def test_any_changed_bit_of_a_leaf_changes_the_root(count: int, data: st.DataObject) -> None:
    leaves = bytearray(leaves_of(count))
    before = root(bytes(leaves))
    leaves[data.draw(st.integers(0, len(leaves) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert root(bytes(leaves)) != before


def test_a_node_is_no_leaf_and_a_tree_needs_whole_leaves() -> None:
    leaves = leaves_of(FANOUT + 1)
    level = leaf(b"") * 2
    assert root(level) != leaf(level)
    for wrong in (b"", leaves[:-1]):
        with pytest.raises(ValueError, match="whole leaves"):
            root(wrong)
    with pytest.raises(ValueError, match="no such leaf"):
        path(leaves, FANOUT + 1)


def chain(*counts: int) -> list[tuple[Seal, list[StoredEntry]]]:
    """A chain of seals over that many entries each."""
    found: list[tuple[Seal, list[StoredEntry]]] = []
    for count in counts:
        last = found[-1][0] if found else None
        batch = entries(count, 1 + sum(counts[: len(found)]))
        found.append((next_seal(last, "tnt_a", batch, NOW), batch))
    return found


def test_each_seal_follows_the_one_before_and_no_other() -> None:
    [(one, _), (two, _), (three, _)] = chain(3, 5, 1)
    assert [follows(None, one), follows(one, two), follows(two, three)] == [None] * 3
    assert follows(one, three) is Fault.SEAL_MISSING
    assert follows(None, two) is Fault.SEAL_MISSING
    for changed in (
        {"count": 4}, {"total": 9}, {"after": 0}, {"upto": 3}, {"previous": "0" * 64},
    ):  # fmt: skip
        assert follows(one, two.model_copy(update=changed)) is Fault.SEAL_CHANGED
    rewritten = one.model_copy(update={"root": two.root})
    assert follows(rewritten, two) is Fault.SEAL_CHANGED, "a seal that was changed no longer precedes the next"


MINUTES = st.lists(st.integers(1, 10_000), min_size=1, max_size=20, unique=True)


@given(MINUTES, st.integers(1, 10_000))
def test_a_mark_counts_for_seals_that_were_begun_well_after_it(made: list[int], begun: int) -> None:
    marks: list[Seal] = []
    for minute in sorted(made):
        marks.append(next_mark(marks[-1] if marks else None, minute << 32, NOW + timedelta(minutes=minute)))
    assert [follows(last, mark) for last, mark in itertools.pairwise([None, *marks]) if mark] == [None] * len(marks)
    known = Marks(reversed(marks))
    before = [one for one in sorted(made) if one < begun - MARK_SLACK.total_seconds() // 60]
    assert known.newest == max(made) << 32
    assert known.sealed_before(NOW + timedelta(minutes=begun)) == (before[-1] << 32 if before else 0)


def test_without_a_mark_nothing_was_sealed_before() -> None:
    assert (Marks([]).newest, Marks([]).sealed_before(NOW)) == (0, 0)


def test_a_seal_over_nothing_is_no_seal_of_entries() -> None:
    empty = next_mark(None, 9, NOW).model_copy(update={"tenant_id": "tnt_a"})
    assert [one.fault for one in compared(empty, Batch((), b""), [])] == [Fault.SEAL_CHANGED]


@given(st.integers(2, 60), st.data())
@settings(max_examples=80)
def test_each_way_of_touching_an_entry_is_found_and_named(count: int, data: st.DataObject) -> None:
    [(seal, batch)] = chain(count)
    kept = Batch.of(batch)
    assert compared(seal, kept, batch) == []
    at = data.draw(st.integers(0, count - 1))
    touched, whole = batch[at], list(batch)

    changed = touched._replace(content=touched.content + b"x")
    assert named(compared(seal, kept, [*whole[:at], changed, *whole[at + 1 :]])) == {touched.id: Fault.CHANGED}
    assert named(compared(seal, kept, [*whole[:at], *whole[at + 1 :]])) == {touched.id: Fault.REMOVED}
    extra = StoredEntry("aud_forged", touched.stamp, b"forged")
    assert named(compared(seal, kept, [*whole[:at], extra, *whole[at:]])) == {"aud_forged": Fault.INSERTED}
    other = data.draw(st.integers(0, count - 1).filter(lambda one: one != at))
    swapped = list(whole)
    swapped[at], swapped[other] = whole[other], whole[at]
    found = named(compared(seal, kept, swapped))
    assert set(found.values()) == {Fault.REORDERED}
    assert {touched.id, whole[other].id} <= found.keys()


def named(findings: list[Finding]) -> dict[str, Fault]:
    return {one.what: one.fault for one in findings}


def test_what_a_seal_keeps_of_its_entries_cannot_be_changed_with_them() -> None:
    [(seal, batch)] = chain(20)
    forged = [batch[0]._replace(content=b"forged"), *batch[1:]]
    for kept in (Batch.of(forged), Batch.of(batch[1:]), Batch((), b""), Batch(Batch.of(batch).ids, b"")):
        assert [one.fault for one in compared(seal, kept, forged)] == [Fault.SEAL_CHANGED]


def test_an_entry_that_left_one_seal_for_another_was_moved() -> None:
    def of(fault: Fault, what: str, tenant: str = "tnt_a") -> Finding:
        return Finding(fault=fault, tenant_id=tenant, what=what)

    findings = [of(Fault.REMOVED, "a"), of(Fault.CHANGED, "b"), of(Fault.INSERTED, "a"), of(Fault.REMOVED, "c")]
    assert named(summed_up(findings)) == {"a": Fault.REORDERED, "b": Fault.CHANGED, "c": Fault.REMOVED}
    apart = [of(Fault.REMOVED, "a"), of(Fault.INSERTED, "a", "tnt_b")]
    assert summed_up(apart) == apart


@given(st.integers(1, 300), st.data())
@settings(max_examples=40)
def test_a_proof_holds_for_its_entry_only(count: int, data: st.DataObject) -> None:
    [(seal, batch)] = chain(count)
    signed = SignedSeal(seal=seal, signature="s")
    entry = data.draw(st.sampled_from(batch))
    proof = prove(entry, signed, Batch.of(batch).leaves)
    check(proof)
    for changed in ({"content": b"forged".hex()}, {"index": count}, {"path": proof.path[:-1]}):
        with pytest.raises(ValueError, match=r"path|place"):
            check(proof.model_copy(update=changed))
    with pytest.raises(ValueError, match="elsewhere"):
        check(proof.model_copy(update={"seal": seal.model_copy(update={"root": "0" * 64})}))
    with pytest.raises(ValueError, match="does not hold"):
        prove(entry._replace(content=b"forged"), signed, Batch.of(batch).leaves)
