"""`visitnow token`: an access token for trying the API, in development only."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.accounts import account_of, mint
from cli.output import explained
from cli.running import current_settings
from models.identity import Role

app = typer.Typer()


@app.command()
def token(
    role: Annotated[Role, typer.Option("--as", help="Whose token.")],
    tenant: Annotated[str | None, typer.Option(help="The tenant's slug; absent: the first, or the platform.")] = None,
) -> None:
    """Print an access token, good for 12 hours; development only."""
    with explained():
        sys.stdout.write(f"{mint(current_settings(), account_of(role, tenant))}\n")
