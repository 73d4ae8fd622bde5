"""Placing: what is refused, that a refusal leaves nothing behind, and that a repeated request books once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from tests.booking.support import (
    a_start,
    ask,
    book,
    book_paid,
    cancel,
    claims_of,
    id_of,
    look,
    nothing_changes,
    ok,
    problem,
    somebody,
    statuses,
    temporal,
    until,
    workflow_status,
)
from tests.clinics import Offer, offer
from tests.stack import Json, Stack, eventually

VISIT = offer("steady", "visit")
STRICT_VISIT = offer("strict", "visit")
SWIFT_VISIT = offer("swift", "visit")
OPERATORS: tuple[object, ...] = ({"$gt": ""}, {"$ne": None}, {"$where": "1"}, {"$in": ["a"]}, {"a.b": 1}, ["$gt"])
RUNNING, COMPLETED = WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED


@pytest.fixture(scope="module")
async def client(shared_stack: Stack) -> Client:
    return await temporal(shared_stack)


def request_for(start: str, wanted: Offer = VISIT, **more: object) -> Json:
    return {"provider_id": wanted.provider_id, "service_id": wanted.service_id, "start": start, **more}


async def post(who: httpx.AsyncClient, body: object, key: str = "a key of this test") -> httpx.Response:
    return await who.post("/v1/appointments", json=body, headers={"Idempotency-Key": key})


async def codes(who: httpx.AsyncClient, bodies: Mapping[str, object]) -> dict[str, tuple[int, str]]:
    """What each body is answered, by the body's name; each has its number for a key."""
    found = {}
    for number, (name, body) in enumerate(bodies.items()):
        answer = await post(who, body, str(number))
        found[name] = (answer.status_code, answer.json()["code"])
    return found


def at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# Times that cannot be booked


async def test_times_that_nobody_offers(shared_stack: Stack, client: Client) -> None:
    who = somebody()
    start = datetime.fromisoformat(await a_start(shared_stack, VISIT))
    doctor = Offer("prv_ananya_rao_arogya-indiranagar", "svc_ananya_rao_arogya-indiranagar_visit")
    at_night = (start + timedelta(days=1)).replace(hour=20, minute=0)
    now = datetime.now(UTC)
    on_the_hour = now.replace(minute=0, second=0, microsecond=0)
    refused = {
        "between two slots": (request_for(at(start + timedelta(minutes=5))), "slot_invalid"),
        "a second off": (request_for(at(start + timedelta(seconds=1))), "slot_invalid"),
        "outside the hours": (request_for(at(at_night), doctor), "slot_invalid"),
        "in the past": (request_for(at(start - timedelta(days=30))), "too_soon"),
        "now": (request_for(at(on_the_hour)), "too_soon"),
        "within the notice": (request_for(at(on_the_hour + timedelta(minutes=45))), "too_soon"),
        "within a clinic's own notice": (request_for(at(on_the_hour + timedelta(hours=3)), STRICT_VISIT), "too_soon"),
        "beyond the horizon": (request_for(at(now + timedelta(days=62))), "too_far"),
        "beyond a clinic's own horizon": (request_for(at(now + timedelta(days=7)), STRICT_VISIT), "too_far"),
        "in another century": (request_for("2999-12-31T23:45:00Z"), "too_far"),
    }
    async with shared_stack.client(who) as person, nothing_changes(shared_stack):
        answers = await codes(person, {name: body for name, (body, _) in refused.items()})
    assert answers == {name: (422, code) for name, (_, code) in refused.items()}
    ids = [id_of(shared_stack, who, str(number)) for number in range(len(refused))]
    assert [await workflow_status(client, one) for one in ids] == [None] * len(refused)


async def test_providers_and_services_that_do_not_exist(shared_stack: Stack) -> None:
    start = await a_start(shared_stack, VISIT)
    unknown = {
        "provider": request_for(start) | {"provider_id": "prv_nobody"},
        "service": request_for(start) | {"service_id": "svc_nothing"},
        "another doctor's service": request_for(start) | {"service_id": STRICT_VISIT.service_id},
        "ids that look like other things": request_for(start) | {"provider_id": "apt_..:--"},
    }
    async with shared_stack.client(somebody()) as person, nothing_changes(shared_stack):
        assert await codes(person, unknown) == dict.fromkeys(unknown, (404, "not_found"))


