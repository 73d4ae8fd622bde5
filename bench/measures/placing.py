"""How long a patient waits for `POST /v1/appointments`, against the bare booking's update-with-start."""

from __future__ import annotations

from bench.figures import Figure, Sample, at_most, median_ratio, percentile
from bench.load import Job, closed_loop
from bench.processes import CpuMeter
from bench.rig import Rig

NUMBER = 2
LIMIT_SECONDS = 60.0
MILLI = 1000.0


async def measure(rig: Rig) -> list[Figure]:
    """Row 2."""
    ours: list[Sample] = []
    theirs: list[Sample] = []
    meter, their_meter = CpuMeter(rig.product_pids), CpuMeter(rig.baseline_pids)
    await _round(rig, rig.product.only_place)
    await _round(rig, rig.baselines.only_place)
    for number in range(rig.plan.rounds):
        rig.tell(f"placing: round {number + 1} of {rig.plan.rounds}")
        for job, samples, used in (
            (rig.product.only_place, ours, meter),
            (rig.baselines.only_place, theirs, their_meter),
        ):
            used.start()
            sample = await _round(rig, job)
            await used.settled()
            used.stop(sample.done)
            samples.append(sample)
    middles = {"post": [one.p50 for one in ours], "update-with-start": [one.p50 for one in theirs]}
    slowest = [f"{_p99(side):.0f}" for side in (ours, theirs)]
    detail = (
        f"p50 {_p50(ours):.0f} against {_p50(theirs):.0f} ms, p99 {slowest[0]} against {slowest[1]} ms, "
        f"{rig.plan.placements_in_flight} in flight; {meter} against {their_meter}"
    )
    value = median_ratio(middles["post"], middles["update-with-start"])
    name = "POST /v1/appointments p50 ÷ bare update-with-start p50"
    return [Figure(NUMBER, name, value, at_most(1.4), detail, rounds=middles)]


async def _round(rig: Rig, job: Job) -> Sample:
    return await closed_loop(job, rig.plan.placements, rig.plan.placements_in_flight, limit=LIMIT_SECONDS)


def _p50(samples: list[Sample]) -> float:
    return percentile([latency for sample in samples for latency in sample.latencies], 50) * MILLI


def _p99(samples: list[Sample]) -> float:
    """Over all rounds together: one round is too short for a hundredth."""
    return percentile([latency for sample in samples for latency in sample.latencies], 99) * MILLI
