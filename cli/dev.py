"""`visitnow dev`: the whole stack on this machine, until it is told to stop."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.accounts import ACCOUNTS, PASSWORD, described, mint
from cli.output import CommandError, console, explained, show_links
from cli.policy import parse_policy
from cli.seed.catalogues import bare, full
from cli.signals import ignore_signals, stoppable
from cli.stack import LocalStack

WATCH_SECONDS: Final = 0.5

app = typer.Typer()


@app.command()
def dev(
    ready_file: Annotated[
        Path | None, typer.Option(help="Where to write, as JSON, how everything is reached, once all is ready.")
    ] = None,
    *,
    empty: Annotated[bool, typer.Option("--empty", help="Accounts and their tenants only, no seed data.")] = False,
    policy: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, a tenant policy's default; may be repeated.")
    ] = None,
) -> None:
    """Start servers, sandbox, API and workers with seed data; stay until Ctrl-C."""
    defaults = parse_policy(policy or [])
    catalogue = bare(defaults) if empty else full(defaults)
    with explained(), stoppable():
        _refuse_unwritable(ready_file)
        stack: LocalStack | None = None
        try:
            with console.status("") as status:
                stack = LocalStack(catalogue, status.update)
                stack.start()
            _announce(stack)
            if ready_file is not None:
                write_ready_file(stack, ready_file)
            while True:
                stack.check()
                time.sleep(WATCH_SECONDS)
        finally:
            ignore_signals()
            if stack is not None:
                stack.stop()


def _refuse_unwritable(path: Path | None) -> None:
    if path is not None and not os.access(path.parent, os.W_OK):
        raise CommandError(f"the ready file cannot be written: {path.parent} is not a writable folder")


def write_ready_file(stack: LocalStack, path: Path) -> None:
    """Write how everything is reached, complete or not at all, readable by its owner only."""
    settings = stack.settings
    ready = {
        "api_url": stack.api_url,
        "temporal_address": settings.temporal_address,
        "temporal_namespace": settings.temporal_namespace,
        "temporal_ui_url": settings.temporal_ui_url,
        "mongodb_url": settings.mongodb_url.get_secret_value(),
        "redis_url": settings.redis_url.get_secret_value(),
        "sandbox_url": stack.sandbox_url,
        "accounts": {name: described(account, mint(settings, account)) for name, account in ACCOUNTS.items()},
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(ready, file, indent=2)
    unfinished.replace(path)


def _announce(stack: LocalStack) -> None:
    settings = stack.settings
    workflows = f"{settings.temporal_ui_url}/namespaces/{settings.temporal_namespace}/workflows"
    console.print("[green bold]VisitNow is running[/]; Ctrl-C ends it and everything it started.")
    show_links(
        [
            ("API", f"{stack.api_url}/docs"),
            ("Temporal UI", workflows),
            ("Its payloads", stack.sign_in_url),
            ("Payments", stack.sandbox_url),
            ("Inboxes", f"{stack.sandbox_url}/inbox"),
        ]
    )
    admin = ACCOUNTS["admin"]
    console.print(f"To read payloads there, sign in as [bold]{admin.email}[/] with [bold]{PASSWORD}[/].")
    console.print("In another terminal: [bold]visitnow token --as patient[/], [bold]visitnow ps[/].")
