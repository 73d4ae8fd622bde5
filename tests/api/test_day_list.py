"""A clinic's day over HTTP: who sees it, what it shows, which numbers stay, and the stream. Workers are played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from adapters.redis.client import connect
from adapters.redis.feed import RedisFeed
from cli.accounts import ACCOUNTS, patient
from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR, KOREGAON_PARK
from cli.seed.catalogue import Profile
from models.booking import Advance, Appointment, AppointmentState, EventType, Intake, PatientDetails
from models.compliance import AuditAction
from models.data_classes import DataClass
from models.errors import Code
from models.identity import Account, Subject, System, Tenant
from models.ids import random_id
from models.sessions import EndReason
from tests.api.conftest import Api, a_booking, confirm, hold, reread, serving, signed_in

Json = dict[str, Any]
CLINIC: Final = ANANYA_RAO.provider.clinic_id
PATH: Final = f"/v1/clinics/{CLINIC}/day"
_DAYS: Final = count()


@pytest.fixture
def day() -> date:
    """A date of each test's own."""
    return date(2031, 6, 1) + timedelta(days=3 * next(_DAYS))


def at(day: date, hour: float, zone: str = "Asia/Kolkata") -> datetime:
    """A time on the clinic's clock."""
    return (datetime.combine(day, datetime.min.time(), ZoneInfo(zone)) + timedelta(hours=hour)).astimezone(UTC)


async def a_visit(
    stores: Repositories, start: datetime, who: int = 40, whom: str | None = None, profile: Profile = ANANYA_RAO
) -> Appointment:
    await stores.users.put(System("a test"), patient(who))
    details = PatientDetails(name=whom, date_of_birth=date(2019, 1, 1), relation="son") if whom else None
    booked = await hold(stores, a_booking(profile, patient(who).id, start), None, Intake(patient=details))
    return await confirm(stores, booked, random_id("pay"))


async def advance(stores: Repositories, visit: Appointment, event: EventType, to: AppointmentState) -> Appointment:
    """What the visit's workflow would have done."""
    step = Advance(
        tenant_id=visit.tenant_id,
        appointment_id=visit.id,
        event=event,
        event_id=random_id("evt"),
        at=datetime.now(UTC),
        to=to,
    )
    assert (await stores.appointments.advance(Tenant(visit.tenant_id), step)).applied
    return await reread(stores, visit.id)


async def look(client: httpx.AsyncClient, day: date, **query: str) -> Json:
    answer = await client.get(PATH, params={"date": day.isoformat(), **query})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def test_the_day_shows_who_comes_when_and_under_which_number(api: Api, stores: Repositories, day: date) -> None:
    second = await a_visit(stores, at(day, 11), who=41)
    first = await a_visit(stores, at(day, 10), who=42, whom="Little One")
    await a_visit(stores, at(day, 24), who=43)
    await a_visit(stores, at(day, -0.5), who=43)
    await hold(stores, a_booking(ANANYA_RAO, patient(44).id, at(day, 12)), None, Intake())
    async with api.client("staff") as client:
        shown = await look(client, day)
        assert (shown["clinic_id"], shown["date"], shown["timezone"]) == (CLINIC, day.isoformat(), "Asia/Kolkata")
        assert [(one["id"], one["token"], one["position"]) for one in shown["items"]] == [
            (first.id, 1, 1), (second.id, 2, 2),
        ]  # fmt: skip
        assert [one["patient"] for one in shown["items"]] == [
            {"name": "Little One", "date_of_birth": "2019-01-01", "relation": "son"},
            {"name": patient(41).name, "date_of_birth": None, "relation": None},
        ]
        [entry, _] = shown["items"]
        assert (entry["estimated_start"], entry["late_minutes"]) == (entry["start"], 0)
        [doctor] = shown["providers"]
        assert (doctor["provider_id"], doctor["name"]) == (ANANYA_RAO.provider.id, ANANYA_RAO.provider.name)
        assert (doctor["running_late_minutes"], doctor["waiting"], doctor["expected"]) == (0, 0, 2)
        between = await a_visit(stores, at(day, 10.5), who=45)
        again = await look(client, day)
        assert [(one["id"], one["token"]) for one in again["items"]] == [(first.id, 1), (between.id, 3), (second.id, 2)]


