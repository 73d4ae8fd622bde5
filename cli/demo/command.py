"""`visitnow demo`: the whole stack, and a story told on it."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from typing import Annotated, Final

import typer

from cli.accounts import ACCOUNTS, PASSWORD
from cli.demo.acts import IN_TEN_DAYS
from cli.demo.stage import Stage
from cli.demo.story import Played, play, summary
from cli.output import console, errors, explained, show_links
from cli.seed.catalogues import full
from cli.signals import ignore_signals, stoppable
from cli.stack import LocalStack
from models.policy import RetentionSeconds, TenantPolicy

HASTE: Final = TenantPolicy(
    payment_window_seconds=5,
    payment_grace_seconds=2,
    feedback_after_seconds=2,
    deletion_grace_seconds=2,
    retention_seconds=RetentionSeconds(identity=0, clinical=0, financial=0, logs=0),
)
"""The story's tenant knows seconds only, so that nobody waits ten minutes for a hold to expire, or eight years."""

GUEST: Final = 500
WATCH_SECONDS: Final = 0.5

app = typer.Typer()


@app.command()
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the summary: 0 if all went as told, else 1.")] = False,
) -> None:
    """Start everything, play a story of bookings on it and stay until Ctrl-C."""
    well = True
    with explained(), stoppable():
        stack: LocalStack | None = None
        try:
            with console.status("") as status:
                stack = LocalStack(full(HASTE, TenantPolicy()), status.update)
                stack.start()
            played, links = asyncio.run(_tell(stack, stay=not once))
            well = all(one.problem is None for one in played)
            console.print(summary(played))
            show_links(links)
            if not well:
                errors.print(stack.logs(), markup=False, soft_wrap=True)
            if not once:
                console.print("Everything stays up; Ctrl-C ends it and leaves nothing behind.")
            while not once:
                stack.check()
                time.sleep(WATCH_SECONDS)
        finally:
            ignore_signals()
            if stack is not None:
                stack.stop()
    sys.exit(0 if well else 1)


async def _tell(stack: LocalStack, *, stay: bool) -> tuple[list[Played], list[tuple[str, str]]]:
    async with Stage(stack) as stage:
        played = await play(stage)
        links = [*await _workflows(stage, played), *_links(stack)]
        checkout = await _held_for_the_audience(stage) if stay else None
        return played, links if checkout is None else [*links, ("Pay a waiting booking yourself", checkout)]


async def _workflows(stage: Stage, played: list[Played]) -> list[tuple[str, str]]:
    """Where each act's workflow is to be seen; looked up at the end, since a farewell erases those of before."""
    ended = [(one.act.title, one.ending.workflow_id) for one in played if one.ending is not None]
    return [(f"Workflow of “{title}”", await stage.workflow_link(its) or "was erased since") for title, its in ended]


async def _held_for_the_audience(stage: Stage) -> str | None:
    """The checkout page of a booking that waits for whoever is watching; this tenant gives ten minutes."""
    when = await stage.free_time("Lakshmi Subramanian", "Eye examination", timedelta(days=1), IN_TEN_DAYS)
    held = await stage.visitor(GUEST).book(when)
    return held.payment.checkout_url if held.payment else None


def _links(stack: LocalStack) -> list[tuple[str, str]]:
    admin = ACCOUNTS["admin"]
    return [
        ("What came to whose phone and mailbox", f"{stack.sandbox_url}/inbox"),
        ("API docs", f"{stack.api_url}/docs"),
        ("Temporal UI", stack.settings.temporal_ui_url),
        (f"Read its payloads: {admin.email}, {PASSWORD}", stack.sign_in_url),
    ]