async def test_who_loses_is_told_what_is_free(shared_stack: Stack, client: Client) -> None:
    winner, loser = somebody(), somebody()
    async with shared_stack.client(winner) as first, shared_stack.client(loser) as second:
        start = await a_start(shared_stack, VISIT)
        await book(shared_stack, first, VISIT, start)
        async with nothing_changes(shared_stack):
            refused = await ask(shared_stack, second, VISIT, start, key="the loser's", reason="a cough since Sunday")
        alternatives = problem(refused, 409, "slot_taken")["alternatives"]
        free = await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id)
        assert alternatives == [one for one in free if one > start][:3]
        assert len(alternatives) == 3
        taken = [await ask(shared_stack, second, VISIT, one) for one in alternatives]
    assert statuses(taken) == [201, 201, 201]
    assert await workflow_status(client, id_of(shared_stack, loser, "the loser's")) is None


async def test_alternatives_leave_room_for_their_buffers(shared_stack: Stack) -> None:
    """Preparing takes longer than the step between two visits: what ended before the wanted start is in the way too."""
    prepared = offer("steady", "prepared")
    async with shared_stack.client(somebody()) as first, shared_stack.client(somebody()) as second:
        wanted = (await shared_stack.free_starts(prepared.provider_id, prepared.service_id, days=(14, 15)))[4]
        just_before = datetime.fromisoformat(wanted) - timedelta(minutes=15)
        await book(shared_stack, first, VISIT, at(just_before))
        refused = await ask(shared_stack, second, prepared, wanted)
        alternatives = problem(refused, 409, "slot_taken")["alternatives"]
        free = await shared_stack.free_starts(prepared.provider_id, prepared.service_id, days=(14, 15))
        assert alternatives == [one for one in free if one > wanted][:3]
        assert ok(await ask(shared_stack, second, prepared, alternatives[0]), 201)["start"] == alternatives[0]


# Requests that make no sense


async def test_fields_that_are_unknown_missing_or_of_another_kind(shared_stack: Stack) -> None:
    start = await a_start(shared_stack, VISIT)
    good = request_for(start)
    person = {"name": "Asha", "date_of_birth": "1990-05-17", "relation": "sister"}
    bodies: dict[str, object] = {f"unknown {name}": good | {name: "x"} for name in _FOREIGN_FIELDS}
    bodies |= {f"missing {name}": {k: v for k, v in good.items() if k != name} for name in good}
    for name, value in product((*good, "reason", "patient"), (7, 1.5, True, [], {}, [start])):
        bodies[f"{name} is {value!r}"] = good | {name: value}
    bodies |= {f"{name} is null": good | {name: None} for name in good}
    bodies |= {f"the start is {text!r}": good | {"start": text} for text in _NO_INSTANTS}
    bodies |= {f"the id is {text!r}": good | {"provider_id": text} for text in _NO_IDS}
    for name, value in product(person, (None, 7, True, [], {}, "", "a\x00b", "x" * 200)):
        bodies[f"the patient's {name} is {value!r}"[:100]] = good | {"patient": person | {name: value}}
    bodies |= {
        "a foreign field of the patient": good | {"patient": person | {"tenant_id": "tnt_arogya"}},
        "a patient without a name": good | {"patient": {k: v for k, v in person.items() if k != "name"}},
        "born tomorrow": good | {"patient": person | {"date_of_birth": str(datetime.now(UTC).date() + timedelta(2))}},
        "born long ago": good | {"patient": person | {"date_of_birth": "1850-01-01"}},
        "a long reason": good | {"reason": "x" * 1001},
        "an empty reason": good | {"reason": "  "},
        "a list": [good],
        "a string": "book",
        "a number": 7,
        "null": None,
    }
    async with shared_stack.client(somebody()) as who, nothing_changes(shared_stack):
        assert await codes(who, bodies) == dict.fromkeys(bodies, (422, "invalid"))


_FOREIGN_FIELDS = ("tenant_id", "subject_id", "state", "payment_state", "fee", "price", "policy", "id", "_id", "$set")
_NO_IDS = ("", "a b", "a" * 101, "प्र", "$gt", "a\n")
_NO_INSTANTS = (
    "", "soon", "2030-01-01", "2030-01-01T09:00:00", "2030-01-01 09:00:00Z", "1893488400", "2030-13-01T09:00:00Z",
    "2030-02-30T09:00:00Z", "2030-01-01T25:00:00Z", "2030-01-01T09:00:00+99:00", "0001-01-01T00:00:00+14:00",
)  # fmt: skip


