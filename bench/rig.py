"""What every measure works with: the running stack, its clients, the baselines and how much to measure."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.baselines import Baselines, baselines
from bench.catalogue import catalogue
from bench.product import Product, product
from cli.stack import LocalStack

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is measured; both sides of a ratio get the same."""

    rounds: int = 5
    bookings: int = 120
    bookings_in_flight: int = 32
    placements: int = 100
    placements_in_flight: int = 4
    listing_seconds: float = 2.0
    listing_in_flight: int = 16
    doctors: int = 50
    growth: int = 10
    growth_requests: int = 150
    searched: int = 1000
    sign_ins: int = 200
    audited: int = 1_000_000
    racers: int = 1000
    open_workflows: int = 80
    reminders_open: int = 20_000
    reminders_due: int = 1000
    reminders_due_seconds: int = 60
    warm_up: int = 60


QUICK = Plan(
    rounds=2,
    bookings=20,
    bookings_in_flight=8,
    placements=8,
    listing_seconds=0.3,
    doctors=10,
    growth_requests=20,
    searched=60,
    sign_ins=20,
    audited=10_000,
    racers=60,
    open_workflows=6,
    reminders_open=60,
    reminders_due=10,
    reminders_due_seconds=2,
    warm_up=4,
)
"""Enough to see that every measure runs; its figures mean little."""


@dataclass(frozen=True)
class Rig:
    """The stack under test and everything around it."""

    stack: LocalStack
    product: Product
    baselines: Baselines
    plan: Plan
    folder: Path
    tell: Tell

    @property
    def product_pids(self) -> Mapping[str, int]:
        """The processes that a booking of the product keeps busy."""
        return self.stack.pids

    @property
    def baseline_pids(self) -> Mapping[str, int]:
        """The processes that a workflow of a baseline keeps busy."""
        return {"temporal": self.stack.pids["temporal"], "worker": self.baselines.worker.pid}

    def log_tails(self) -> str:
        """What the processes under test wrote last, for the report of a failure."""
        logs = {"the bench's worker": self.baselines.worker.log_tail()}
        for name in ("api", "worker"):
            logs[name] = self.stack.log_tail(name)
        return "\n".join(f"-- {name}:\n{text}" for name, text in logs.items())


@asynccontextmanager
async def rig(plan: Plan, tell: Tell) -> AsyncIterator[Rig]:
    """Start everything; end it with the block. Raises `ProvisionError`, `StartError`."""
    stack = LocalStack(catalogue(plan.doctors), tell)
    await asyncio.to_thread(stack.start)
    try:
        with tempfile.TemporaryDirectory(prefix="visitnow-bench-") as folder:
            async with (
                product(stack.api_url, stack.settings) as client,
                baselines(stack.settings, Path(folder)) as others,
            ):
                yield Rig(stack, client, others, plan, Path(folder), tell)
    finally:
        await asyncio.to_thread(stack.stop)
