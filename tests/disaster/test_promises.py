"""What the database promises against the workflows that run: kept, begun again, or named for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from models.promises import Promise, PromiseKind, compared

_K = PromiseKind
VISIT = Promise(_K.APPOINTMENT, "apt_1", "confirmed", "booking:apt_1")
REFUND = Promise(_K.REFUND, "rfd_1", "pending", "refund:rfd_1")


@pytest.mark.parametrize(
    ("promises", "running", "unknown", "kept", "begun_again", "for_a_person"),
    [
        ([VISIT], {"booking:apt_1": "confirmed"}, [], 1, 0, []),
        ([VISIT], {"booking:apt_1": None}, [], 1, 0, []),
        ([VISIT], {}, [], 0, 0, ["appointment apt_1 is confirmed, and its workflow is gone"]),
        (
            [VISIT],
            {"booking:apt_1": "cancelled"},
            [],
            0,
            0,
            ["appointment apt_1 is confirmed in the database and cancelled for its workflow"],
        ),
        ([REFUND], {"refund:rfd_1": None}, [], 1, 0, []),
        ([REFUND, VISIT], {"booking:apt_1": None}, [], 1, 1, []),
        (
            [],
            {"booking:apt_2": "held"},
            ["booking:apt_2"],
            0,
            0,
            ["booking:apt_2 runs for an appointment that the database does not have"],
        ),
    ],
)
def test_each_promise_is_kept_begun_again_or_named(
    promises: Sequence[Promise],
    running: Mapping[str, str | None],
    unknown: Sequence[str],
    kept: int,
    begun_again: int,
    for_a_person: list[str],
) -> None:
    found = compared(promises, running, unknown)
    assert sum(found.kept.values()) == kept
    assert sum(found.begun_again.values()) == begun_again
    assert list(found.for_a_person) == for_a_person
