"""What needs no payment, and everything that is read: lists, streams of events and calendar files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import httpx
import pytest
from icalendar import Calendar
from redis import Redis

from models.identity import Account, Role
from tests.booking.support import (
    a_start,
    ask,
    book,
    book_paid,
    cancel,
    claims_of,
    look,
    money_of,
    ok,
    problem,
    somebody,
    temporal,
    until,
    until_refunded,
    workflow_status,
)
from tests.clinics import employee, offer
from tests.stack import Json, Stack, eventually

VISIT = offer("steady", "visit")
FINAL: Final = frozenset({"cancelled", "expired", "completed"})


# Confirmed at once


@pytest.mark.parametrize(("service", "payment_state"), [("free", "not_required"), ("desk", "due_at_clinic")])
async def test_without_payment_it_is_confirmed_at_once(shared_stack: Stack, service: str, payment_state: str) -> None:
    wanted = offer("steady", service)
    async with shared_stack.client(somebody()) as who:
        start = await a_start(shared_stack, wanted)
        confirmed = ok(await ask(shared_stack, who, wanted, start, reason="a cough", patient=_CHILD), 201)
        assert (confirmed["state"], confirmed["payment_state"]) == ("confirmed", payment_state)
        assert (confirmed["payment"], confirmed["actions"]) == (None, ["cancel", "reschedule"])
        assert (confirmed["reason"], confirmed["patient"]) == ("a cough", _CHILD)
        assert confirmed["waiting_for"]["event"] == "visit"
        assert datetime.fromisoformat(confirmed["waiting_for"]["until"]) == datetime.fromisoformat(
            confirmed["start"]
        ) + timedelta(minutes=30)
        assert [step["event"] for step in confirmed["history"]] == ["appointment.confirmed"]
    claim = shared_stack.db.slots.find_one({"_id": confirmed["id"]})
    assert claim is not None
    assert (claim["kind"], claim["expires_at"], claim["tentative"]) == ("booked", None, False)
    assert (await money_of(shared_stack, confirmed["id"])).payments == []
    assert not [one for one in (await shared_stack.ledger())["orders"] if one["receipt"] == confirmed["id"]]
    status = await workflow_status(await temporal(shared_stack), confirmed["id"])
    assert status is not None
    assert status.name == "RUNNING"


_CHILD: Final = {"name": "Asha", "date_of_birth": "2019-05-17", "relation": "daughter"}


async def test_a_free_seat_is_booked_at_once(shared_stack: Stack) -> None:
    talk = offer("steady", "talk", "group")
    async with shared_stack.client(somebody()) as who:
        confirmed = await book(shared_stack, who, talk, await a_start(shared_stack, talk, days=(13, 14)))
        assert (confirmed["state"], claims_of(shared_stack, confirmed["id"])) == ("confirmed", 1)
        session = shared_stack.db.slots.find_one({"seats.owner": confirmed["id"]})
        assert session is not None
        assert session["seats"][0]["expires_at"] is None


# Lists


class Visits(NamedTuple):
    """One patient with a visit at each of two tenants, and another patient beside them."""

    who: Account
    steady: Json
    strict: Json
    other: Json


@pytest.fixture(scope="module")
async def visits(shared_stack: Stack) -> Visits:
    who = somebody()
    async with shared_stack.client(who) as mine, shared_stack.client(somebody()) as theirs:
        return Visits(
            who,
            await book(shared_stack, mine, offer("steady", "free")),
            await book(shared_stack, mine, offer("strict", "free"), await _soon(shared_stack)),
            await book(shared_stack, theirs, offer("steady", "desk")),
        )


async def _soon(stack: Stack) -> str:
    return await a_start(stack, offer("strict", "free"), days=(2, 4))


async def every_id(who: httpx.AsyncClient, **filters: str) -> list[str]:
    """The ids of a whole list, page by page."""
    found: list[str] = []
    params = {"limit": "100", **filters}
    while True:
        page = ok(await who.get("/v1/appointments", params=params))
        found += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


async def test_everybody_s_list(shared_stack: Stack, visits: Visits) -> None:
    mine, theirs = {visits.steady["id"], visits.strict["id"]}, visits.other["id"]
    async with shared_stack.client(visits.who) as who:
        assert set(await every_id(who)) == mine
    for tenant, own in (("steady", visits.steady["id"]), ("strict", visits.strict["id"])):
        for role in (Role.STAFF, Role.DOCTOR, Role.ADMIN):
            async with shared_stack.client(employee(tenant, role)) as clinic:
                seen = set(await every_id(clinic))
                assert own in seen, (tenant, role)
                assert (theirs in seen) == (tenant == "steady"), (tenant, role)
                assert not (mine - {own}) & seen, (tenant, role)
                # Nobody gets at another tenant's by asking for it by name.
                assert set(await every_id(clinic, patient_id=visits.who.id)) == {own}, (tenant, role)
    async with shared_stack.client("other_tenant_staff") as foreign, shared_stack.client("admin") as platform:
        assert not {*mine, theirs} & set(await every_id(foreign))
        problem(await platform.get("/v1/appointments"), 403, "forbidden")


async def test_a_doctor_sees_their_own_and_staff_their_clinic_s(shared_stack: Stack) -> None:
    group = offer("steady", "talk", "group")
    async with shared_stack.client(somebody()) as who:
        booked = await book(shared_stack, who, group, await a_start(shared_stack, group, days=(15, 16)))
    another_clinic = employee("steady", Role.STAFF).model_copy(update={"clinic_ids": frozenset({"cln_steady_east"})})
    sees = {employee("steady", Role.STAFF): True, employee("steady", Role.DOCTOR): False, another_clinic: False}
    for account, expected in sees.items():
        async with shared_stack.client(account) as clinic:
            assert (booked["id"] in await every_id(clinic)) == expected, account
            answer = await clinic.get(f"/v1/appointments/{booked['id']}")
            assert answer.status_code == (200 if expected else 404), account


async def test_pages_are_stable_while_bookings_come_and_go(shared_stack: Stack) -> None:
    """Read to the middle, then book before, behind and at the border, and cancel: nothing old is missed or repeated."""
    free = offer("steady", "free")
    starts = (await shared_stack.free_starts(free.provider_id, free.service_id, days=(17, 18)))[:24]
    old, new = starts[::3], [one for place, one in enumerate(starts) if place % 3]
    async with shared_stack.client(somebody()) as who:
        placed = [await book(shared_stack, who, free, one) for one in old]
        first = ok(await who.get("/v1/appointments", params={"limit": "3"}))
        await asyncio.gather(*(book(shared_stack, who, free, one) for one in new))
        ok(await cancel(who, placed[3]["id"]))
        rest = await every_id(who, limit="3", cursor=first["next_cursor"])
        seen = [one["id"] for one in first["items"]] + rest
        assert len(seen) == len(set(seen))
        assert {one["id"] for one in placed} <= set(seen)
        whole = ok(await who.get("/v1/appointments", params={"limit": "100"}))["items"]
        assert [one["start"] for one in whole] == sorted(starts, reverse=True)
        assert [one for one in whole if one["id"] in rest] == whole[-len(rest) :]
        assert [one["id"] for one in whole if one["state"] == "cancelled"] == [placed[3]["id"]]


# Streams


class Heard(NamedTuple):
    """One event of a stream."""

    version: int
    state: str
    payment_state: str


@asynccontextmanager
async def listening(
    who: httpx.AsyncClient, appointment: str, **request: dict[str, str]
) -> AsyncIterator[AsyncIterator[Heard]]:
    """An open stream's events."""
    path = f"/v1/appointments/{appointment}/events"
    async with who.stream("GET", path, timeout=30, params=request.get("params"), headers=request.get("headers")) as got:
        assert got.status_code == 200, await got.aread()
        assert got.headers["content-type"].startswith("text/event-stream")
        yield _heard(got)


