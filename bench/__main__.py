"""`python -m bench`: measure everything on the real stack, print a table and write JSON."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from bench.catalogue import RACED
from bench.figures import Figure
from bench.measures import (
    audit,
    bookings,
    growth,
    history,
    listing,
    memory,
    placing,
    race,
    reminders,
    sealed,
    search,
    sign_in,
)
from bench.product import BenchError
from bench.report import as_json, save, show
from bench.rig import QUICK, Plan, Rig, Tell, rig
from cli.output import explained
from cli.signals import stoppable

MEASURES = range(1, 14)
OPEN_FILES = 8192
"""A thousand clients' connections, here and in the API, which inherits the limit."""

MOST_ROUNDS = len(RACED) - 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs, measures nothing")
    parser.add_argument("--only", type=int, action="append", choices=MEASURES, metavar="N", help="one measure, 1 to 13")
    parser.add_argument(
        "--rounds", type=int, choices=range(1, MOST_ROUNDS + 1), metavar="N", help="rounds, 5 if absent"
    )
    parser.add_argument("--json", type=Path, help="where to write the report as JSON; absent: after the table")
    return parser.parse_args()


async def _measure(plan: Plan, wanted: set[int], tell: Tell) -> list[Figure]:
    figures: list[Figure] = []
    async with rig(plan, tell) as system:
        for numbers, measure in _MEASURES:
            if asked := wanted & numbers:
                figures += await _guarded(measure, system, asked)
    return sorted(figures, key=lambda figure: figure.measure)


_MEASURES: tuple[tuple[set[int], Callable[[Rig, set[int]], Awaitable[list[Figure]]]], ...] = (
    # Memory first: an open booking only takes any while the worker's cache has room.
    ({memory.NUMBER}, lambda system, _: memory.measure(system)),
    ({history.NUMBER}, lambda system, _: history.measure(system)),
    ({placing.NUMBER}, lambda system, _: placing.measure(system)),
    ({bookings.NUMBER, bookings.PEER_NUMBER}, bookings.measure),
    ({listing.NUMBER}, lambda system, _: listing.measure(system)),
    ({sealed.NUMBER}, lambda system, _: sealed.measure(system)),
    ({growth.NUMBER}, lambda system, _: growth.measure(system)),
    ({race.NUMBER}, lambda system, _: race.measure(system)),
    ({search.NUMBER}, lambda system, _: search.measure(system)),
    ({sign_in.NUMBER}, lambda system, _: sign_in.measure(system)),
    ({audit.NUMBER}, lambda system, _: audit.measure(system)),
    # Last: what it leaves open would wake up during the others.
    ({reminders.NUMBER}, lambda system, _: reminders.measure(system)),
)


async def _guarded(
    measure: Callable[[Rig, set[int]], Awaitable[list[Figure]]], system: Rig, asked: set[int]
) -> list[Figure]:
    """One measure; where it fails, a row that says so, and the others are measured all the same."""
    try:
        return await measure(system, asked)
    except* (BenchError, OSError, RPCError, WorkflowUpdateRPCTimeoutOrCancelledError) as group:
        reason = next(_leaves(group))
        system.tell(f"failed: {type(reason).__name__}: {reason}")
        system.tell(system.log_tails())
        text = f"{type(reason).__name__}: {reason}"
    return [Figure(number, "not measured", None, None, text, failed=True) for number in sorted(asked)]


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def main() -> int:
    """Measure; 0 also where a goal was missed, since a figure is not a test, and 1 where something did not work."""
    options = _options()
    plan = QUICK if options.quick else Plan()
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    _raise_file_limit()
    progress = Console(stderr=True, highlight=False)
    began = time.monotonic()

    def tell(line: str) -> None:
        progress.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {line}")

    figures: list[Figure] = []
    with explained(), stoppable():
        figures = uvloop.run(_measure(plan, set(options.only or MEASURES), tell))
    if not figures:
        return 1
    report = as_json(figures, plan, time.monotonic() - began)
    show(figures, plan, Console(highlight=False))
    if options.json:
        save(report, options.json)
    else:
        sys.stdout.write(report)
    return int(any(figure.failed for figure in figures))


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
