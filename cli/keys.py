"""`visitnow keys rotate`: every data key of the vault under the newest key-encryption key."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import typer

from adapters.connections import mongo_addresses
from adapters.mongo.encryption import RewrapError
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from cli.output import CommandError, console, explained
from cli.running import current_settings
from models.compliance import AuditAction, audit_of_operator

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """The keys of what is encrypted at rest."""


@app.command()
def rotate() -> None:
    """Wrap all data keys under the first key of KMS_URL; can be stopped and repeated at will.

    Nothing that is sealed changes, and everything can be read meanwhile. When this has ended, the older key may leave
    the setting.
    """
    with explained():
        console.print(f"{asyncio.run(rewrap_all(current_settings()))} data keys were wrapped anew; none is left")


async def rewrap_all(settings: Settings) -> int:
    """How many were not under the newest key. Raises `CommandError` where an older key is missing in the setting."""
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody_listens, appname="visitnow-keys")
    vault = stores.vault
    done = 0
    try:
        await stores.audit.append([audit_of_operator(AuditAction.KEYS_REWRAPPED, "keys", datetime.now(UTC))])
        while wrapped := await vault.rewrap():
            done += wrapped
    except RewrapError as error:
        raise CommandError(f"after {done} data keys: {error}") from error
    finally:
        await stores.close()
    return done


async def _nobody_listens(practitioner_id: str) -> None:
    """Keys change nobody's time."""
