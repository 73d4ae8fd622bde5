"""How many paid bookings a second, against the bare booking, the no-op workflow and DBOS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.figures import Figure, Sample, at_least, median_ratio
from bench.load import Job, closed_loop
from bench.peers.dbos import DbosBooking, PeerMissingError, dbos_booking
from bench.processes import CpuMeter
from bench.rig import Rig

LIMIT_SECONDS = 120.0
NUMBER, PEER_NUMBER = 1, 8

Round = Callable[[], Awaitable[Sample]]


@dataclass
class Side:
    """One competitor and what its rounds gave."""

    run: Round
    meter: CpuMeter
    samples: list[Sample] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Its rounds' rates."""
        return [sample.rate for sample in self.samples]

    async def play(self) -> None:
        """One round."""
        self.meter.start()
        sample = await self.run()
        await self.meter.settled()
        self.meter.stop(sample.done)
        self.samples.append(sample)


async def measure(rig: Rig, wanted: set[int]) -> list[Figure]:
    """Rows 1 and 8."""
    async with AsyncExitStack() as stack:
        sides = {
            "booking": Side(_job(rig, rig.product.book), CpuMeter(rig.product_pids)),
            "skeleton": Side(_job(rig, rig.baselines.book), CpuMeter(rig.baseline_pids)),
            "noop": Side(_job(rig, rig.baselines.noop), CpuMeter(rig.baseline_pids)),
        }
        missing = None
        if PEER_NUMBER in wanted:
            try:
                peer = await stack.enter_async_context(dbos_booking())
                sides["dbos"] = Side(_peer(rig, peer), CpuMeter({"dbos": peer.pid}))
            except PeerMissingError as error:
                missing = str(error)
        await _play(rig, sides)
    rows = _rows(rig, sides) if NUMBER in wanted else []
    return rows + (_peer_rows(rig, sides, missing) if PEER_NUMBER in wanted else [])


async def _play(rig: Rig, sides: Mapping[str, Side]) -> None:
    for name, side in sides.items():
        rig.tell(f"bookings: warming {name} up")
        await side.run()
    for number in range(rig.plan.rounds):
        for name, side in sides.items():
            rig.tell(f"bookings: round {number + 1} of {rig.plan.rounds}, {name}")
            await side.play()


def _job(rig: Rig, job: Job) -> Round:
    plan = rig.plan
    return lambda: closed_loop(job, plan.bookings, plan.bookings_in_flight, limit=LIMIT_SECONDS)


def _peer(rig: Rig, peer: DbosBooking) -> Round:
    return lambda: peer.book(rig.plan.bookings, rig.plan.bookings_in_flight)


def _rows(rig: Rig, sides: Mapping[str, Side]) -> list[Figure]:
    ours, skeleton, noop = sides["booking"], sides["skeleton"], sides["noop"]
    rates = {name: side.rates for name, side in sides.items()}
    in_flight = f"{rig.plan.bookings_in_flight} in flight"
    return [
        Figure(
            NUMBER,
            "paid bookings/s ÷ bare bookings/s",
            median_ratio(ours.rates, skeleton.rates),
            at_least(0.75),
            f"{_middle(ours)} against {_middle(skeleton)}, {in_flight}; a booking costs {ours.meter}, "
            f"a bare one {skeleton.meter}",
            rounds=rates,
        ),
        Figure(
            NUMBER,
            "paid bookings/s ÷ no-op workflows/s",
            median_ratio(ours.rates, noop.rates),
            at_least(0.55),
            f"{_middle(ours)} against {_middle(noop)}; a no-op costs {noop.meter}; bare booking ÷ no-op "
            f"{median_ratio(skeleton.rates, noop.rates):.2f}",
            rounds=rates,
        ),
    ]


def _peer_rows(rig: Rig, sides: Mapping[str, Side], missing: str | None) -> list[Figure]:
    name = "paid bookings/s ÷ bare bookings/s on DBOS and PostgreSQL"
    if missing is not None:
        return [Figure(PEER_NUMBER, name, None, None, f"skipped: {missing}")]
    ours, skeleton, peer = sides["booking"], sides["skeleton"], sides["dbos"]
    bare = median_ratio(skeleton.rates, peer.rates)
    return [
        Figure(
            PEER_NUMBER,
            name,
            median_ratio(ours.rates, peer.rates),
            None,
            f"{_middle(ours)} against {_middle(peer)}, whose steps are empty; bare against bare {bare:.2f}; "
            f"{rig.plan.bookings_in_flight} in flight, PostgreSQL with synchronous_commit=off",
            rounds={"booking": ours.rates, "skeleton": skeleton.rates, "dbos": peer.rates},
        )
    ]


def _middle(side: Side) -> str:
    middle = sorted(side.samples, key=lambda sample: sample.rate)[len(side.samples) // 2]
    return f"{middle.rate:.1f}/s (p50 {middle.p50:.0f}, p99 {middle.p99:.0f} ms)"
