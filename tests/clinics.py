"""Clinics that only tests know, beside the seed's: payments within seconds, small groups, strict rules.

Their doctors work around the clock, so that every test finds a free time wherever it needs one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cli.seed.catalogue import AROUND_THE_CLOCK, EVERY_DAY, Catalogue, Profile, hours, practitioner, profile, service
from cli.seed.catalogues import full
from models.identity import Account, Role
from models.policy import RefundStep, TenantPolicy
from models.providers import Clinic, Location, PaymentMode, Practitioner, TenantRecord

QUICK = TenantPolicy(payment_window_seconds=2, payment_grace_seconds=1, max_unpaid_holds=10_000)
"""Expiry can be waited for."""

FLASH = TenantPolicy(payment_window_seconds=1, payment_grace_seconds=0, max_unpaid_holds=10_000)
"""Whoever does not pay at once is too late."""

BRISK = TenantPolicy(absence_choice_seconds=12, max_unpaid_holds=10_000)
"""Whoever's doctor is away makes up their mind within seconds."""

STRICT = TenantPolicy(
    max_unpaid_holds=2,
    min_notice_minutes=180,
    horizon_days=5,
    refund_schedule=(RefundStep(hours_before=24, percent=100), RefundStep(hours_before=6, percent=40)),
)
"""Rules that a test can run into."""

PROMPT = TenantPolicy(delivery_receipt_timeout_seconds=2, max_unpaid_holds=10_000)
"""A message that brings no receipt within two seconds is followed by one on another channel."""

_STEADY = TenantRecord(id="tnt_steady", slug="steady", name="Steady Clinics")
SWIFT_TENANT = TenantRecord(id="tnt_swift", slug="swift", name="Swift Clinics", policy=QUICK)
_FLASH = TenantRecord(id="tnt_flash", slug="flash", name="Flash Clinics", policy=FLASH)
STRICT_TENANT = TenantRecord(id="tnt_strict", slug="strict", name="Strict Clinics", policy=STRICT)
_PROMPT = TenantRecord(id="tnt_prompt", slug="prompt", name="Prompt Clinics", policy=PROMPT)
_BRISK = TenantRecord(id="tnt_brisk", slug="brisk", name="Brisk Clinics", policy=BRISK)
_SUPPLE = TenantRecord(id="tnt_supple", slug="supple", name="Supple Clinics")
"""Its admin changes the settings while tests run; nobody else relies on them."""


@dataclass(frozen=True)
class Offer:
    """A service of a provider, as a request to book names it."""

    provider_id: str
    service_id: str


def _clinic(tenant: TenantRecord) -> Clinic:
    return Clinic(
        id=f"cln_{tenant.slug}_central",
        tenant_id=tenant.id,
        slug=f"{tenant.slug}-central",
        name=f"{tenant.name} Central",
        timezone="Asia/Kolkata",
        address="1 Station Road, Nashik 422001",
        city="Nashik",
        location=Location(latitude=19.9975, longitude=73.7898),
    )


def _person(tenant: TenantRecord, what: str) -> Practitioner:
    name = f"Dr. {tenant.slug.title()} {what.title()}"
    return practitioner(f"{tenant.slug}_{what}", name, "female", "Maharashtra Medical Council", f"{what}-1", 2010)


def _open(tenant: TenantRecord) -> Profile:
    return profile(
        _person(tenant, "open"),
        _clinic(tenant),
        ("General medicine",),
        ("en",),
        hours(EVERY_DAY, AROUND_THE_CLOCK),
        (
            service("visit", "Consultation", 15, 600),
            service("long", "Long consultation", 30, 1000, buffers=(5, 10)),
            service("prepared", "Small surgery", 15, 1500, buffers=(30, 0)).model_copy(
                update={"slot_step_minutes": 15}
            ),
            service("desk", "Consultation, paid at the clinic", 15, 600, payment=PaymentMode.AT_CLINIC),
            service("free", "Follow-up", 15, 0),
        ),
    )


def _group(tenant: TenantRecord, capacity: int) -> Profile:
    return profile(
        _person(tenant, "group"),
        _clinic(tenant),
        ("Physiotherapy",),
        ("en",),
        hours(EVERY_DAY, AROUND_THE_CLOCK, capacity=capacity),
        (service("class", "Back class", 30, 300), service("talk", "Open talk", 30, 0)),
    )


SEATS = 4
_TENANTS = (_STEADY, _BRISK, SWIFT_TENANT, _FLASH, STRICT_TENANT, _SUPPLE, _PROMPT)
_PROFILES = tuple(one for tenant in _TENANTS for one in (_open(tenant), _group(tenant, SEATS)))


def offer(tenant: str, key: str, doctor: str = "open") -> Offer:
    """A service of one of these clinics: `offer("swift", "visit")`."""
    clinic = f"{tenant}-central"
    return Offer(f"prv_{tenant}_{doctor}_{clinic}", f"svc_{tenant}_{doctor}_{clinic}_{key}")


def employee(tenant: str, role: Role) -> Account:
    """Somebody who works at one of these clinics; the doctor is the one who works around the clock."""
    return Account(
        id=f"usr_{role}_{tenant}",
        tenant_id=f"tnt_{tenant}",
        roles=frozenset({role}),
        provider_id=offer(tenant, "visit").provider_id if role is Role.DOCTOR else None,
        clinic_ids=frozenset() if role is Role.ADMIN else frozenset({f"cln_{tenant}_central"}),
        name=f"The {role}",
        email=f"{role}@{tenant}.example",
    )


def catalogue(policy: TenantPolicy) -> Catalogue:
    """The whole seed, and these clinics beside it; `policy` rules wherever none of their own does."""
    seed = full(policy)
    steady = _STEADY.model_copy(update={"policy": policy})
    return replace(
        seed,
        tenants=(*seed.tenants, steady, *_TENANTS[1:]),
        clinics=(*seed.clinics, *(_clinic(tenant) for tenant in _TENANTS)),
        practitioners=(*seed.practitioners, *(_person(one, what) for one in _TENANTS for what in ("open", "group"))),
        profiles=(*seed.profiles, *_PROFILES),
    )