async def _heard(answer: httpx.Response) -> AsyncIterator[Heard]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "data" in fields:
            assert fields["event"] == "appointment"
            seen: Json = json.loads(fields["data"])
            assert int(fields["id"]) == seen["version"]
            yield Heard(seen["version"], seen["state"], seen["payment_state"])
            fields = {}


async def test_a_stream_tells_everything_in_order_until_the_end(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        heard: list[Heard] = []
        async with asyncio.timeout(30), listening(who, held["id"]) as events:
            async for event in events:
                heard.append(event)
                if len(heard) == 1:
                    await shared_stack.pay(held["payment"]["order_id"])
                elif event.state == "confirmed":
                    ok(await cancel(who, held["id"]))
        assert [one.version for one in heard] == sorted({one.version for one in heard})
        assert list(dict.fromkeys(one.state for one in heard)) == ["held", "confirmed", "cancelled"]
        await until_refunded(who, held["id"], "processed")


async def test_a_stream_ends_when_the_hold_expires(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, offer("swift", "visit"))
        async with asyncio.timeout(30), listening(who, held["id"]) as events:
            heard = [event.state async for event in events]
    assert list(dict.fromkeys(heard)) == ["held", "expired"]


async def test_whoever_comes_back_misses_nothing_and_hears_nothing_twice(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        async with asyncio.timeout(30), listening(who, held["id"]) as events:
            last = await anext(events)
        await shared_stack.pay(held["payment"]["order_id"])
        await until(who, held["id"], state="confirmed")
        known = {"Last-Event-ID": str(last.version)}
        async with asyncio.timeout(30), listening(who, held["id"], headers=known) as events:
            missed = await anext(events)
            assert (missed.state, missed.version > last.version) == ("confirmed", True)
            ok(await cancel(who, held["id"]))
            rest = [event async for event in events]
        assert rest[0].state == "cancelled"
        assert all(event.version > missed.version for event in rest)
        # What is final is told to whoever does not know it yet, and ends for whoever does.
        await until_refunded(who, held["id"], "processed")
        version = (await look(who, held["id"]))["version"]
        for known_version, expected in ((version - 1, 1), (version, 0)):
            known = {"Last-Event-ID": str(known_version)}
            async with asyncio.timeout(30), listening(who, held["id"], headers=known) as events:
                assert len([event async for event in events]) == expected


async def test_a_ticket_opens_one_stream_within_a_minute(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.anonymous() as browser:
        booked = await book(shared_stack, who, offer("steady", "free"))
        path = f"/v1/appointments/{booked['id']}/events"
        tickets = [ok(await who.post(f"{path}-ticket"), 201)["ticket"] for _ in range(3)]
        async with asyncio.timeout(30), listening(browser, booked["id"], params={"ticket": tickets[0]}) as events:
            assert (await anext(events)).state == "confirmed"
        problem(await browser.get(path, params={"ticket": tickets[0]}), 401, "ticket_invalid")
        # Of many who use one ticket at once, one gets in.
        ok(await cancel(who, booked["id"]))
        answers = await asyncio.gather(*(browser.get(path, params={"ticket": tickets[1]}) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5
        _let_lapse(shared_stack)
        problem(await browser.get(path, params={"ticket": tickets[2]}), 401, "ticket_invalid")
        problem(await browser.get(path), 401, "token_missing")


def _let_lapse(stack: Stack) -> None:
    """A minute passes for every ticket."""
    with Redis.from_url(stack.settings.redis_url.get_secret_value()) as redis:
        found = list(redis.scan_iter(f"{stack.settings.database}:ticket:*"))
        assert found
        for key in found:
            assert 0 < redis.ttl(key) <= 60
            redis.pexpire(key, 0)


async def test_the_clinic_may_listen_and_nobody_else(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as clinic:
        booked = await book(shared_stack, who, offer("steady", "free"))
        async with asyncio.timeout(30), listening(clinic, booked["id"]) as events:
            assert (await anext(events)).state == "confirmed"
        for stranger in (somebody(), employee("swift", Role.STAFF)):
            async with shared_stack.client(stranger) as other:
                problem(await other.get(f"/v1/appointments/{booked['id']}/events"), 404, "not_found")
                problem(await other.post(f"/v1/appointments/{booked['id']}/events-ticket"), 404, "not_found")


# The calendar


async def test_a_calendar_follows_the_appointment(shared_stack: Stack) -> None:
    """One entry from the hold to the cancellation: the same name, a rising sequence, and taken out at the end."""
    async with shared_stack.client(somebody()) as who:
        held = await book(shared_stack, who, VISIT)
        path = f"/v1/appointments/{held['id']}/calendar.ics"
        files = [(await who.get(path)).text]
        await shared_stack.pay(held["payment"]["order_id"])
        await until(who, held["id"], state="confirmed")
        files.append((await who.get(path)).text)
        ok(await cancel(who, held["id"]))
        await until_refunded(who, held["id"], "processed")
        files.append((await who.get(path)).text)
    calendars = [Calendar.from_ical(one) for one in files]
    events = [event for calendar in calendars for event in calendar.events]
    assert [str(event["status"]) for event in events] == ["TENTATIVE", "CONFIRMED", "CANCELLED"]
    assert [str(calendar["method"]) for calendar in calendars] == ["PUBLISH", "PUBLISH", "CANCEL"]
    assert len({str(event["uid"]) for event in events}) == 1
    sequences = [int(str(event["sequence"])) for event in events]
    assert sequences == sorted(set(sequences))
    for event in events:
        assert event.start == datetime.fromisoformat(held["start"])
        assert event.end == datetime.fromisoformat(held["end"])


async def test_a_calendar_of_somebody_else_is_not_found(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(somebody()) as other:
        booked = await book_paid(shared_stack, who, VISIT)
        problem(await other.get(f"/v1/appointments/{booked['id']}/calendar.ics"), 404, "not_found")


# What is told elsewhere


async def test_every_step_is_audited_once(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who, shared_stack.client(employee("steady", Role.STAFF)) as clinic:
        booked = await book_paid(shared_stack, who, VISIT)
        await look(who, booked["id"])
        await look(clinic, booked["id"])
        ok(await cancel(clinic, booked["id"]))
        seen = await until_refunded(who, booked["id"], "processed")

        async def audited() -> list[str]:
            return [one["action"] for one in shared_stack.db.audit.find({"target": booked["id"]}, sort=[("at", 1)])]

        steps = [step["event"] for step in seen["history"]]
        # Its patient's own looks are no news; the clinic's is.
        await eventually(audited, lambda found: sorted(found) == sorted([*steps, "record.read"]))
