"""The `visitnow` command: one module per subcommand, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

MODULES: Final = {
    "dev": "cli.dev",
    "demo": "cli.demo.command",
    "api": "cli.api",
    "worker": "cli.worker",
    "migrate": "cli.migrate",
    "schedules": "cli.schedules",
    "seed": "cli.seed.command",
    "search": "cli.search",
    "token": "cli.token",
    "ps": "cli.ps",
    "domain": "cli.domain",
    "keys": "cli.keys",
    "audit": "cli.audit",
    "backup": "cli.backup",
    "restore": "cli.restore",
    "drill": "cli.drill",
    "retention": "cli.retention",
    "doctor": "cli.doctor",
    "sightings": "cli.sightings",
    "openapi": "cli.openapi",
}


class Subcommands(TyperGroup):
    """Loads a subcommand with its libraries only when it is used: a worker needs no web framework, and vice versa."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer hides its own Context
        """Every subcommand, in the order of the table."""
        del ctx
        return list(MODULES)

    def get_command(  # type: ignore[override]  # likewise
        self, ctx: typer.Context, cmd_name: str
    ) -> TyperCommand | TyperGroup | None:
        """Import one subcommand; None where there is none of that name."""
        del ctx
        if cmd_name not in MODULES:
            return None
        command = get_command(import_module(MODULES[cmd_name]).app)
        if not isinstance(command, TyperCommand | TyperGroup):
            raise TypeError(f"{MODULES[cmd_name]} holds no command")
        command.name = cmd_name
        return command


app = typer.Typer(cls=Subcommands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@app.callback()
def visitnow() -> None:
    """Illajwala VisitNow: book a visit, pay, come. `visitnow demo` shows it, `visitnow dev` runs it here."""
