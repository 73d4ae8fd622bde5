"""Clinics, providers and free times, as anybody reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from adapters.redis.client import connect
from adapters.redis.feed import RedisFeed
from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR, PROFILES, TENANT
from cli.seed.sanjeevani import PROFILES as OTHER_PROFILES
from models.booking import Intake
from models.cursor import encode_cursor
from models.errors import Code
from models.identity import Tenant
from tests.api.conftest import Api, a_booking, hold

Json = dict[str, Any]
PROVIDER = ANANYA_RAO.provider
SERVICE = PROVIDER.services[0].id


@pytest.fixture
async def anybody(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


def _days(first: int = 1, last: int = 7) -> dict[str, str]:
    today = datetime.now(UTC).date()
    return {"from": str(today + timedelta(days=first)), "to": str(today + timedelta(days=last))}


async def _slots(client: httpx.AsyncClient, **params: str) -> httpx.Response:
    return await client.get(f"/v1/providers/{PROVIDER.id}/slots", params={"service_id": SERVICE, **_days(), **params})


async def test_a_clinic_by_its_subdomain(anybody: httpx.AsyncClient) -> None:
    found = await anybody.get(f"/v1/clinics/by-slug/{INDIRANAGAR.slug}")
    assert found.status_code == 200
    assert found.json() == {
        "id": INDIRANAGAR.id,
        "slug": INDIRANAGAR.slug,
        "name": INDIRANAGAR.name,
        "timezone": "Asia/Kolkata",
        "address": INDIRANAGAR.address,
        "city": "Bengaluru",
        "location": {"latitude": 12.9716, "longitude": 77.6412},
    }


@pytest.mark.parametrize("slug", ["nowhere", "$ne", "a" * 300, "%00", "Arogya-Indiranagar"])
async def test_a_clinic_that_is_none(anybody: httpx.AsyncClient, slug: str) -> None:
    answer = await anybody.get(f"/v1/clinics/by-slug/{slug}")
    assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND)


@pytest.mark.parametrize(
    "order", [{}, {"sort": "fee"}, {"sort": "rating"}, {"sort": "distance", "near": "12.97,77.64", "radius_km": "200"}]
)
async def test_the_list_is_paged_without_gaps_or_repeats(anybody: httpx.AsyncClient, order: dict[str, str]) -> None:
    seen: list[Json] = []
    cursor: str | None = None
    for _ in range(50):
        page = (
            await anybody.get("/v1/providers", params={"limit": 3, **order, **({"cursor": cursor} if cursor else {})})
        ).json()
        assert len(page["items"]) <= 3
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    ids = [one["id"] for one in seen]
    everybody = {one.provider.id for one in (*PROFILES, *OTHER_PROFILES)}
    assert len(set(ids)) == len(ids)
    if "near" in order:
        assert set(ids) < everybody
        assert [one["distance_km"] for one in seen] == sorted(one["distance_km"] for one in seen)
    else:
        assert set(ids) == everybody
    if order == {"sort": "fee"}:
        assert [one["fee_from"]["amount"] for one in seen] == sorted(one["fee_from"]["amount"] for one in seen)
        other = await anybody.get("/v1/providers", params={"sort": "rating", "cursor": encode_cursor("fee", 1, "x")})
        assert (other.status_code, other.json()["code"]) == (400, Code.CURSOR_INVALID)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"sort": "distance"}, "near"),
        ({"radius_km": "5"}, "near"),
        ({"near": "95,10"}, "near"),
        ({"near": "north"}, "near"),
        ({"near": "10,10", "radius_km": "1000"}, "radius_km"),
        ({"sort": "name"}, "sort"),
        ({"available_on": "today"}, "available_on"),
    ],
)
async def test_a_search_that_makes_no_sense_is_refused(
    anybody: httpx.AsyncClient, params: dict[str, str], field: str
) -> None:
    answer = await anybody.get("/v1/providers", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)
    assert [one["field"] for one in answer.json()["errors"]] == [field]


async def test_facets_count_all_results(anybody: httpx.AsyncClient) -> None:
    page = (await anybody.get("/v1/providers", params={"limit": 1, "city": "Bangalore"})).json()
    everybody = [one.provider for one in PROFILES if one.provider.clinic_id == INDIRANAGAR.id]
    cities = {one["value"]: one["count"] for one in page["facets"]["city"]}
    assert cities.keys() == {"Bengaluru"}
    assert cities["Bengaluru"] >= len(everybody)
    assert sum(one["count"] for one in page["facets"]["gender"]) == cities["Bengaluru"]
    assert page["facets"].keys() == {"specialty", "language", "city", "mode", "gender"}


@pytest.mark.parametrize("cursor", ["x", "!!", "W10", "a" * 2048, "WyJhIl0"])
async def test_a_made_up_cursor_is_refused(anybody: httpx.AsyncClient, cursor: str) -> None:
    answer = await anybody.get("/v1/providers", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, Code.CURSOR_INVALID)


@pytest.mark.parametrize(
    ("filters", "check"),
    [
        ({"q": "ananya"}, lambda one: "Ananya" in one["name"]),
        ({"city": "Bengaluru"}, lambda one: one["clinic"]["city"] == "Bengaluru"),
        ({"specialty": "Cardiology"}, lambda one: "Cardiology" in one["specialties"]),
        ({"language": "kn"}, lambda one: "kn" in one["languages"]),
        ({"gender": "female"}, lambda one: one["gender"] == "female"),
        ({"fee_max": "40000"}, lambda one: one["fee_from"]["amount"] <= 40000),
    ],
)
async def test_filters(anybody: httpx.AsyncClient, filters: dict[str, str], check: Any) -> None:  # noqa: ANN401
    found = (await anybody.get("/v1/providers", params={**filters, "limit": "100"})).json()["items"]
    everybody = (await anybody.get("/v1/providers", params={"limit": "100"})).json()["items"]
    assert found
    assert found == [one for one in everybody if check(one)]


async def test_a_profile_with_its_services(anybody: httpx.AsyncClient) -> None:
    profile = (await anybody.get(f"/v1/providers/{PROVIDER.id}")).json()
    assert profile["name"] == PROVIDER.name
    assert profile["clinic"]["slug"] == INDIRANAGAR.slug
    assert profile["registration"]["year"] == PROVIDER.registration.year
    assert profile["timezone"] == profile["clinic"]["timezone"] == "Asia/Kolkata"
    assert [one["id"] for one in profile["services"]] == [one.id for one in PROVIDER.services]
    assert profile["services"][0]["fee"] == {"amount": PROVIDER.services[0].fee.amount, "currency": "INR"}
    assert not {"practitioner_id", "tenant_id"} & profile.keys()


async def test_free_times_lie_in_the_hours_and_name_the_zone(anybody: httpx.AsyncClient) -> None:
    answer = await _slots(anybody)
    listed = answer.json()
    assert answer.status_code == 200
    assert listed["timezone"] == "Asia/Kolkata"
    assert listed["items"]
    for item in listed["items"]:
        assert item.keys() == {"start", "end"}
        assert item["start"].endswith("Z")
        assert datetime.fromisoformat(item["end"]) - datetime.fromisoformat(item["start"]) == timedelta(minutes=15)
    assert listed["items"] == sorted(listed["items"], key=lambda item: item["start"])


@pytest.mark.parametrize(
    ("params", "field", "code"),
    [
        (_days(5, 4), "to", "range_reversed"),
        (_days(0, 31), "to", "range_too_long"),
        ({"from": "2026-02-30"}, "from", "date_from_datetime_parsing"),
        ({"from": "20260201"}, "from", "value_error"),
        ({"from": "1767000000"}, "from", "value_error"),
        ({"to": "tomorrow"}, "to", "value_error"),
        ({"to": "2026-02-01T00:00:00Z"}, "to", "value_error"),
        ({"service_id": ""}, "service_id", "string_too_short"),
    ],
)
async def test_dates_that_are_none_or_too_many(
    anybody: httpx.AsyncClient, params: dict[str, str], field: str, code: str
) -> None:
    answer = await _slots(anybody, **params)
    assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert [error["code"] for error in answer.json()["errors"]] == [code]


async def test_thirty_one_days_are_not_too_many(anybody: httpx.AsyncClient) -> None:
    assert (await _slots(anybody, **_days(0, 30))).status_code == 200
    assert (await _slots(anybody, **{"from": "9999-12-01", "to": "9999-12-31"})).json()["items"] == []


async def test_an_unknown_provider_or_service_is_not_found(anybody: httpx.AsyncClient) -> None:
    for path in [f"/v1/providers/{'x' * 26}", "/v1/providers/$ne", "/v1/providers/%00/slots"]:
        answer = await anybody.get(path, params={"service_id": SERVICE, **_days()} if path.endswith("slots") else {})
        assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND)
    assert (await _slots(anybody, service_id="svc_unknown")).status_code == 404


async def test_a_taken_time_is_no_longer_listed_anywhere(
    api: Api, stores: Repositories, anybody: httpx.AsyncClient
) -> None:
    """Another process takes it: this one hears of it by the feed."""
    first = (await _slots(anybody)).json()["items"][0]
    command = a_booking(ANANYA_RAO, "usr_slots", datetime.fromisoformat(first["start"]))
    held = await hold(stores, command, None, Intake())
    assert first in (await _slots(anybody)).json()["items"], "a cached answer, since nobody said a word yet"
    redis = connect(api.settings.redis_url.get_secret_value())
    await RedisFeed(redis, api.settings.database).time_changed(PROVIDER.practitioner_id)
    await redis.aclose()
    for _ in range(500):
        if first not in (await _slots(anybody)).json()["items"]:
            break
    else:
        pytest.fail("the word was not heard")
    await stores.claims.release(Tenant(TENANT.id), held.claim)
