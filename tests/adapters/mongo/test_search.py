"""The projection: what is found, in which order, by which index, and that it follows what it is made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from adapters.mongo.client import Database, Document
from adapters.mongo.repositories import Repositories
from models.identity import Public, System
from models.money import Money
from models.providers import Clinic, Location, Provider, Service, VisitMode
from models.search import FreeDay, SearchQuery, Sort
from tests.adapters.mongo.builders import a_clinic, a_provider, new, soon
from tests.adapters.mongo.test_indexes import note_everything, profiled, without_an_index

WORLD = System("a test searches")
TODAY = datetime.now(UTC).date()
BENGALURU = Location(latitude=12.97, longitude=77.59)


async def entry(
    stores: Repositories, clinic: Clinic, *, fee: int = 50_000, free: int | None = 1, **changes: object
) -> Provider:
    service = Service(id="svc_1", name="Visit", duration_minutes=30, fee=Money(amount=fee), mode=VisitMode.VIDEO)
    provider = a_provider(clinic, services=(service,), **changes)
    await stores.search.put_profile(WORLD, provider, clinic)
    days = [] if free is None else [_free(free)]
    await stores.search.put_days(WORLD, provider.id, days, soon())
    return provider


def _free(days: int) -> FreeDay:
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    return FreeDay(first.date(), first, (VisitMode.VIDEO,))


async def everybody(stores: Repositories, limit: int = 2, **asked: object) -> list[str]:
    query, ids, cursor = SearchQuery.model_validate(asked), list[str](), None
    while True:
        page = await stores.search.page(Public(), query, limit, cursor)
        ids += [one.provider_id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return ids


async def test_each_order_is_the_order_on_every_page(stores: Repositories) -> None:
    near, far = (
        a_clinic(city=new("City"), location=BENGALURU),
        a_clinic(location=Location(latitude=13.1, longitude=77.6)),
    )
    far = far.model_copy(update={"city": near.city})
    made = [
        (await entry(stores, clinic, fee=fee, free=free), fee, free, clinic is far)
        for fee, free, clinic in (
            (30_000, 3, near), (30_000, None, far), (10_000, 2, near),
            (70_000, 1, far), (70_000, 1, near), (20_000, 9, near),
        )
    ]  # fmt: skip
    ids = {one.id for one, *_ in made}
    for limit in (1, 2, 5, 6, 7):
        for sort, key in (
            (Sort.FEE, lambda one: (one[1], one[0].id)),
            (Sort.RATING, lambda one: one[0].id),
            (Sort.DISTANCE, lambda one: (one[3], one[0].id)),
        ):
            found = await everybody(stores, limit, city=near.city, sort=sort, near=BENGALURU, radius_km=50)
            assert found == [one[0].id for one in sorted(made, key=key)], (sort, limit)
        by_time = await everybody(stores, limit, city=near.city)
        assert set(by_time) == ids
        assert by_time[-1] == made[1][0].id, "whoever has no free time comes last"
        assert by_time[-2] == made[5][0].id
    assert set(await everybody(stores, city=near.city, near=BENGALURU, radius_km=5)) == {
        one.id for one, _, _, away in made if not away
    }


async def test_a_free_day_is_found_with_its_mode(stores: Repositories) -> None:
    clinic = a_clinic(city=new("City"))
    tomorrow, later, never = [await entry(stores, clinic, free=free) for free in (1, 4, None)]
    day = _free(1).day
    assert await everybody(stores, city=clinic.city, available_on=day) == [tomorrow.id]
    assert await everybody(stores, city=clinic.city, available_on=day, mode="video") == [tomorrow.id]
    assert await everybody(stores, city=clinic.city, available_on=day, mode="in_person") == []
    assert await everybody(stores, city=clinic.city, available_on=_free(4).day) == [later.id]
    assert await everybody(stores, city=clinic.city, available_on=date(2001, 1, 1)) == []
    found = await stores.search.page(Public(), SearchQuery(city=clinic.city), 10, None)
    assert [one.next_available is None for one in found.items] == [False, False, True]
    assert found.items[-1].provider_id == never.id


async def test_whoever_is_not_live_is_not_found(stores: Repositories) -> None:
    clinic = a_clinic(city=new("City"))
    provider = await entry(stores, clinic, live=False)
    assert await everybody(stores, city=clinic.city) == []
    assert not any((await stores.search.facets(Public(), SearchQuery(city=clinic.city))).values())
    await stores.search.put_profile(WORLD, provider.model_copy(update={"live": True}), clinic)
    assert await everybody(stores, city=clinic.city) == [provider.id]


async def test_facets_count_what_the_search_finds(stores: Repositories) -> None:
    clinic = a_clinic(city=new("City"))
    await entry(stores, clinic, gender="male", specialties=("Dermatology", "Cardiology"))
    await entry(stores, clinic, fee=90_000)
    await entry(stores, clinic, languages=("hi",))
    facets = await stores.search.facets(Public(), SearchQuery(city=clinic.city))
    counted = {name: {one.value: one.count for one in values} for name, values in facets.items()}
    assert counted == {
        "specialty": {"Cardiology": 3, "Dermatology": 1},
        "language": {"en": 2, "kn": 2, "hi": 1},
        "city": {clinic.city: 3},
        "mode": {"video": 3},
        "gender": {"female": 2, "male": 1},
    }
    cheap = await stores.search.facets(Public(), SearchQuery(city=clinic.city, fee_max=60_000, gender="female"))
    assert {one.value: one.count for one in cheap["language"]} == {"hi": 1}


async def test_only_what_a_search_would_see_counts_as_a_change(stores: Repositories) -> None:
    clinic = a_clinic()
    provider, days = await entry(stores, clinic), [_free(2)]
    assert await stores.search.put_days(WORLD, provider.id, days, soon())
    assert not await stores.search.put_days(WORLD, provider.id, days, soon(600))
    assert provider.id not in {one.provider_id for one in await stores.search.due(WORLD, soon(60), 1000)}
    await stores.search.look_again(WORLD, provider.id)
    assert provider.id in {one.provider_id for one in await stores.search.due(WORLD, soon(1), 1000)}
    await stores.search.put_profile(WORLD, provider, clinic)
    assert await stores.search.put_days(WORLD, provider.id, days, soon(600)), "a profile was written meanwhile"
    assert not await stores.search.put_days(WORLD, new("prv"), days, soon())


CONDITIONS: tuple[tuple[str, object], ...] = (
    ("q", "ana rao"),
    ("specialty", "Cardiology"),
    ("language", "en"),
    ("city", "Bengaluru"),
    ("mode", "video"),
    ("fee_max", 60_000),
    ("gender", "female"),
    ("available_on", _free(1).day),
    ("near", BENGALURU),
)


async def test_every_combination_of_conditions_and_orders_is_read_from_an_index(
    stores: Repositories, owner: Database
) -> None:
    clinic = a_clinic(city="Bengaluru", location=BENGALURU)
    for number in range(30):
        await entry(stores, clinic, free=1 + number % 3)
    nearest = ordered = 0
    for batch in _batches(list(_questions()), 100):
        await note_everything(owner)
        asked = 0
        for query in batch:
            first = await stores.search.page(Public(), query, 3, None)
            asked += 1
            if first.next_cursor is not None:
                await stores.search.page(Public(), query, 3, first.next_cursor)
                asked += 1
        found = await profiled(owner)
        by_distance = [one for one in found if "GEO_NEAR" in str(one["planSummary"])]
        by_index = [one for one in found if "GEO_NEAR" not in str(one["planSummary"])]
        assert len(found) == asked
        assert without_an_index(by_index) == []
        assert all("IXSCAN" in str(one["planSummary"]) for one in by_index)
        nearest, ordered = nearest + len(by_distance), ordered + len(by_index)
    assert nearest > 256
    assert ordered > 2000


def _batches(questions: list[SearchQuery], size: int) -> Iterator[list[SearchQuery]]:
    """So many that the profiler's collection, which is capped, holds them all."""
    for start in range(0, len(questions), size):
        yield questions[start : start + size]


