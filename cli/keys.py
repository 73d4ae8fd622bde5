"""`visitnow keys rotate`: every data key of the vault under the newest key-encryption key."""

from __future__ import annotations

import asyncio

import typer

from adapters.connections import mongo_addresses
from adapters.mongo.encryption import RewrapError, Vault
from adapters.settings import Settings
from cli.output import CommandError, console, explained
from cli.running import current_settings

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
    addresses = mongo_addresses(settings)
    vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url)
    done = 0
    try:
        while wrapped := await vault.rewrap():
            done += wrapped
    except RewrapError as error:
        raise CommandError(f"after {done} data keys: {error}") from error
    finally:
        await vault.close()
    return done
