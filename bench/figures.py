"""The arithmetic of a measurement: medians, percentiles, ratios and whether a goal was hit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

MILLI = 1000.0


def percentile(samples: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest sample that `percent` % of all samples do not exceed.

    Raises `ValueError` where there is no sample or `percent` is not within (0, 100].
    """
    if not samples:
        raise ValueError("no samples")
    if not 0 < percent <= 100:  # noqa: PLR2004  a percentage
        raise ValueError("percent must lie within (0, 100]")
    return sorted(samples)[math.ceil(len(samples) * percent / 100) - 1]


@dataclass(frozen=True)
class Sample:
    """One round of one side: how many were done in how many seconds, and how long each took (seconds)."""

    done: int
    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """How many were done per second."""
        return self.done / self.seconds

    @property
    def p50(self) -> float:
        """The middle latency in milliseconds."""
        return percentile(self.latencies, 50) * MILLI

    @property
    def p99(self) -> float:
        """The latency in milliseconds that one in a hundred exceeds."""
        return percentile(self.latencies, 99) * MILLI


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios. Rounds are interleaved, so a machine that slows down slows both sides of one.

    Raises `ValueError` where the sides have not the same number of rounds, or none.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError("each round needs both sides")
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


class Verdict(StrEnum):
    """Whether a goal was hit."""

    HIT = "HIT"
    MISS = "MISS"
    NO_GOAL = "no goal"
    SKIPPED = "skipped"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Goal:
    """A bound on a figure."""

    bound: float
    at_least: bool

    def __str__(self) -> str:
        """The bound as the table shows it."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def verdict(self, value: float) -> Verdict:
        """Whether a value keeps the bound; one that is not a number does not."""
        kept = value >= self.bound if self.at_least else value <= self.bound
        return Verdict.HIT if kept else Verdict.MISS


def at_least(bound: float) -> Goal:
    """A goal that big values hit."""
    return Goal(bound, at_least=True)


def at_most(bound: float) -> Goal:
    """A goal that small values hit."""
    return Goal(bound, at_least=False)


@dataclass(frozen=True)
class Figure:
    """One row of the report. `value` is None where it could not be measured; `detail` says what lies behind it."""

    measure: int
    name: str
    value: float | None
    goal: Goal | None
    detail: str
    failed: bool = False
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """What each round measured, by side; for the JSON."""

    @property
    def verdict(self) -> Verdict:
        """Whether the goal was hit."""
        if self.failed:
            return Verdict.FAILED
        if self.value is None:
            return Verdict.SKIPPED
        return self.goal.verdict(self.value) if self.goal else Verdict.NO_GOAL

    def as_json(self) -> dict[str, object]:
        """The row as it goes into the JSON report."""
        row = asdict(self)
        row["goal"] = str(self.goal) if self.goal else None
        row["verdict"] = self.verdict
        return row
