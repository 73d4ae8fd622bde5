"""The people of a development stack, and tokens that speak for them; nobody of these exists in production."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.settings import Settings
from adapters.tokens import TokenMinter
from cli.output import CommandError
from cli.seed import arogya, sanjeevani
from cli.seed.catalogue import Profile
from models.identity import PLATFORM, Account, Role
from models.providers import TenantRecord
from models.sessions import DEVELOPMENT_SESSION

LIFETIME: Final = timedelta(hours=12)
PASSWORD: Final = "visitnow-development"  # noqa: S105  published on purpose: it opens a stack on one's own machine


def patient(number: int, name: str | None = None) -> Account:
    """One of any number of patients, from 1 on."""
    return Account(
        id=f"usr_patient_{number}",
        tenant_id=PLATFORM,
        roles=frozenset({Role.PATIENT}),
        name=name or f"Patient {number}",
        phone=f"+9198000{number:05d}",
    )


def _doctor(profile: Profile, tenant: TenantRecord) -> Account:
    provider = profile.provider
    name = provider.practitioner_id.removeprefix("prc_")
    return Account(
        id=f"usr_{name}_{tenant.slug}",
        tenant_id=tenant.id,
        roles=frozenset({Role.DOCTOR}),
        provider_id=provider.id,
        clinic_ids=frozenset({provider.clinic_id}),
        name=provider.name,
        email=f"{name.replace('_', '.')}@{tenant.slug}.example",
    )


def _employee(role: Role, tenant: TenantRecord, name: str, clinic_ids: frozenset[str] = frozenset()) -> Account:
    return Account(
        id=f"usr_{role}_{tenant.slug}",
        tenant_id=tenant.id,
        roles=frozenset({role}),
        clinic_ids=clinic_ids,
        name=name,
        email=f"{role}@{tenant.slug}.example",
    )


_PLATFORM_ADMIN = Account(
    id="usr_admin_platform",
    tenant_id=PLATFORM,
    roles=frozenset({Role.ADMIN}),
    name="Sunita Pillai",
    email="admin@illajwala.example",
)

ACCOUNTS: Final[Mapping[str, Account]] = {
    "patient": patient(1, "Meena Iyer"),
    "other_patient": patient(2, "Imran Sheikh"),
    "doctor": _doctor(arogya.ANANYA_RAO, arogya.TENANT),
    "staff": _employee(Role.STAFF, arogya.TENANT, "Latha Gowda", frozenset({arogya.INDIRANAGAR.id})),
    "tenant_admin": _employee(Role.ADMIN, arogya.TENANT, "Ramesh Bhat"),
    "admin": _PLATFORM_ADMIN,
    "other_tenant_staff": _employee(Role.STAFF, sanjeevani.TENANT, "Fatima D'Souza", frozenset({sanjeevani.BANDRA.id})),
}
"""The accounts of a ready file, by the names that the contract gives them."""

_BY_ROLE: Final[Mapping[tuple[Role, str], Account]] = {
    (Role.PATIENT, PLATFORM): ACCOUNTS["patient"],
    (Role.DOCTOR, arogya.TENANT.slug): ACCOUNTS["doctor"],
    (Role.DOCTOR, sanjeevani.TENANT.slug): _doctor(sanjeevani.VIKRAM_SHENOY, sanjeevani.TENANT),
    (Role.STAFF, arogya.TENANT.slug): ACCOUNTS["staff"],
    (Role.STAFF, sanjeevani.TENANT.slug): ACCOUNTS["other_tenant_staff"],
    (Role.ADMIN, PLATFORM): ACCOUNTS["admin"],
    (Role.ADMIN, arogya.TENANT.slug): ACCOUNTS["tenant_admin"],
    (Role.ADMIN, sanjeevani.TENANT.slug): _employee(Role.ADMIN, sanjeevani.TENANT, "Harish Shah"),
}


def account_of(role: Role, tenant_slug: str | None) -> Account:
    """The account of a role: of that tenant, else of the first that has one. Raises `CommandError`."""
    tenants = [tenant for known, tenant in _BY_ROLE if known is role]
    if role in (Role.PATIENT, Role.ADMIN) and tenant_slug is None:
        tenant_slug = PLATFORM
    account = _BY_ROLE.get((role, tenant_slug or tenants[0]))
    if account is None:
        raise CommandError(f"there is no {role} account of {tenant_slug!r}, only of {', '.join(tenants)}")
    return account


def everybody() -> tuple[Account, ...]:
    """Every account, each once."""
    return tuple({account.id: account for account in (*ACCOUNTS.values(), *_BY_ROLE.values())}.values())


def described(account: Account, token: str) -> dict[str, str]:
    """What a ready file tells of an account: patients are known by phone, everybody else by e-mail."""
    known = {"phone": account.phone} if account.phone else {"email": account.email or "", "password": PASSWORD}
    provider = {"provider_id": account.provider_id} if account.provider_id else {}
    return {**known, **provider, "access_token": token}


def mint(settings: Settings, account: Account) -> str:
    """An access token good for 12 hours. Raises `CommandError` outside the development profile."""
    if not settings.is_development:
        raise CommandError("tokens are made here in the development profile only")
    return TokenMinter(settings.token_keys).mint(account.principal(DEVELOPMENT_SESSION), LIFETIME, datetime.now(UTC))
