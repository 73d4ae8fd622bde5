"""The two seeds: everything, and only what the development accounts need."""

from __future__ import annotations

from cli.accounts import ACCOUNTS, everybody
from cli.seed import arogya, people, sanjeevani
from cli.seed.catalogue import Catalogue
from models.identity import PLATFORM
from models.policy import TenantPolicy
from models.providers import TenantRecord


def full(policy: TenantPolicy, others_policy: TenantPolicy | None = None) -> Catalogue:
    """Both groups of clinics with all their doctors; `others_policy` is the second group's, where it differs."""
    return Catalogue(
        tenants=(platform(policy), _with(arogya.TENANT, policy), _with(sanjeevani.TENANT, others_policy or policy)),
        clinics=(*arogya.CLINICS, *sanjeevani.CLINICS),
        practitioners=people.EVERYBODY,
        profiles=(*arogya.PROFILES, *sanjeevani.PROFILES),
        accounts=everybody(),
    )


def bare(policy: TenantPolicy) -> Catalogue:
    """Both tenants with the one clinic that the accounts belong to, and the doctor account's profile."""
    return Catalogue(
        tenants=(platform(policy), _with(arogya.TENANT, policy), _with(sanjeevani.TENANT, policy)),
        clinics=(arogya.INDIRANAGAR, sanjeevani.BANDRA),
        practitioners=(people.ANANYA_RAO,),
        profiles=(arogya.EMPTY_STACK_PROFILE,),
        accounts=tuple(ACCOUNTS.values()),
    )


def platform(policy: TenantPolicy) -> TenantRecord:
    """The platform's own settings, which rule reviews of applications; it has no clinic and is listed nowhere."""
    return TenantRecord(id=PLATFORM, slug=PLATFORM, name="Illajwala VisitNow", policy=policy)


def _with(tenant: TenantRecord, policy: TenantPolicy) -> TenantRecord:
    return tenant.model_copy(update={"policy": policy})