async def test_numbers_stay_through_all_that_happens(api: Api, stores: Repositories, day: date) -> None:
    visits = [await a_visit(stores, at(day, 10 + number / 2), who=41 + number) for number in range(3)]
    async with api.client("staff") as client:
        await look(client, day)
        await advance(stores, visits[0], EventType.CANCELLED, AppointmentState.CANCELLED)
        missed = await advance(stores, visits[1], EventType.NO_SHOW, AppointmentState.NO_SHOW)
        here = await advance(stores, visits[2], EventType.CHECKED_IN, AppointmentState.CHECKED_IN)
        shown = (await look(client, day))["items"]
        assert [(one["state"], one["token"], one["position"]) for one in shown] == [
            ("cancelled", 1, None), ("no_show", 2, None), ("checked_in", 3, 1),
        ]  # fmt: skip
        await advance(stores, missed, EventType.CHECKED_IN, AppointmentState.CHECKED_IN)
        await advance(stores, here, EventType.CONSULTATION_STARTED, AppointmentState.IN_CONSULTATION)
        found = await look(client, day)
        assert [(one["token"], one["position"]) for one in found["items"]] == [(1, None), (2, 1), (3, None)]
        assert found["items"][2]["started_at"] >= found["items"][2]["checked_in_at"]
        [doctor] = found["providers"]
        assert (doctor["now_serving"], doctor["waiting"], doctor["expected"]) == ([3], 1, 0)


async def test_of_many_who_look_at_once_each_visit_gets_one_number(api: Api, stores: Repositories, day: date) -> None:
    visits = [await a_visit(stores, at(day, 9 + number / 4), who=40 + number) for number in range(6)]
    async with api.client("staff") as client:
        seen = await asyncio.gather(*(look(client, day) for _ in range(12)))
    assert {tuple((one["id"], one["token"]) for one in view["items"]) for view in seen} == {
        tuple((one.id, number) for number, one in enumerate(visits, 1))
    }


async def test_a_page_at_a_time_and_its_names_only_are_looked_at(api: Api, stores: Repositories, day: date) -> None:
    visits = [await a_visit(stores, at(day, 9 + number / 4), who=40 + number) for number in range(5)]
    looks = {
        "action": AuditAction.RECORD_READ,
        "actor": ACCOUNTS["staff"].id,
        "target": {"$in": [one.id for one in visits]},
    }
    pages: list[list[str]] = []
    cursor: str | None = None
    async with api.client("staff") as client:
        while cursor is not None or not pages:
            shown = await look(client, day, limit="2", **({} if cursor is None else {"cursor": cursor}))
            pages.append([one["id"] for one in shown["items"]])
            cursor = shown["next_cursor"]
            assert [one["expected"] for one in shown["providers"]] == [5], "the summary is the whole day's"
            assert await stores.database["audit"].count_documents(looks) == sum(len(page) for page in pages)
        foreign = await client.get(PATH, params={"date": day.isoformat(), "cursor": "x"})
    assert pages == [[one.id for one in visits[:2]], [one.id for one in visits[2:4]], [visits[4].id]]
    assert (foreign.status_code, foreign.json()["code"]) == (400, Code.CURSOR_INVALID)
    entry = await stores.database["audit"].find_one(looks)
    assert entry is not None
    assert str(patient(40).name) not in str(entry)


async def test_what_was_erased_is_not_shown(api: Api, stores: Repositories, day: date) -> None:
    who = patient(52)
    await a_visit(stores, at(day, 10), who=52)
    async with api.client("staff") as client:
        assert (await look(client, day))["items"][0]["patient"]["name"] == who.name
        keys = stores.vault._keys
        keys.delete_many({"keyAltNames": f"{who.id}:{DataClass.IDENTITY}"})
        [entry] = (await look(client, day))["items"]
    assert (entry["patient"]["name"], entry["token"]) == (None, 1)


async def test_who_has_left_is_named_to_nobody(api: Api, stores: Repositories, day: date) -> None:
    who = patient(54)
    visit = await a_visit(stores, at(day, 10), who=54)
    async with api.client("staff") as client:
        assert (await look(client, day))["items"][0]["patient"]["name"] == who.name
        assert (await client.get(f"/v1/appointments/{visit.id}")).json()["patient"]["name"] == who.name
        await stores.users.remove(Subject(who.id), who.id, datetime.now(UTC))
        [entry] = (await look(client, day))["items"]
        alone = (await client.get(f"/v1/appointments/{visit.id}")).json()
    assert (entry["patient"]["name"], alone["patient"]) == (None, None)


async def test_whose_visit_it_was_is_not_made_up_once_it_is_erased(api: Api, stores: Repositories, day: date) -> None:
    who = patient(53)
    visit = await a_visit(stores, at(day, 10), who=53, whom="Little One")
    async with api.client("staff") as client:
        assert (await look(client, day))["items"][0]["patient"]["name"] == "Little One"
        stores.vault._keys.delete_many({"keyAltNames": f"{who.id}:{DataClass.CLINICAL}"})
        [entry] = (await look(client, day))["items"]
        alone = (await client.get(f"/v1/appointments/{visit.id}")).json()
    assert entry["patient"] == {"name": None, "date_of_birth": None, "relation": None}
    assert alone["patient"] is None


