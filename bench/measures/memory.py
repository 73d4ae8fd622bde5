"""What an open booking keeps in the worker's memory, against an open no-op workflow."""

from __future__ import annotations

import statistics

from bench.figures import Figure, at_most
from bench.load import Job, closed_loop
from bench.processes import resident_bytes
from bench.rig import Rig

NUMBER = 6
LIMIT_SECONDS = 90.0
IN_FLIGHT = 16
KIB = 1024


async def measure(rig: Rig) -> list[Figure]:
    """Row 6. Runs before everything else, while the workers' caches have room: what is not cached costs nothing."""
    grown: dict[str, list[float]] = {"booking": [], "noop": []}
    sides = {
        "booking": (rig.product.book, rig.product_pids["worker"]),
        "noop": (rig.baselines.open_noop, rig.baselines.worker.pid),
    }
    for job, _ in sides.values():
        rig.tell("memory: warming up")
        await closed_loop(job, rig.plan.warm_up, IN_FLIGHT, limit=LIMIT_SECONDS)
    for number in range(rig.plan.rounds):
        for name, (job, pid) in sides.items():
            rig.tell(f"memory: round {number + 1} of {rig.plan.rounds}, {name}")
            grown[name].append(await _grown(job, pid, rig.plan.open_workflows))
    # Each side's own median: memory grows in steps, so the two sides' rounds have nothing to do with each other.
    ours, theirs = (statistics.median(grown[name]) for name in sides)
    detail = (
        f"{ours / KIB:.0f} against {theirs / KIB:.0f} KiB, {rig.plan.rounds} × {rig.plan.open_workflows} workflows; "
        "a booking is open and confirmed"
    )
    name = "worker's RSS per open booking ÷ per open no-op"
    return [Figure(NUMBER, name, ours / max(theirs, 1), at_most(1.5), detail, rounds=grown)]


async def _grown(job: Job, pid: int, count: int) -> float:
    before = resident_bytes(pid)
    await closed_loop(job, count, IN_FLIGHT, limit=LIMIT_SECONDS)
    return (resident_bytes(pid) - before) / count