async def test_operators_are_no_values(shared_stack: Stack) -> None:
    start = await a_start(shared_stack, VISIT)
    good = request_for(start)
    person = {"name": "Asha", "date_of_birth": "1990-05-17", "relation": "sister"}
    bodies: dict[str, object] = {}
    for number, operator in enumerate(OPERATORS):
        bodies |= {f"{name}-{number}": good | {name: operator} for name in (*good, "reason", "patient")}
        bodies |= {f"patient.{name}-{number}": good | {"patient": person | {name: operator}} for name in person}
    bodies["dotted"] = good | {"patient.name": "Asha"}
    bodies["an operator for a field"] = good | {"$where": "sleep(1)"}
    async with shared_stack.client(somebody()) as who, nothing_changes(shared_stack):
        assert await codes(who, bodies) == dict.fromkeys(bodies, (422, "invalid"))


async def test_no_value_of_a_body_is_repeated_in_its_refusal(shared_stack: Stack) -> None:
    canary = "Tuberculosis-canary"
    body = request_for(await a_start(shared_stack, VISIT)) | {"reason": [canary], "patient": {"name": canary}}
    async with shared_stack.client(somebody()) as who:
        refused = await post(who, body)
    problem(refused, 422, "invalid")
    assert canary not in refused.text


async def test_what_is_no_json(shared_stack: Stack) -> None:
    kinds = {
        b"": (422, "invalid"),
        b"{": (400, "malformed"),
        b"\xff\xfe": (400, "malformed"),
        b"{'a': 1}": (400, "malformed"),
        b'{"a": NaN': (400, "malformed"),
    }
    async with shared_stack.client(somebody()) as who, nothing_changes(shared_stack):
        for content, expected in kinds.items():
            answer = await who.post(
                "/v1/appointments",
                content=content,
                headers={"Idempotency-Key": "a key", "Content-Type": "application/json"},
            )
            assert (answer.status_code, answer.json()["code"]) == expected, content
        form = await who.post("/v1/appointments", data={"provider_id": "x"}, headers={"Idempotency-Key": "a key"})
        problem(form, 415, "unsupported_media_type")


# Keys


async def test_a_key_is_required_and_of_a_kind(shared_stack: Stack) -> None:
    body = request_for(await a_start(shared_stack, VISIT))
    async with shared_stack.client(somebody()) as who, nothing_changes(shared_stack):
        problem(await who.post("/v1/appointments", json=body), 400, "idempotency_key_required")
        problem(await post(who, body, ""), 400, "idempotency_key_required")
        for odd in ("x" * 256, "tab\there"):
            problem(await post(who, body, odd), 422, "invalid")
        latin = await who.post("/v1/appointments", json=body, headers={b"Idempotency-Key": "ключ".encode()})
        problem(latin, 422, "invalid")


async def test_a_key_with_another_body(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as who:
        first, second = (await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id))[:2]
        placed = ok(await ask(shared_stack, who, VISIT, first, key="mine", reason="a cough"), 201)
        async with nothing_changes(shared_stack):
            for other in (
                request_for(second, reason="a cough"),
                request_for(first, reason="a fever"),
                request_for(first),
                request_for(first, offer("steady", "desk"), reason="a cough"),
            ):
                problem(await post(who, other, "mine"), 422, "idempotency_key_reused")
        # The same meaning written in another way is the same body.
        same_instant = datetime.fromisoformat(first).astimezone().isoformat()
        again = await post(who, request_for(same_instant, reason="  a cough ", patient=None), "mine")
        assert ok(again, 201)["id"] == placed["id"]


async def test_two_bodies_under_one_key_at_once(shared_stack: Stack, client: Client) -> None:
    who = somebody()
    starts = (await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id))[:6]
    async with shared_stack.client(who) as person:
        answers = await asyncio.gather(*(ask(shared_stack, person, VISIT, one, key="one") for one in starts))
        won = [answer.json() for answer in answers if answer.status_code == 201]
        assert len(won) == 1
        for answer in answers:
            if answer.status_code != 201:
                problem(answer, 422, "idempotency_key_reused")
        assert claims_of(shared_stack, won[0]["id"]) == 1
        booked = shared_stack.db.slots.find_one({"_id": won[0]["id"]})
        assert booked is not None
        assert booked["start"] == datetime.fromisoformat(won[0]["start"])
        free = await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id)
        assert [one for one in starts if one not in free] == [won[0]["start"]]
    assert await workflow_status(client, won[0]["id"]) is RUNNING


