"""The seed holds together: ids, tenants, hours and services fit each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cli.accounts import ACCOUNTS, account_of, everybody
from cli.output import CommandError
from cli.policy import parse_policy
from cli.seed.catalogue import Catalogue, Profile
from cli.seed.catalogues import bare, full
from models.availability import slots
from models.identity import PLATFORM, Role
from models.policy import TenantPolicy
from models.tenancy import RESERVED_NAMES

POLICY = TenantPolicy()
FULL = full(POLICY)
A_SUNDAY = datetime(2027, 3, 7, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize("catalogue", [FULL, bare(POLICY)], ids=["full", "bare"])
def test_everything_points_to_something_that_is_there(catalogue: Catalogue) -> None:
    tenants = {tenant.id for tenant in catalogue.tenants}
    clinics = {clinic.id: clinic for clinic in catalogue.clinics}
    people = {person.id for person in catalogue.practitioners}
    providers = {profile.provider.id for profile in catalogue.profiles}
    assert {clinic.tenant_id for clinic in catalogue.clinics} <= tenants
    for profile in catalogue.profiles:
        assert clinics[profile.provider.clinic_id].tenant_id == profile.provider.tenant_id
        assert profile.provider.practitioner_id in people
    for account in catalogue.accounts:
        assert account.provider_id is None or account.provider_id in providers
        assert account.clinic_ids <= clinics.keys()


def test_ids_are_unique_services_included() -> None:
    services = [service.id for profile in FULL.profiles for service in profile.provider.services]
    assert len(services) == len(set(services))
    assert len({profile.provider.id for profile in FULL.profiles}) == len(FULL.profiles)
    assert len({account.id for account in everybody()}) == len(everybody())


def test_it_is_as_large_and_as_varied_as_promised() -> None:
    assert len({clinic.tenant_id for clinic in FULL.clinics}) == 2
    assert len(FULL.clinics) >= 4
    assert len({clinic.timezone for clinic in FULL.clinics}) >= 2
    assert len(FULL.practitioners) >= 12
    assert len({name for profile in FULL.profiles for name in profile.provider.specialties}) >= 8
    payments = {service.payment for profile in FULL.profiles for service in profile.provider.services}
    assert payments == {"online", "at_clinic", "free"}
    assert any(rule.capacity for profile in FULL.profiles for rule in profile.availability.weekly)
    assert any(rule.end <= rule.start for profile in FULL.profiles for rule in profile.availability.weekly)
    tenants_of: dict[str, set[str]] = {}
    for profile in FULL.profiles:
        tenants_of.setdefault(profile.provider.practitioner_id, set()).add(profile.provider.tenant_id)
    assert any(len(tenants) == 2 for tenants in tenants_of.values())


@pytest.mark.parametrize("profile", [*FULL.profiles, *bare(POLICY).profiles], ids=lambda one: one.provider.id)
def test_every_service_has_times_within_a_week(profile: Profile) -> None:
    [zone] = {ZoneInfo(clinic.timezone) for clinic in FULL.clinics if clinic.id == profile.provider.clinic_id}
    first = A_SUNDAY.astimezone(zone).date()
    for service in profile.provider.services:
        found = slots(
            profile.availability, service.timing, zone, first, first + timedelta(days=7), A_SUNDAY,
            busy=(), min_notice_minutes=POLICY.min_notice_minutes, horizon_days=POLICY.horizon_days,
        )  # fmt: skip
        assert found, service.name
        assert all(one.end <= other.start for one, other in pairwise(found))


def test_an_account_is_found_by_role_and_tenant() -> None:
    assert account_of(Role.PATIENT, None) == ACCOUNTS["patient"]
    assert account_of(Role.DOCTOR, None) == ACCOUNTS["doctor"]
    assert account_of(Role.ADMIN, None) == ACCOUNTS["admin"]
    assert account_of(Role.ADMIN, "arogya") == ACCOUNTS["tenant_admin"]
    assert account_of(Role.STAFF, "sanjeevani") == ACCOUNTS["other_tenant_staff"]
    with pytest.raises(CommandError, match="arogya, sanjeevani"):
        account_of(Role.STAFF, "nowhere")


@pytest.mark.parametrize("seed", [full, bare])
def test_a_policy_of_the_command_line_rules_the_platform_s_reviews_too(
    seed: Callable[[TenantPolicy], Catalogue],
) -> None:
    catalogue = seed(parse_policy(["sla_hours=0.5"]))
    [platform] = [tenant for tenant in catalogue.tenants if tenant.id == PLATFORM]
    assert platform.policy.sla_hours == 0.5
    assert platform.slug in RESERVED_NAMES
    assert all(clinic.tenant_id != PLATFORM for clinic in catalogue.clinics)