async def test_a_doctor_sees_their_own_and_staff_their_clinics(api: Api, stores: Repositories, day: date) -> None:
    mine = await a_visit(stores, at(day, 10))
    for account in ("doctor", "staff", "tenant_admin"):
        async with api.client(account) as client:
            for query in ({}, {"provider_id": ANANYA_RAO.provider.id}):
                assert [one["id"] for one in (await look(client, day, **query))["items"]] == [mine.id], account
    other_clinic = KOREGAON_PARK.id if INDIRANAGAR.id == CLINIC else INDIRANAGAR.id
    async with api.client("staff") as client:
        for query in ({"provider_id": "prv_nobody"}, {"provider_id": "prv_sanjeevani"}):
            assert (await client.get(PATH, params=query)).status_code == 404
    async with api.client("doctor") as client:
        assert (await client.get(PATH, params={"provider_id": "prv_somebody_else"})).status_code == 404
    for account, path in (("other_tenant_staff", PATH), ("doctor", f"/v1/clinics/{other_clinic}/day")):
        async with api.client(account) as client:
            for method, route in (("GET", path), ("GET", f"{path}/events"), ("POST", f"{path}/events-ticket")):
                refused = await client.request(method, route)
                assert (refused.status_code, refused.json()["code"]) == (404, Code.NOT_FOUND), (account, route)
    async with api.client("patient") as client:
        assert (await client.get(PATH)).status_code == 403


async def test_without_a_date_it_is_today_s_and_dates_are_checked(api: Api) -> None:
    async with api.client("staff") as client:
        before = datetime.now(ZoneInfo("Asia/Kolkata")).date()
        shown = (await client.get(PATH)).json()
        assert shown["date"] in {before.isoformat(), datetime.now(ZoneInfo("Asia/Kolkata")).date().isoformat()}
        for wrong in ("9999-12-31", "0001-01-01", "2031-02-30", "today", "2031-01-01T00:00:00Z"):
            refused = await client.get(PATH, params={"date": wrong})
            assert (refused.status_code, refused.json()["code"]) == (422, Code.INVALID), wrong


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2031, 3, 9), 23),
        ("America/New_York", date(2031, 11, 2), 25),
        ("Australia/Lord_Howe", date(2031, 4, 6), 24.5),
        ("America/Havana", date(2032, 3, 14), 23),
    ],
)
async def test_a_day_is_as_long_as_the_clinic_s_clock_says(
    api: Api, stores: Repositories, zone: str, day: date, hours: float
) -> None:
    """Where the clock jumps, at midnight too, a visit belongs to one day: none is shown twice or on neither."""
    clinics = stores.database["clinics"]
    midnights = [datetime.combine(day + timedelta(days=one), datetime.min.time(), ZoneInfo(zone)) for one in (0, 1)]
    first, last = (datetime.fromtimestamp(one.timestamp(), UTC) for one in midnights)
    assert (last - first) / timedelta(hours=1) == hours
    inside = [await a_visit(stores, one) for one in (first, last - timedelta(minutes=15))]
    outside = [await a_visit(stores, one) for one in (first - timedelta(minutes=15), last)]
    await clinics.update_one({"_id": CLINIC}, {"$set": {"timezone": zone}})
    try:
        async with api.client("staff") as client:
            shown = {one["id"] for one in (await look(client, day))["items"]}
            around = [
                {one["id"] for one in (await look(client, day + timedelta(days=step)))["items"]} for step in (-1, 1)
            ]
    finally:
        await clinics.update_one({"_id": CLINIC}, {"$set": {"timezone": "Asia/Kolkata"}})
    assert shown == {one.id for one in inside}
    assert [one.id in seen for one, seen in zip(outside, around, strict=True)] == [True, True]
    assert not shown & (around[0] | around[1])


# The stream


class DayStream:
    """An open stream of a day."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self, seconds: float = 20) -> tuple[str, Json]:
        """The next day and its id."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if not line and fields:
                    assert fields["event"] == "day"
                    return fields["id"], json.loads(fields["data"])
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
        pytest.fail("the stream has ended")

    async def rest(self, seconds: float = 60) -> list[str]:
        """Everything that comes until the stream ends, comments apart."""
        async with asyncio.timeout(seconds):
            return [line async for line in self._lines if line.strip(": ") and not line.startswith(":")]


@asynccontextmanager
async def watching(client: httpx.AsyncClient, day: date, **request: Any) -> AsyncIterator[DayStream]:  # noqa: ANN401
    query = {"date": day.isoformat(), **request.pop("params", {})}
    async with client.stream("GET", f"{PATH}/events", params=query, **request) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield DayStream(answer)


