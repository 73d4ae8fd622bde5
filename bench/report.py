"""The report: a table for people, JSON for everything else."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Verdict
from bench.rig import Plan

_COLOURS = {
    Verdict.HIT: "green",
    Verdict.MISS: "red",
    Verdict.NO_GOAL: "cyan",
    Verdict.SKIPPED: "yellow",
    Verdict.FAILED: "red bold",
}


def show(figures: Sequence[Figure], plan: Plan, console: Console) -> None:
    """Print the table and below it what lies behind each row."""
    table = Table(title=f"VisitNow bench: median of {plan.rounds} interleaved rounds, {_machine()}")
    table.add_column("#", justify="right")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("goal", justify="right")
    table.add_column("")
    for figure in figures:
        value = "–" if figure.value is None else f"{figure.value:.3g}"
        colour = _COLOURS[figure.verdict]
        goal = str(figure.goal or "")
        table.add_row(str(figure.measure), figure.name, value, goal, f"[{colour}]{figure.verdict}[/]")
    console.print(table)
    for number, figure in enumerate(figures):
        if number == 0 or figures[number - 1].measure != figure.measure:
            console.print(f"[bold]{figure.measure}[/]", end=" ")
        else:
            console.print(" ", end=" ")
        console.print(figure.detail, markup=False, soft_wrap=True)


def as_json(figures: Sequence[Figure], plan: Plan, seconds: float) -> str:
    """The report as JSON."""
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "rounds": plan.rounds,
        "seconds": round(seconds, 1),
        "figures": [figure.as_json() for figure in figures],
    }
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def save(text: str, path: Path) -> None:
    """Write the JSON report."""
    path.write_text(text, encoding="utf-8")
