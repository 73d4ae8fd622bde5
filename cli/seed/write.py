"""Writes a seed through the repositories; the second time changes nothing but the time of writing."""

from __future__ import annotations

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.passwords import Argon2
from adapters.settings import Settings
from cli.accounts import PASSWORD
from cli.seed.catalogue import Catalogue
from models.identity import System

SEEDING = System("the development seed writes both tenants")


async def write(settings: Settings, catalogue: Catalogue) -> None:
    """Write everything, parents first."""
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody_listens, appname="visitnow-seed")
    try:
        await _write_catalogue(stores, catalogue)
        await _write_accounts(stores, catalogue)
    finally:
        await stores.close()


async def _write_accounts(stores: Repositories, catalogue: Catalogue) -> None:
    hashed = Argon2().hash(PASSWORD)  # one for all: the password is published anyway
    for account in catalogue.accounts:
        await stores.users.put(SEEDING, account)
        if not account.is_patient:
            await stores.users.set_password(SEEDING, account.id, hashed)


async def _nobody_listens(practitioner_id: str) -> None:
    """A seed claims nobody's time, so there is nothing to tell."""


async def _write_catalogue(stores: Repositories, catalogue: Catalogue) -> None:
    directory = stores.directory
    for tenant in catalogue.tenants:
        await directory.put_tenant(SEEDING, tenant)
    for clinic in catalogue.clinics:
        await directory.put_clinic(SEEDING, clinic)
    for practitioner in catalogue.practitioners:
        await directory.put_practitioner(SEEDING, practitioner)
    for profile in catalogue.profiles:
        await directory.put_provider(SEEDING, profile.provider)
        await directory.put_availability(SEEDING, profile.provider, profile.availability)
