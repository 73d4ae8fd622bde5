"""The directory: what is written is found, by name and by filter, page after page."""

from __future__ import annotations

import asyncio

import pytest

from adapters.mongo.repositories import Repositories
from models.availability import Availability, WeeklyRule
from models.errors import VisitNowError
from models.identity import Clinics, OwnProvider, Public, Scope, Subject, System, Tenant
from models.money import Money
from models.policy import TenantPolicy
from models.providers import Clinic, PaymentMode, Practitioner, Provider, Service, TenantRecord, VisitMode
from models.search import SearchQuery, folded, words
from tests.adapters.mongo.builders import a_clinic, a_provider, new

SEED = System("tests write both tenants")
HOURS = Availability(weekly=(WeeklyRule(weekday=0, start="09:00", end="13:00"),), min_notice_minutes=30)


async def published(stores: Repositories, clinic: Clinic, **changes: object) -> Provider:
    provider = a_provider(clinic, **changes)
    await stores.directory.put_provider(SEED, provider)
    return provider


async def a_place(stores: Repositories, **changes: object) -> Clinic:
    clinic = a_clinic(**{"tenant_id": new("ten"), **changes})
    tenant = TenantRecord(id=clinic.tenant_id, slug=clinic.slug, name="Arogya", policy=TenantPolicy(horizon_days=9))
    await stores.directory.put_tenant(SEED, tenant)
    await stores.directory.put_clinic(SEED, clinic)
    return clinic


