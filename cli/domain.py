"""`visitnow domain`: a host of a clinic's own, beside its subdomain."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from cli.output import CommandError, console, explained
from cli.running import current_settings
from models.compliance import AuditAction, AuditEntry, audit_of_operator
from models.errors import VisitNowError
from models.identity import System
from models.tenancy import Domain

ATTACHING = System("an operator gives a clinic a host of its own")

app = typer.Typer()


@app.command()
def domain(
    host: Annotated[str, typer.Argument(help="The host's name, as a browser shows it.")],
    clinic: Annotated[str, typer.Argument(help="The clinic's slug.")],
    *,
    verified: Annotated[
        bool, typer.Option(help="Somebody has seen that the name is the clinic's; only then it counts.")
    ] = False,
) -> None:
    """Let a clinic's site be reached at a host of its own (or, with --no-verified, no longer)."""
    with explained():
        kept = asyncio.run(attach(current_settings(), host, clinic, verified=verified))
        console.print(f"{kept.host} is {clinic}'s, {'verified' if kept.verified else 'not verified: it answers 404'}")


async def attach(settings: Settings, host: str, slug: str, *, verified: bool) -> Domain:
    """Keep the host. Raises `CommandError` for a host that is none or another clinic's tenant's, or no such clinic."""
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody_listens, appname="visitnow-domain")
    try:
        clinic = await stores.directory.clinic_by_slug(ATTACHING, slug)
        if clinic is None:
            raise CommandError(f"there is no clinic {slug!r}")
        kept = Domain(host=host.lower(), tenant_id=clinic.tenant_id, clinic_id=clinic.id, verified=verified)
        await stores.tenancy.put_domain(ATTACHING, kept, _entry(kept))
    except ValidationError as error:
        raise CommandError(f"{host!r} is no name of the public internet") from error
    except VisitNowError as error:
        raise CommandError(f"{host!r} belongs to another tenant") from error
    finally:
        await stores.close()
    return kept


def _entry(domain: Domain) -> AuditEntry:
    """Nobody but the operator says whose name it is, so that they said so is in the tenant's audit."""
    entry = audit_of_operator(AuditAction.DOMAIN_ATTACHED, f"{domain.clinic_id}:{domain.host}", datetime.now(UTC))
    why = "said to be verified" if domain.verified else "not verified"
    return entry.model_copy(update={"tenant_id": domain.tenant_id, "why": why})


async def _nobody_listens(practitioner_id: str) -> None:
    """A host changes nobody's time."""
