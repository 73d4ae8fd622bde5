"""Streams of events: what comes, when it ends, and who may open one. Workers are played by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from adapters.redis.client import connect
from adapters.redis.feed import RedisFeed
from api.streams import MAX_STREAMS
from cli.accounts import ACCOUNTS, patient
from cli.seed.arogya import ANANYA_RAO
from models.booking import Advance, Appointment, AppointmentState, EventType, Intake
from models.errors import Code
from models.identity import System, Tenant
from models.ids import random_id
from tests.adapters.mongo.deletion_calls import a_deletion
from tests.api.conftest import Api, a_booking, confirm, hold, reread, serving, signed_in

Json = dict[str, Any]
PATIENT: Final = ACCOUNTS["patient"]
_STARTS: Final = (datetime(2031, 2, 3, 4, 30, tzinfo=UTC) + timedelta(minutes=15 * number) for number in count())


class Event(NamedTuple):
    """One event of a stream."""

    id: str
    kind: str
    data: Json


class Stream:
    """An open stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self, seconds: float = 10) -> Event:
        """The next event; fails where none comes in time or the stream ends."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if not line and fields:
                    return Event(fields["id"], fields["event"], json.loads(fields["data"]))
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
        pytest.fail("the stream has ended")

    async def ends(self, seconds: float = 10) -> None:
        """Return when nothing more comes."""
        async with asyncio.timeout(seconds):
            rest = [line async for line in self._lines]
        assert not [line for line in rest if line.startswith(("data", "event"))]


@asynccontextmanager
async def _opened(client: httpx.AsyncClient, appointment_id: str, **request: Any) -> AsyncIterator[Stream]:  # noqa: ANN401
    async with client.stream("GET", f"/v1/appointments/{appointment_id}/events", **request) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


@pytest.fixture
async def held(stores: Repositories) -> Appointment:
    command = a_booking(ANANYA_RAO, PATIENT.id, next(_STARTS))
    return await hold(stores, command, f"order_{command.appointment_id}", Intake(reason="made up"))


class Worker:
    """Changes appointments and says so, as the workers and their relay do."""

    def __init__(self, api: Api, stores: Repositories) -> None:
        self._stores = stores
        self._redis = connect(api.settings.redis_url.get_secret_value())
        self._feed = RedisFeed(self._redis, api.settings.database)

    async def confirm(self, appointment: Appointment) -> Appointment:
        changed = await confirm(self._stores, appointment, random_id("pay"))
        await self._feed.appointment_changed(changed.id, changed.version)
        return changed

    async def expire(self, appointment: Appointment) -> Appointment:
        await self._stores.appointments.advance(
            Tenant(appointment.tenant_id),
            Advance(
                tenant_id=appointment.tenant_id,
                appointment_id=appointment.id,
                event=EventType.EXPIRED,
                event_id=random_id("evt"),
                at=datetime.now(UTC),
                to=AppointmentState.EXPIRED,
            ),
        )
        changed = await reread(self._stores, appointment.id)
        await self._feed.appointment_changed(changed.id, changed.version)
        return changed

    async def close(self) -> None:
        await self._redis.aclose()


@pytest.fixture
async def worker(api: Api, stores: Repositories) -> AsyncIterator[Worker]:
    made = Worker(api, stores)
    yield made
    await made.close()


async def _ticket(client: httpx.AsyncClient, appointment: Appointment) -> str:
    answer = await client.post(f"/v1/appointments/{appointment.id}/events-ticket")
    assert answer.status_code == 201
    left = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
    return str(answer.json()["ticket"])


async def test_the_appointment_now_and_on_each_change(api: Api, worker: Worker, held: Appointment) -> None:
    async with api.client("patient") as client, _opened(client, held.id) as stream:
        first = await stream.next()
        assert (first.kind, first.id) == ("appointment", str(held.version))
        shown = (await client.get(f"/v1/appointments/{held.id}")).json()
        assert {**first.data, "server_time": 0} == {**shown, "server_time": 0}
        confirmed = await worker.confirm(held)
        second = await stream.next(3)
        assert (second.id, second.data["state"]) == (str(confirmed.version), "confirmed")
        assert second.data["payment_state"] == "captured"


async def test_a_final_state_ends_the_stream(api: Api, worker: Worker, held: Appointment) -> None:
    async with api.client("patient") as client, _opened(client, held.id) as stream:
        await stream.next()
        await worker.expire(held)
        assert (await stream.next(3)).data["state"] == "expired"
        await stream.ends()


async def test_whoever_comes_back_gets_only_what_is_new(api: Api, worker: Worker, held: Appointment) -> None:
    headers = {"Last-Event-ID": str(held.version)}
    async with api.client("patient") as client, _opened(client, held.id, headers=headers) as stream:
        confirmed = await worker.confirm(held)
        assert (await stream.next()).id == str(confirmed.version)
    async with api.client("patient") as client, _opened(client, held.id, headers=headers) as stream:
        assert (await stream.next()).id == str(confirmed.version)


@pytest.mark.parametrize("seen", ["", "soon", "-1", "٣", "1e9"])
async def test_a_strange_last_event_id_means_none(api: Api, held: Appointment, seen: str) -> None:
    headers = {"Last-Event-ID": seen.encode()}
    async with api.client("patient") as client, _opened(client, held.id, headers=headers) as stream:
        assert (await stream.next()).id == str(held.version)


async def test_a_browser_opens_with_a_ticket_once(api: Api, worker: Worker, held: Appointment) -> None:
    async with api.client("patient") as client:
        ticket = await _ticket(client, held)
    async with api.client() as browser:
        async with _opened(browser, held.id, params={"ticket": ticket}) as stream:
            assert (await stream.next()).data["reason"] == "made up"
            await worker.confirm(held)
            assert (await stream.next()).data["state"] == "confirmed"
        again = await browser.get(f"/v1/appointments/{held.id}/events", params={"ticket": ticket})
    assert (again.status_code, again.json()["code"]) == (401, Code.TICKET_INVALID)


async def test_a_ticket_opens_its_own_appointment_only(api: Api, stores: Repositories, held: Appointment) -> None:
    other = await hold(stores, a_booking(ANANYA_RAO, PATIENT.id, next(_STARTS)), None, Intake())
    async with api.client("patient") as client:
        ticket = await _ticket(client, held)
    async with api.client() as browser:
        for path in [f"/v1/appointments/{other.id}/events", f"/v1/appointments/{other.id}"]:
            answer = await browser.get(path, params={"ticket": ticket})
            assert answer.status_code == 401, path


async def test_a_ticket_shows_its_holder_s_view(api: Api, held: Appointment) -> None:
    async with api.client("staff") as client:
        ticket = await _ticket(client, held)
    async with api.client() as browser, _opened(browser, held.id, params={"ticket": ticket}) as stream:
        shown = (await stream.next()).data
    assert shown["actions"] == ["cancel"]
    assert shown["policy"]["refund_percent_now"] == 100


async def test_nobody_opens_too_many(api: Api, held: Appointment) -> None:
    async with api.client("patient") as client:
        async with AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(_opened(client, held.id)) for _ in range(MAX_STREAMS)]
            for stream in streams:
                await stream.next()
            refused = await client.get(f"/v1/appointments/{held.id}/events")
            assert (refused.status_code, refused.json()["code"]) == (429, Code.RATE_LIMITED)
            assert int(refused.headers["retry-after"]) > 0
            async with api.client("staff") as desk, _opened(desk, held.id) as another:
                await another.next()
        async with asyncio.timeout(20):
            while api.services.streams._open:  # noqa: ASYNC110  the server notices by itself
                await asyncio.sleep(0.01)
        async with _opened(client, held.id) as again:
            await again.next()


async def test_streams_share_one_subscription(api: Api, worker: Worker, stores: Repositories) -> None:
    redis = connect(api.settings.redis_url.get_secret_value())
    watchers = [patient(number) for number in range(20, 25)]
    appointments = [
        await hold(stores, a_booking(ANANYA_RAO, who.id, next(_STARTS)), None, Intake()) for who in watchers
    ]
    subscribed = partial(redis.pubsub_numsub, f"{api.settings.database}:appointment")
    before = await subscribed()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(api.client(who)) for who in watchers]
        streams = [
            await stack.enter_async_context(_opened(client, appointment.id))
            for client, appointment in zip(clients, appointments, strict=True)
        ]
        for stream in streams:
            await stream.next()
        assert await subscribed() == before
        await worker.confirm(appointments[3])
        assert (await streams[3].next(3)).data["state"] == "confirmed"
    await redis.aclose()


async def test_who_has_signed_out_hears_nothing_more(
    api: Api, worker: Worker, stores: Repositories, held: Appointment
) -> None:
    token = await signed_in(stores, api.settings, PATIENT)
    headers = {"Authorization": f"Bearer {token}"}
    async with api.client(**headers) as client, _opened(client, held.id) as stream:
        await stream.next()
        assert (await client.post("/v1/auth/logout")).status_code == 204
        await worker.confirm(held)
        await stream.ends(60)


async def test_whose_account_is_to_be_deleted_hears_nothing_more(
    api: Api, worker: Worker, stores: Repositories
) -> None:
    leaver = patient(26)
    held = await hold(stores, a_booking(ANANYA_RAO, leaver.id, next(_STARTS)), None, Intake())
    async with api.client(leaver) as client, _opened(client, held.id) as stream:
        await stream.next()
        asked = await stores.deletions.add(System("a test"), a_deletion(leaver.id))
        now = datetime.now(UTC)
        assert await stores.deletions.confirm(System("a test"), asked.id, now, now + timedelta(days=7))
        api.services.sessions.leavers_changed()
        assert (await client.get(f"/v1/appointments/{held.id}")).json()["code"] == Code.ACCOUNT_LEAVING
        await worker.confirm(held)
        await stream.ends(60)


async def test_without_redis_streams_look_by_themselves_and_tickets_wait(
    api: Api, worker: Worker, held: Appointment
) -> None:
    settings = api.settings.model_copy(update={"redis_url": type(api.settings.redis_url)("redis://127.0.0.1:1/0")})
    async with serving(settings) as lonely, lonely.client("patient") as client:
        ticket = await client.post(f"/v1/appointments/{held.id}/events-ticket")
        assert (ticket.status_code, ticket.json()["code"]) == (503, Code.UNAVAILABLE)
        by_ticket = await client.get(
            f"/v1/appointments/{held.id}/events", params={"ticket": "x"}, headers={"Authorization": ""}
        )
        assert by_ticket.status_code == 503
        async with _opened(client, held.id) as stream:
            await stream.next()
            await worker.expire(held)
            assert (await stream.next(5)).data["state"] == "expired"
            await stream.ends()
