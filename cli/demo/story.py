"""Plays the acts one after another, with a line for each, and sums up."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from pydantic import ValidationError
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.demo.acts import ACTS, Act
from cli.demo.stage import Ending, Say, Stage, StoryError
from cli.output import console


@dataclass(frozen=True)
class Played:
    """An act that was played; `problem` says what went otherwise than expected."""

    act: Act
    ending: Ending | None
    problem: str | None


async def play(stage: Stage) -> list[Played]:
    """Play every act, whatever became of those before it."""
    columns = (SpinnerColumn(finished_text=" "), TextColumn("{task.description}"), TimeElapsedColumn())
    played = []
    with Progress(*columns, console=console) as progress:
        for act in ACTS:
            line = progress.add_task(f"[bold]{act.title}[/]", total=1)

            def say(words: str, *, act: Act = act, line: TaskID = line) -> None:
                progress.update(line, description=f"[bold]{act.title}[/]: {words}")

            played.append(await _play_one(act, stage, say))
            say(_verdict(played[-1]))
            progress.update(line, completed=1)
    return played


async def _play_one(act: Act, stage: Stage, say: Say) -> Played:
    try:
        ending = await act.play(stage, say)
    except StoryError as error:
        return Played(act, None, str(error))
    except (httpx.HTTPError, ValidationError) as error:
        return Played(act, None, f"{type(error).__name__}: {error}")
    stands = (ending.appointment.state, ending.appointment.payment_state) if ending.appointment else (None, None)
    problem = None if stands == (act.state, act.payment_state) else f"ended as {' / '.join(map(str, stands))}"
    return Played(act, ending, problem)


def _verdict(played: Played) -> str:
    if played.problem is not None:
        return f"[red]{escape(played.problem)}[/]"
    return f"[green]{escape(played.ending.happened) if played.ending else ''}[/]"


def summary(played: list[Played]) -> Table:
    """One row per act: what should have happened, what did, and where to read it up."""
    table = Table(title="What the story said, and what happened", title_justify="left")
    for heading in ("act", "expected", "what happened", "state", "payment"):
        table.add_column(heading)
    for one in played:
        appointment = one.ending.appointment if one.ending else None
        table.add_row(
            one.act.title,
            one.act.expected,
            _verdict(one),
            appointment.state if appointment else "-",
            appointment.payment_state if appointment else "-",
        )
    return table
