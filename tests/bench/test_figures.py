import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Figure, Goal, Sample, Verdict, at_least, at_most, median_ratio, percentile
from bench.report import as_json
from bench.rig import Plan

LATENCIES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=300)


def test_a_percentile_is_the_nearest_rank() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert [percentile(hundred, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0], 99) == 3


@given(LATENCIES, st.floats(min_value=0.1, max_value=100))
def test_a_percentile_is_a_sample_that_enough_others_do_not_exceed(samples: list[float], percent: float) -> None:
    found = percentile(samples, percent)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= len(samples) * percent / 100
    assert sum(sample < found for sample in samples) < len(samples) * percent / 100


@pytest.mark.parametrize(("samples", "percent"), [([], 50.0), ([1.0], 0.0), ([1.0], 100.5), ([1.0], -1.0)])
def test_a_percentile_of_nothing_is_refused(samples: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match=r"no samples|within"):
        percentile(samples, percent)


def test_a_sample_tells_its_rate_and_latencies_in_milliseconds() -> None:
    sample = Sample(done=4, seconds=2.0, latencies=(0.1, 0.2, 0.3, 0.4))
    assert (sample.rate, sample.p50, sample.p99) == (2.0, 200.0, 400.0)


def test_a_round_that_slowed_both_sides_down_does_not_move_the_median_ratio() -> None:
    assert median_ratio([10, 11, 1], [20, 22, 2]) == 0.5


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], []), ([1.0], [1.0, 2.0])])
def test_a_ratio_needs_both_sides_of_each_round(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="both sides"):
        median_ratio(ours, theirs)


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (at_least(0.75), 0.75, Verdict.HIT),
        (at_least(0.75), 0.7499, Verdict.MISS),
        (at_most(1.4), 1.4, Verdict.HIT),
        (at_most(1.4), 1.41, Verdict.MISS),
        (at_least(0.75), float("nan"), Verdict.MISS),
        (at_most(1.4), float("nan"), Verdict.MISS),
        (None, 3.0, Verdict.NO_GOAL),
        (at_most(1), None, Verdict.SKIPPED),
    ],
)
def test_a_verdict_follows_from_value_and_goal(goal: Goal | None, value: float | None, verdict: Verdict) -> None:
    assert Figure(1, "a measure", value, goal, "").verdict is verdict


def test_what_failed_is_no_hit() -> None:
    assert Figure(1, "a measure", 1.0, at_most(1), "", failed=True).verdict is Verdict.FAILED


def test_the_report_carries_each_figure_with_its_goal_and_rounds() -> None:
    figure = Figure(2, "place", 1.5, at_most(1.4), "detail", rounds={"ours": [3.0, 2.0]})
    report = json.loads(as_json([figure], Plan(rounds=2), 12.34))
    assert report["rounds"] == 2
    assert report["seconds"] == 12.3
    assert report["figures"] == [
        {
            "measure": 2,
            "name": "place",
            "value": 1.5,
            "goal": "≤ 1.4",
            "verdict": "MISS",
            "detail": "detail",
            "failed": False,
            "rounds": {"ours": [3.0, 2.0]},
        }
    ]
