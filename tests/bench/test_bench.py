"""The bench itself, once, with small numbers: every measure of ours gives a figure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 400
"""A minute and a half alone; a machine that runs other tests beside it takes its time."""
MEASURED = (*range(1, 8), *range(9, 14))
"""All but the peer, which would have to be installed."""


@pytest.mark.timeout(SECONDS + 20)
def test_the_bench_measures_everything(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    only = [part for number in MEASURED for part in ("--only", str(number))]
    command = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--json", str(report), *only]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())["figures"]
    assert {figure["measure"] for figure in figures} == set(MEASURED)
    assert all(figure["value"] is not None for figure in figures)
    assert len([figure for figure in figures if not figure["goal"]]) == 1, "all but one have a goal"
    assert figures[-1]["name"] in done.stdout.replace("\n", " ")
