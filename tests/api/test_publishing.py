"""Publishing services and hours over HTTP: who may, who was first, what is left outside, and how soon it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from adapters.redis.client import connect
from adapters.redis.feed import RedisFeed
from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR, KOREGAON_PARK, PROFILES
from models.availability import Availability, WeeklyRule
from models.booking import Intake
from models.compliance import AuditAction
from models.errors import Code
from models.identity import Account, System
from models.ids import reference
from models.providers import Provider
from tests.api.conftest import Api, a_booking, hold, reread
from tests.stack import eventually

Json = dict[str, Any]
PROVIDER = ANANYA_RAO.provider
COLLEAGUE = next(one.provider for one in PROFILES if one.provider.clinic_id == KOREGAON_PARK.id)
WORLD = System("a test publishes")
VISIT: Json = {"name": "Visit", "duration_minutes": 30, "fee": {"amount": 50_000}}


@pytest.fixture
async def practice(stores: Repositories) -> AsyncIterator[Provider]:
    """The doctor as seeded, whatever a test has published."""
    yield PROVIDER
    await stores.directory.put_provider(WORLD, PROVIDER)
    await stores.directory.put_availability(WORLD, PROVIDER, ANANYA_RAO.availability)


def path(what: str, provider: Provider = PROVIDER) -> str:
    return f"/v1/providers/{provider.id}/{what}"


async def published(client: httpx.AsyncClient, what: str, provider: Provider = PROVIDER) -> tuple[Json, str]:
    answer = await client.get(path(what, provider))
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers["etag"]


def inputs(listed: Json) -> list[Json]:
    return [dict(one) for one in listed["items"]]


async def put(client: httpx.AsyncClient, what: str, body: object, tag: str | None) -> httpx.Response:
    return await client.put(path(what), json=body, headers={} if tag is None else {"If-Match": tag})


async def test_services_are_read_and_put_again(api: Api, practice: Provider) -> None:
    async with api.client("doctor") as client:
        listed, tag = await published(client, "services")
        assert [one["id"] for one in listed["items"]] == [one.id for one in practice.services]
        wanted = [*inputs(listed), VISIT]
        wanted[0]["fee"] = {"amount": 77_700}
        answer = await put(client, "services", wanted, tag)
        assert answer.status_code == 200, answer.text
        again, after = await published(client, "services")
    assert answer.headers["etag"] == after != tag
    assert answer.json() == {**again, "affected": [], "affected_total": 0}
    ids = [one["id"] for one in again["items"]]
    assert ids[:-1] == [one.id for one in practice.services]
    assert ids[-1].startswith("svc_")
    async with api.client() as anybody:
        profile = (await anybody.get(f"/v1/providers/{practice.id}")).json()
    assert [one["id"] for one in profile["services"]] == ids
    assert profile["services"][0]["fee"]["amount"] == 77_700


async def test_hours_are_read_and_put_again(api: Api, practice: Provider) -> None:
    hours = {
        "weekly": [{"weekday": 0, "start": "09:00", "end": "13:00", "service_ids": [practice.services[0].id]}],
        "overrides": [{"date": "2031-03-04", "sessions": [{"start": "10:00", "end": "11:00", "capacity": 3}]}],
        "min_notice_minutes": 30,
        "horizon_days": 20,
    }
    async with api.client("staff") as client:
        listed, tag = await published(client, "availability")
        assert listed["timezone"] == "Asia/Kolkata"
        answer = await put(client, "availability", hours, tag)
        assert answer.status_code == 200, answer.text
        again, after = await published(client, "availability")
    assert answer.headers["etag"] == after != tag
    assert Availability.model_validate({name: again[name] for name in hours}) == Availability.model_validate(hours)
    assert answer.json() == again


async def test_of_two_who_saw_the_same_version_one_is_told(api: Api, practice: Provider) -> None:
    assert practice.id
    async with api.client("doctor") as doctor, api.client("staff") as staff:
        for what, body in (("services", [VISIT]), ("availability", {"weekly": []})):
            _, tag = await published(doctor, what)
            answers = await asyncio.gather(*(put(who, what, body, tag) for who in (doctor, staff) for _ in range(5)))
            assert sorted(one.status_code for one in answers) == [200, *[412] * 9]
            assert {one.json()["code"] for one in answers if one.status_code == 412} == {Code.STALE}


@pytest.mark.parametrize("what", ["services", "availability"])
@pytest.mark.parametrize(
    ("tag", "status", "code"),
    [
        (None, 428, Code.IF_MATCH_REQUIRED),
        ('"999999"', 412, Code.STALE),
        ("1", 412, Code.STALE),
        ("*", 412, Code.STALE),
        ('W/"1"', 412, Code.STALE),
        ('"$ne"', 412, Code.STALE),
    ],
)
async def test_without_the_right_tag_nothing_changes(
    api: Api, what: str, tag: str | None, status: int, code: Code
) -> None:
    async with api.client("doctor") as client:
        before = await published(client, what)
        answer = await put(client, what, [] if what == "services" else {"weekly": []}, tag)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert await published(client, what) == before


async def test_hours_that_were_never_published_are_version_0(api: Api, stores: Repositories) -> None:
    new = PROVIDER.model_copy(update={"id": "prv_new", "practitioner_id": "prc_new", "live": False, "services": ()})
    await stores.directory.put_provider(WORLD, new)
    async with api.client("tenant_admin") as client:
        listed, tag = await published(client, "availability", new)
        assert (listed["weekly"], tag) == ([], '"0"')
        body = {"weekly": [{"weekday": 1, "start": "09:00", "end": "10:00"}]}
        answers = await asyncio.gather(
            *(client.put(path("availability", new), json=body, headers={"If-Match": tag}) for _ in range(6))
        )
        assert sorted(one.status_code for one in answers) == [200, *[412] * 5]
        assert (await published(client, "availability", new))[1] == '"1"'
    async with api.client() as anybody:
        assert (await anybody.get(f"/v1/providers/{new.id}")).status_code == 404, "not live yet"


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("services", [{**VISIT, "id": "svc_of_somebody_else"}], "0.id"),
        ("services", [{**VISIT, "duration_minutes": 31}], "0.duration_minutes"),
        ("services", [{**VISIT, "name": "a\u0000b"}], "0.name"),
        ("services", [{**VISIT, "payment": "free"}], "0"),
        ("services", [{**VISIT, "price": 3}], "0.price"),
        ("services", {"items": []}, "body"),
        ("availability", {"weekly": [{"weekday": 7, "start": "09:00", "end": "10:00"}]}, "weekly.0.weekday"),
        (
            "availability",
            {"weekly": [{"weekday": 0, "start": "09:00", "end": "10:00", "service_ids": ["svc_x"]}]},
            "weekly.0.service_ids",
        ),
    ],
)
async def test_what_cannot_be_published_is_told_by_field(api: Api, what: str, body: object, field: str) -> None:
    async with api.client("doctor") as client:
        before, tag = await published(client, what)
        answer = await put(client, what, body, tag)
        assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)
        assert [one["field"] for one in answer.json()["errors"]] == [field]
        assert (await published(client, what)) == (before, tag)


async def test_a_change_leaves_bookings_as_they_are_and_names_those_outside(
    api: Api, stores: Repositories, practice: Provider
) -> None:
    far = datetime.now(UTC).replace(hour=4, minute=30, second=0, microsecond=0) + timedelta(days=400)
    inside, outside = far, far + timedelta(hours=12)
    held = [await hold(stores, a_booking(ANANYA_RAO, "usr_told", start), None, Intake()) for start in (inside, outside)]
    slots = stores.database["slots"]
    ids = [one.id for one in held]
    claims = await slots.find({"_id": {"$in": ids}}, sort=[("_id", 1)]).to_list(None)
    everyday = [{"weekday": day, "start": "09:00", "end": "13:00"} for day in range(7)]
    async with api.client("doctor") as client:
        _, tag = await published(client, "availability")
        answer = (await put(client, "availability", {"weekly": everyday}, tag)).json()
        told = {"appointment_id": ids[1], "reference": reference(ids[1]), "why": "outside_hours"}
        assert (answer["affected"], answer["affected_total"]) == ([told], 1)
        listed, tag = await published(client, "services")
        answer = (await put(client, "services", inputs(listed)[1:], tag)).json()
        assert [(one["appointment_id"], one["why"]) for one in answer["affected"]] == [
            (one, "service_removed") for one in ids
        ]
        assert "usr_told" not in str(answer)
    assert await slots.find({"_id": {"$in": ids}}, sort=[("_id", 1)]).to_list(None) == claims
    assert [await reread(stores, one) for one in ids] == held
    for one in held:
        await stores.claims.release(WORLD, one.claim)
    await stores.database["appointments"].delete_many({"_id": {"$in": ids}})
    assert practice.id == PROVIDER.id


async def test_new_hours_count_at_once_here_and_soon_elsewhere(
    api: Api, stores: Repositories, practice: Provider
) -> None:
    today = datetime.now(UTC).date()
    span = {"from": str(today + timedelta(days=1)), "to": str(today + timedelta(days=14))}
    params = {"service_id": practice.services[0].id, **span}
    async with api.client("doctor") as client, api.client() as anybody:

        async def listed() -> int:
            return len((await anybody.get(path("slots"), params=params)).json()["items"])

        assert await listed() > 0
        _, tag = await published(client, "availability")
        assert (await put(client, "availability", {"weekly": []}, tag)).status_code == 200
        assert await listed() == 0
        # Another process publishes: this one hears of it by the feed.
        found = await stores.publications.find(WORLD, practice.id)
        everyday = Availability(weekly=(WeeklyRule(weekday=0, start="09:00", end="10:00"),))
        await stores.publications.set_availability(WORLD, found.provider, everyday, found.availability_version)
        assert await listed() == 0, "a cached answer, since nobody said a word yet"
        redis = connect(api.settings.redis_url.get_secret_value())
        await RedisFeed(redis, api.settings.database).published(practice.id, practice.practitioner_id)
        await redis.aclose()
        await eventually(listed, lambda count: count > 0)


@pytest.mark.parametrize(
    ("account", "provider", "status"),
    [
        ("doctor", PROVIDER, 200),
        ("doctor", COLLEAGUE, 404),
        ("staff", PROVIDER, 200),
        ("staff", COLLEAGUE, 404),
        ("tenant_admin", COLLEAGUE, 200),
        ("other_tenant_staff", PROVIDER, 404),
        ("patient", PROVIDER, 403),
        ("admin", PROVIDER, 403),
    ],
)
async def test_who_may_publish(api: Api, stores: Repositories, account: str, provider: Provider, status: int) -> None:
    assert INDIRANAGAR.id == PROVIDER.clinic_id
    before = await stores.publications.find(WORLD, provider.id)
    async with api.client(account) as client:
        for what in ("services", "availability"):
            assert (await client.get(path(what, provider))).status_code == status
        if status != 200:
            headers = {"If-Match": f'"{before.provider_version}"'}
            assert (await client.put(path("services", provider), json=[VISIT], headers=headers)).status_code == status
            headers = {"If-Match": f'"{before.availability_version}"'}
            body: Json = {"weekly": []}
            assert (await client.put(path("availability", provider), json=body, headers=headers)).status_code == status
    assert await stores.publications.find(WORLD, provider.id) == before


async def test_who_published_is_noted(api: Api, stores: Repositories, practice: Provider) -> None:
    who: Account = ACCOUNTS["staff"]
    noted = {"action": AuditAction.PUBLISHED, "actor": who.id, "target": practice.id}
    before = await stores.database["audit"].count_documents(noted)
    async with api.client("staff") as client:
        _, tag = await published(client, "availability")
        await put(client, "availability", {"weekly": []}, tag)
        await put(client, "availability", {"weekly": []}, tag)
    assert await stores.database["audit"].count_documents(noted) == before + 1