def _questions() -> Iterator[SearchQuery]:
    """Every combination of conditions in every order that it allows."""
    for size in range(len(CONDITIONS) + 1):
        for conditions in itertools.combinations(CONDITIONS, size):
            query = SearchQuery.model_validate(dict(conditions))
            for sort in Sort:
                if sort is not Sort.DISTANCE or query.near is not None:
                    yield query.model_copy(update={"sort": sort})


async def test_a_page_reads_no_further_than_it_must(stores: Repositories, owner: Database) -> None:
    city, other = new("City"), new("City")
    here, there = a_clinic(city=city), a_clinic(city=other)
    for number in range(40):
        await entry(stores, here if number % 4 == 0 else there, free=1 + number % 5)
    await note_everything(owner)
    for sort in (Sort.NEXT_AVAILABLE, Sort.FEE, Sort.RATING):
        await stores.search.page(Public(), SearchQuery(city=city, sort=sort), 4, None)
    examined: list[Document] = [one for one in await profiled(owner) if one["op"] == "query"]
    assert [one["keysExamined"] for one in examined] == [5, 5, 5]


@pytest.mark.parametrize("cursor", ["", "x", "WyJmZWUiLDEsIngiXQ"])
async def test_another_search_s_cursor_is_refused(stores: Repositories, cursor: str) -> None:
    for query in (SearchQuery(), SearchQuery(sort=Sort.RATING), SearchQuery(sort=Sort.DISTANCE, near=BENGALURU)):
        with pytest.raises(ValueError, match="cursor"):
            await stores.search.page(Public(), query, 10, cursor)