async def test_keys_of_different_people_never_meet(shared_stack: Stack) -> None:
    starts = (await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id))[:2]
    async with shared_stack.client(somebody()) as first, shared_stack.client(somebody()) as second:
        mine = ok(await ask(shared_stack, first, VISIT, starts[0], key="1"), 201)
        theirs = ok(await ask(shared_stack, second, VISIT, starts[1], key="1"), 201)
        assert mine["id"] != theirs["id"]
        problem(await second.get(f"/v1/appointments/{mine['id']}"), 404, "not_found")


# Repeated requests


async def test_a_double_click_books_once(shared_stack: Stack, client: Client) -> None:
    start = await a_start(shared_stack, VISIT)
    async with shared_stack.client(somebody()) as who:
        answers = await asyncio.gather(
            *(ask(shared_stack, who, VISIT, start, key="click", reason="a cough") for _ in range(8))
        )
        assert statuses(answers) == [201] * 8
        placed = answers[0].json()
        assert {answer.json()["id"] for answer in answers} == {placed["id"]}
        assert {answer.headers["location"] for answer in answers} == {f"/v1/appointments/{placed['id']}"}
        seen = await eventually(lambda: look(who, placed["id"]), lambda one: one["payment"]["status"] == "ready")
        assert seen["reason"] == "a cough"
        assert [step["event"] for step in seen["history"]] == ["appointment.held", "appointment.order_ready"]
    assert claims_of(shared_stack, placed["id"]) == 1
    orders = [one for one in (await shared_stack.ledger())["orders"] if one["receipt"] == placed["id"]]
    assert len(orders) == 1
    assert await workflow_status(client, placed["id"]) is RUNNING


async def test_a_repeated_request_gets_the_booking_as_it_is_now(shared_stack: Stack) -> None:
    start = await a_start(shared_stack, VISIT)
    async with shared_stack.client(somebody()) as who:
        placed = ok(await ask(shared_stack, who, VISIT, start, key="again"), 201)
        await shared_stack.pay(placed["payment"]["order_id"])
        await until(who, placed["id"], state="confirmed")
        async with nothing_changes(shared_stack):
            again = await ask(shared_stack, who, VISIT, start, key="again")
        assert ok(again, 201)["state"] == "confirmed"
        assert again.headers["location"] == f"/v1/appointments/{placed['id']}"


async def test_a_repeated_request_after_the_workflow_closed(shared_stack: Stack, client: Client) -> None:
    async with shared_stack.client(somebody()) as who:
        start = await a_start(shared_stack, VISIT)
        placed = ok(await ask(shared_stack, who, VISIT, start, key="closed"), 201)
        ok(await cancel(who, placed["id"]))
        await eventually(lambda: workflow_status(client, placed["id"]), lambda status: status is COMPLETED)
        async with shared_stack.client(somebody()) as other:
            await book(shared_stack, other, VISIT, start)
        async with nothing_changes(shared_stack):
            answers = await asyncio.gather(*(ask(shared_stack, who, VISIT, start, key="closed") for _ in range(3)))
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(201, "cancelled")] * 3
    assert {answer.headers["location"] for answer in answers} == {f"/v1/appointments/{placed['id']}"}


async def test_a_repeated_request_after_the_hold_expired(shared_stack: Stack, client: Client) -> None:
    async with shared_stack.client(somebody()) as who:
        start = await a_start(shared_stack, SWIFT_VISIT)
        placed = ok(await ask(shared_stack, who, SWIFT_VISIT, start, key="slow"), 201)
        await until(who, placed["id"], state="expired")
        await eventually(lambda: workflow_status(client, placed["id"]), lambda status: status is COMPLETED)
        async with nothing_changes(shared_stack):
            again = await ask(shared_stack, who, SWIFT_VISIT, start, key="slow")
            problem(
                await ask(shared_stack, who, SWIFT_VISIT, start, key="slow", reason="x"), 422, "idempotency_key_reused"
            )
        assert (again.status_code, again.json()["id"], again.json()["state"]) == (201, placed["id"], "expired")
        assert again.json()["payment"] is None
        fresh = ok(await ask(shared_stack, who, SWIFT_VISIT, start, key="another"), 201)
        assert fresh["id"] != placed["id"]


async def test_a_key_that_was_refused_may_be_tried_again(shared_stack: Stack, client: Client) -> None:
    who = somebody()
    async with shared_stack.client(somebody()) as other, shared_stack.client(who) as person:
        start = await a_start(shared_stack, VISIT)
        first = await book(shared_stack, other, VISIT, start)
        for _ in range(2):
            problem(await ask(shared_stack, person, VISIT, start, key="patience"), 409, "slot_taken")
        assert await workflow_status(client, id_of(shared_stack, who, "patience")) is None
        ok(await cancel(other, first["id"]))
        placed = ok(await ask(shared_stack, person, VISIT, start, key="patience"), 201)
        assert placed["id"] == id_of(shared_stack, who, "patience")


