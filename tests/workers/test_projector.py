"""The projection follows hours, leave, claims and the passing of time, and can be made anew from nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from models.availability import Availability, WeeklyRule
from models.identity import Public, System
from models.providers import Provider, TenantRecord
from models.publishing import Leave
from models.search import SearchQuery
from tests.adapters.mongo.builders import a_clinic, a_command, a_provider, new, soon
from tests.adapters.mongo.calls import NOTHING
from workers.projector import Projector

WORLD = System("a test projects")
EVERY_DAY = Availability(
    weekly=tuple(WeeklyRule(weekday=day, start="00:00", end="00:00") for day in range(7)), min_notice_minutes=0
)


class Told:
    """How often searches were told to forget."""

    def __init__(self) -> None:
        self.times = 0

    async def changed(self) -> None:
        self.times += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def projector(stores: Repositories, told: Told) -> Projector:
    return Projector(stores.search, stores.directory, stores.claims, stores.reviews, stores.leases, told.changed)


async def a_doctor(stores: Repositories, city: str) -> Provider:
    clinic = a_clinic(tenant_id=new("ten"), city=city)
    provider = a_provider(clinic)
    await stores.directory.put_tenant(WORLD, TenantRecord(id=clinic.tenant_id, slug=clinic.slug, name="Arogya"))
    await stores.directory.put_clinic(WORLD, clinic)
    await stores.directory.put_provider(WORLD, provider)
    await stores.directory.put_availability(WORLD, provider, EVERY_DAY)
    return provider


async def next_free(stores: Repositories, city: str) -> datetime | None:
    [one] = (await stores.search.page(Public(), SearchQuery(city=city), 5, None)).items
    return one.next_available


async def caught_up(projector: Projector) -> None:
    """Until nothing is due."""
    for _ in range(100):
        if await projector.turn() == 0:
            return
    pytest.fail("there is always something due")


async def test_it_follows_hours_claims_and_leave(stores: Repositories, projector: Projector, told: Told) -> None:
    city = new("City")
    provider = await a_doctor(stores, city)
    assert await next_free(stores, city) is None, "nobody has counted yet"
    await caught_up(projector)
    first = await next_free(stores, city)
    assert first is not None
    assert first - datetime.now(UTC) <= timedelta(minutes=30)
    counted = told.times
    assert counted > 0
    projector.time_changed(provider.practitioner_id)
    assert await projector.turn() == 1
    assert told.times == counted, "nothing that a search would see has changed"
    owner: dict[str, object] = {
        "tenant_id": provider.tenant_id, "clinic_id": provider.clinic_id, "provider_id": provider.id,
        "practitioner_id": provider.practitioner_id,
    }  # fmt: skip
    claim = a_command(0, 30, **owner).model_copy(
        update={"start": first, "end": first + timedelta(minutes=30), "claim_start": first,
                "claim_end": first + timedelta(minutes=30)}
    )  # fmt: skip
    assert await stores.claims.tentative(WORLD, claim, NOTHING, soon(600))
    projector.time_changed(provider.practitioner_id)
    await projector.turn()
    assert await next_free(stores, city) == first + timedelta(minutes=30)
    begin = datetime.now(UTC)
    leave = Leave(
        id=new("lve"), start=begin, end=begin + timedelta(days=3), body_hash="0", created_at=begin,
        tenant_id=provider.tenant_id, clinic_id=provider.clinic_id, provider_id=provider.id,
        practitioner_id=provider.practitioner_id,
    )  # fmt: skip
    await stores.leaves.insert(WORLD, leave, None)
    await caught_up(projector)
    after = await next_free(stores, city)
    assert after is not None
    assert after >= leave.end
    tomorrow = (begin + timedelta(days=1)).date()
    found = await stores.search.page(Public(), SearchQuery(city=city, available_on=tomorrow), 5, None)
    assert found.items == []


async def test_it_is_made_anew_from_what_it_is_projected_from(stores: Repositories, projector: Projector) -> None:
    for _ in range(5):
        await a_doctor(stores, new("City"))
    await projector.rebuild()
    entries = stores.database["provider_days"]

    async def everything() -> list[Document]:
        found = await entries.find({}, {"due_at": 0, "next_available": 0}, sort=[("_id", 1)]).to_list(None)
        return [{**one, "tokens": sorted(str(token) for token in _list(one["tokens"]))} for one in found]

    before = await everything()
    assert len(before) >= 5
    await entries.delete_many({})
    assert await projector.rebuild() == await stores.database["providers"].count_documents({})
    assert await everything() == before


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