async def test_the_stream_tells_each_change_over_one_subscription(api: Api, stores: Repositories, day: date) -> None:
    visit = await a_visit(stores, at(day, 10))
    looks = {"action": AuditAction.RECORD_READ, "actor": ACCOUNTS["staff"].id, "target": visit.id}
    redis = connect(api.settings.redis_url.get_secret_value())
    feed = RedisFeed(redis, api.settings.database)
    subscribed = partial(redis.pubsub_numsub, f"{api.settings.database}:clinic")
    before = await subscribed()
    async with api.client("staff") as client, watching(client, day) as stream, watching(client, day) as another:
        known, first = await stream.next()
        await another.next()
        shown = await look(client, day)
        assert {**first, "server_time": 0} == {**shown, "server_time": 0}
        assert await stores.database["audit"].count_documents(looks) == 3, "two streams and a look"
        await advance(stores, visit, EventType.CHECKED_IN, AppointmentState.CHECKED_IN)
        await feed.day_changed(CLINIC)
        for each in (stream, another):
            _, second = await each.next(5)
            assert [one["state"] for one in second["items"]] == ["checked_in"]
        assert await subscribed() == before
        assert await stores.database["audit"].count_documents(looks) == 3, "each stream's look is noted once"
        async with watching(client, day, headers={"Last-Event-ID": known}) as third:
            assert (await third.next())[1]["items"][0]["state"] == "checked_in"
    await redis.aclose()


async def test_the_day_itself_is_a_stream_for_whoever_accepts_one(api: Api, stores: Repositories, day: date) -> None:
    visit = await a_visit(stores, at(day, 10))
    query, wanted = {"date": day.isoformat()}, {"Accept": "text/event-stream"}
    async with api.client("staff") as client:
        async with client.stream("GET", PATH, params=query, headers=wanted) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            _, shown = await DayStream(answer).next()
        plain = await client.get(PATH, params=query, headers={"Accept": "*/*"})
    assert [one["id"] for one in shown["items"]] == [visit.id]
    assert {**plain.json(), "server_time": 0} == {**shown, "server_time": 0}
    async with api.client("other_patient") as nobody:
        assert (await nobody.get(PATH, params=query, headers=wanted)).status_code == 403


async def test_a_browser_watches_with_a_ticket_once(api: Api, stores: Repositories, day: date) -> None:
    await a_visit(stores, at(day, 10))
    async with api.client("staff") as client:
        ticket = (await client.post(f"{PATH}/events-ticket")).json()["ticket"]
    async with api.client() as browser:
        async with watching(browser, day, params={"ticket": ticket}) as stream:
            assert len((await stream.next())[1]["items"]) == 1
        again = await browser.get(f"{PATH}/events", params={"ticket": ticket})
        assert (again.status_code, again.json()["code"]) == (401, Code.TICKET_INVALID)
        async with api.client("staff") as client:
            other = (await client.post(f"{PATH}/events-ticket")).json()["ticket"]
        elsewhere = await browser.get(f"/v1/clinics/{KOREGAON_PARK.id}x/day/events", params={"ticket": other})
        assert elsewhere.status_code == 401


async def test_who_is_removed_hears_nothing_more(api: Api, stores: Repositories, day: date) -> None:
    """The stream was opened while they worked here; what happens after their removal is none of their business."""
    visit = await a_visit(stores, at(day, 10))
    removed = await a_desk_of_its_own(stores)
    token = await signed_in(stores, api.settings, removed)
    redis = connect(api.settings.redis_url.get_secret_value())
    feed = RedisFeed(redis, api.settings.database)
    async with (
        api.client(Authorization=f"Bearer {token}") as client,
        api.client("staff") as colleague,
        watching(client, day) as stream,
        watching(colleague, day) as another,
    ):
        await stream.next()
        await another.next()
        await api.services.sessions.end_all(removed.id, EndReason.REMOVED)
        assert (await client.get(PATH)).status_code == 401
        await advance(stores, visit, EventType.CHECKED_IN, AppointmentState.CHECKED_IN)
        await feed.day_changed(CLINIC)
        assert (await another.next())[1]["items"][0]["state"] == "checked_in"
        assert await stream.rest() == []
    await redis.aclose()


async def a_desk_of_its_own(stores: Repositories) -> Account:
    """Somebody of the clinic's desk whose sessions are nobody else's."""
    made = ACCOUNTS["staff"].model_copy(update={"id": random_id("usr"), "email": None, "phone": None})
    await stores.users.put(System("a test"), made)
    return made


async def test_without_redis_the_stream_looks_by_itself(api: Api, stores: Repositories, day: date) -> None:
    visit = await a_visit(stores, at(day, 10))
    settings = api.settings.model_copy(update={"redis_url": type(api.settings.redis_url)("redis://127.0.0.1:1/0")})
    async with serving(settings) as lonely, lonely.client("staff") as client, watching(client, day) as stream:
        await stream.next()
        await advance(stores, visit, EventType.CHECKED_IN, AppointmentState.CHECKED_IN)
        assert (await stream.next(10))[1]["items"][0]["state"] == "checked_in"