async def found(stores: Repositories, city: str, limit: int = 50, **filters: object) -> list[str]:
    """Names on all pages of a city of the test's own, in the order of the fees and then the ids."""
    query = SearchQuery.model_validate({"city": city, "sort": "fee", **filters})
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await stores.search.page(Public(), query, limit, cursor)
        assert len(page.items) <= limit
        ids += [one.provider_id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(set(ids)) == len(ids)
    profiles = await stores.directory.profiles(Public(), ids)
    return [profiles[one].name for one in ids]


async def test_an_offering_is_everything_that_decides_a_booking(stores: Repositories) -> None:
    clinic = await a_place(stores)
    provider = await published(stores, clinic)
    before = await stores.directory.offering(Public(), provider.id)
    assert before is not None
    assert before.availability == Availability(), "no hours, no slots"
    await stores.directory.put_availability(SEED, provider, HOURS)
    offering = await stores.directory.offering(Public(), provider.id)
    assert offering is not None
    assert (offering.provider, offering.clinic, offering.availability) == (provider, clinic, HOURS)
    assert (offering.tenant.id, offering.horizon_days, offering.min_notice_minutes) == (clinic.tenant_id, 9, 30)


async def test_who_is_not_live_cannot_be_booked_but_can_be_shown(stores: Repositories) -> None:
    city = new("City")
    clinic = await a_place(stores, city=city)
    provider = await published(stores, clinic, live=False)
    assert await stores.directory.offering(Public(), provider.id) is None
    assert await stores.directory.offering(Tenant(clinic.tenant_id), provider.id) is None
    assert await found(stores, city) == []
    assert await stores.directory.profiles(Public(), [provider.id]) == {}
    assert await stores.directory.profiles(Subject("usr_1"), [provider.id, "prv_none"]) == {provider.id: provider}


async def test_what_a_scope_may_see_of_the_directory(stores: Repositories) -> None:
    clinic = await a_place(stores)
    provider = await published(stores, clinic)
    mine, other = clinic.tenant_id, new("ten")
    scopes: list[tuple[Scope, bool]] = [
        (Public(), True),
        (Subject("usr_1"), True),
        (System("test"), True),
        (Tenant(mine), True),
        (Clinics(mine, frozenset()), True),
        (OwnProvider(mine, "prv_another"), True),
        (Tenant(other), False),
        (Clinics(other, frozenset({clinic.id})), False),
        (OwnProvider(other, provider.id), False),
    ]
    for scope, sees in scopes:
        assert bool(await stores.directory.offering(scope, provider.id)) is sees
        assert bool(await stores.directory.profiles(scope, [provider.id])) is sees
        assert bool(await stores.directory.clinics(scope, [clinic.id])) is sees
        assert bool(await stores.directory.clinic_by_slug(scope, clinic.slug)) is sees
        page = await stores.search.page(scope, SearchQuery(city=clinic.city), 100, None)
        assert (provider.id in {one.provider_id for one in page.items}) is sees


async def test_filters_narrow_the_list(stores: Repositories) -> None:
    city = new("São Paulo")
    clinic = await a_place(stores, city=city)
    video = Service(id="svc_v", name="Call", duration_minutes=15, fee=Money(amount=30_000), mode=VisitMode.VIDEO)
    free = Service(id="svc_f", name="Camp", duration_minutes=15, fee=Money(amount=0), payment=PaymentMode.FREE)
    await published(stores, clinic, name="Ananya Rao", languages=("en", "kn"))
    await published(
        stores, clinic, name="Vikram Rao", gender="male", specialties=("General Medicine", "Diabetology"),
        services=(video,), languages=("hi",),
    )  # fmt: skip
    await published(stores, clinic, name="Meera D'Souza-Rao", specialties=("Dermatology",), services=(free, video))
    await published(stores, clinic, name="Nobody Yet", services=(), specialties=("Cardiology",))
    everybody = ["Ananya Rao", "Meera D'Souza-Rao", "Nobody Yet", "Vikram Rao"]
    cases: list[tuple[dict[str, object], list[str]]] = [
        ({}, everybody),
        ({"q": "rao"}, ["Ananya Rao", "Meera D'Souza-Rao", "Vikram Rao"]),
        ({"q": "RA vik"}, ["Vikram Rao"]),
        ({"q": "souz"}, ["Meera D'Souza-Rao"]),
        ({"q": "diab"}, ["Vikram Rao"]),
        ({"q": "ao"}, []),
        ({"q": "..."}, everybody),
        ({"q": ".*"}, []),
        ({"q": "hridaya"}, []),
        ({"q": "heart"}, ["Ananya Rao", "Nobody Yet"]),
        ({"q": "khujlee"}, ["Meera D'Souza-Rao"]),
        ({"q": "mira"}, ["Meera D'Souza-Rao"]),
        ({"q": "wikram"}, ["Vikram Rao"]),
        ({"q": "vikram" + "x" * 70}, []),
        ({"specialty": "cardiology"}, ["Ananya Rao", "Nobody Yet"]),
        ({"specialty": "Cardio"}, []),
        ({"language": "kn"}, ["Ananya Rao", "Meera D'Souza-Rao", "Nobody Yet"]),
        ({"language": "hi", "gender": "male"}, ["Vikram Rao"]),
        ({"mode": "video"}, ["Meera D'Souza-Rao", "Vikram Rao"]),
        ({"gender": "male"}, ["Vikram Rao"]),
        ({"fee_max": 30_000}, ["Meera D'Souza-Rao", "Vikram Rao"]),
        ({"fee_max": 0}, ["Meera D'Souza-Rao"]),
        ({"q": "rao", "specialty": "Dermatology", "fee_max": 1}, ["Meera D'Souza-Rao"]),
    ]
    for filters, expected in cases:
        assert sorted(await found(stores, city.upper().replace("Ã", "A"), 2, **filters)) == expected, filters


async def test_a_clinic_that_moves_is_found_in_its_new_city(stores: Repositories) -> None:
    old, fresh = new("Old"), new("New")
    clinic = await a_place(stores, city=old)
    provider = await published(stores, clinic)
    moved = clinic.model_copy(update={"city": fresh})
    await stores.directory.put_clinic(SEED, moved)
    assert await found(stores, old) == []
    assert await found(stores, fresh) == [provider.name]
    assert await stores.directory.clinics(Public(), [clinic.id, clinic.id]) == {clinic.id: moved}


async def test_writing_again_counts_the_version(stores: Repositories) -> None:
    clinic = await a_place(stores)
    provider = await published(stores, clinic)
    changed = provider.model_copy(update={"name": "Dr. Ananya R. Rao"})
    await asyncio.gather(*(stores.directory.put_provider(SEED, changed) for _ in range(3)))
    document = await stores.database["providers"].find_one({"_id": provider.id})
    assert document is not None
    assert document["version"] == 4
    assert await stores.directory.profiles(Public(), [provider.id]) == {provider.id: changed}


async def test_nobody_writes_into_another_tenant(stores: Repositories) -> None:
    clinic = await a_place(stores)
    provider = await published(stores, clinic)
    other = Tenant(new("ten"))
    person = Practitioner(id=provider.practitioner_id, name="Dr. X", gender="other", registration=provider.registration)
    taken = clinic.model_copy(update={"tenant_id": other.tenant_id, "slug": "taken-over"})
    elsewhere = provider.model_copy(update={"tenant_id": other.tenant_id})
    writes = (
        stores.directory.put_clinic(other, clinic),
        stores.directory.put_clinic(other, taken),
        stores.directory.put_provider(other, provider),
        stores.directory.put_provider(other, elsewhere),
        stores.directory.put_availability(other, provider, HOURS),
        stores.directory.put_practitioner(other, person),
        stores.directory.put_tenant(other, TenantRecord(id=clinic.tenant_id, slug="mine-now", name="Mine")),
    )
    for write in writes:
        with pytest.raises(VisitNowError):
            await write
    assert await stores.directory.clinics(Public(), [clinic.id]) == {clinic.id: clinic}
    assert await stores.directory.profiles(Public(), [provider.id]) == {provider.id: provider}
    await stores.directory.put_practitioner(SEED, person)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Ananya  RAO-Iyer", {"dr", "ananya", "rao", "iyer"}),
        ("José", {"jose"}),
        ("ENT (ear, nose & throat)", {"ent", "ear", "nose", "throat"}),
        ("डॉ. अनन्या", {folded("डॉ"), folded("अनन्या")}),
        (" ./- ", set()),
    ],
)
def test_words_are_compared_without_case_accents_and_marks(text: str, expected: set[str]) -> None:
    assert words(text) == expected
