"""What the database promises, and who keeps it: each open thing has a workflow, or something that begins one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from models.base import Model


class PromiseKind(StrEnum):
    """Kinds of open things, by what a person would call them."""

    APPOINTMENT = "appointment"
    REFUND = "refund"
    LEAVE = "leave"
    MESSAGE = "message"
    APPLICATION = "application"
    RIGHTS_REQUEST = "request by right"
    DELETION = "deletion"


BEGUN_AGAIN: Final = frozenset({PromiseKind.REFUND, PromiseKind.LEAVE, PromiseKind.MESSAGE})
"""The schedules find these by themselves: refunds within six hours, leaves and messages within minutes."""


class Promise(NamedTuple):
    """One open thing, its state, and the workflow that keeps it."""

    kind: PromiseKind
    id: str
    state: str
    workflow_id: str


class Kept(Model):
    """What became of the promises: counts by kind, and what a person has to look at, one sentence each."""

    kept: Mapping[PromiseKind, int]
    begun_again: Mapping[PromiseKind, int]
    for_a_person: tuple[str, ...]
    cancelled: tuple[str, ...] = ()
    """Visits that were cancelled after the backup, as their ended workflows say, and are so again."""


def compared(
    promises: Sequence[Promise],
    running: Mapping[str, str | None],
    unknown: Sequence[str],
    revived: Collection[str] = (),
) -> Kept:
    """Promises against the workflows that run: each one's id with the state that it says it is in, where it says so.

    `unknown` are workflows of appointments that the database does not have, `revived` those that were just begun anew.
    """
    kept = dict.fromkeys(PromiseKind, 0)
    begun_again = dict.fromkeys(PromiseKind, 0)
    people = []
    for one in promises:
        if one.workflow_id in revived:
            begun_again[one.kind] += 1
        elif one.workflow_id not in running:
            if one.kind in BEGUN_AGAIN:
                begun_again[one.kind] += 1
            else:
                people.append(f"{one.kind} {one.id} is {one.state}, and its workflow is gone")
        elif (said := running[one.workflow_id]) is not None and said != one.state:
            people.append(f"{one.kind} {one.id} is {one.state} in the database and {said} for its workflow")
        else:
            kept[one.kind] += 1
    people += [f"{one} runs for an appointment that the database does not have" for one in unknown]
    return Kept(kept=kept, begun_again=begun_again, for_a_person=tuple(people))