async def test_another_body_under_a_refused_key(shared_stack: Stack) -> None:
    """Only what was created is remembered."""
    async with shared_stack.client(somebody()) as other, shared_stack.client(somebody()) as person:
        start, next_start = (await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id))[:2]
        await book(shared_stack, other, VISIT, start)
        problem(await ask(shared_stack, person, VISIT, start, key="k"), 409, "slot_taken")
        assert ok(await ask(shared_stack, person, VISIT, next_start, key="k"), 201)["start"] == next_start


# Too many unpaid holds


async def hold_two(stack: Stack, person: httpx.AsyncClient) -> tuple[list[Json], str]:
    """As many unpaid holds as the clinic allows, and a free start."""
    starts = (await stack.free_starts(STRICT_VISIT.provider_id, STRICT_VISIT.service_id, days=(2, 4)))[:3]
    return [await book(stack, person, STRICT_VISIT, one) for one in starts[:2]], starts[2]


async def test_too_many_unpaid_holds(shared_stack: Stack, client: Client) -> None:
    who = somebody()
    async with shared_stack.client(who) as person:
        held, start = await hold_two(shared_stack, person)
        async with nothing_changes(shared_stack):
            refused = await ask(shared_stack, person, STRICT_VISIT, start, key="third", reason="a cough")
            problem(refused, 429, "too_many_holds")
            assert int(refused.headers["retry-after"]) > 0
        assert await workflow_status(client, id_of(shared_stack, who, "third")) is None
        # What is not paid online holds nothing up, a repeated request holds nothing more, and paying makes room.
        ok(await ask(shared_stack, person, offer("strict", "desk"), start), 201)
        await shared_stack.pay(held[0]["payment"]["order_id"])
        await until(person, held[0]["id"], state="confirmed")
        later = await a_start(shared_stack, STRICT_VISIT, days=(2, 4))
        third = ok(await ask(shared_stack, person, STRICT_VISIT, later, key="third", reason="a cough"), 201)
        assert (third["id"], third["reason"]) == (id_of(shared_stack, who, "third"), "a cough")


async def test_holds_of_all_clinics_count(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as person:
        for _ in range(2):
            await book(shared_stack, person, VISIT)
        start = await a_start(shared_stack, STRICT_VISIT, days=(2, 4))
        problem(await ask(shared_stack, person, STRICT_VISIT, start), 429, "too_many_holds")


async def test_too_many_holds_at_once(shared_stack: Stack) -> None:
    who = somebody()
    async with shared_stack.client(who) as person:
        starts = (await shared_stack.free_starts(STRICT_VISIT.provider_id, STRICT_VISIT.service_id, days=(2, 4)))[:10]
        answers = await asyncio.gather(
            *(ask(shared_stack, person, STRICT_VISIT, one, key=f"k{number}") for number, one in enumerate(starts))
        )
        lost = []
        for one, answer in zip(starts, answers, strict=True):
            if answer.status_code != 201:
                problem(answer, 429, "too_many_holds")
                lost.append(one)
        won = len(starts) - len(lost)
        assert won <= 2
        assert shared_stack.db.slots.count_documents({"subject_id": who.id}) == won
        # However that went, the patient can have as many as are allowed.
        for one in lost[: 2 - won]:
            ok(await ask(shared_stack, person, STRICT_VISIT, one), 201)


async def test_a_group_seat_is_a_hold_too(shared_stack: Stack) -> None:
    group = offer("strict", "class", "group")
    async with shared_stack.client(somebody()) as person:
        starts = (await shared_stack.free_starts(group.provider_id, group.service_id, days=(2, 4)))[:3]
        for one in starts[:2]:
            await book(shared_stack, person, group, one)
        async with nothing_changes(shared_stack):
            problem(await ask(shared_stack, person, group, starts[2]), 429, "too_many_holds")


async def test_paid_bookings_do_not_count_as_holds(shared_stack: Stack) -> None:
    async with shared_stack.client(somebody()) as person:
        for _ in range(3):
            start = await a_start(shared_stack, STRICT_VISIT, days=(2, 4))
            await book_paid(shared_stack, person, STRICT_VISIT, start)
