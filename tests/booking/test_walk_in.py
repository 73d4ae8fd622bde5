"""Patients without an appointment: when they are seen, whose visit it is, and who may receive them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from models.identity import Role
from tests.booking.support import (
    book,
    claims_of,
    look,
    nothing_changes,
    ok,
    problem,
    say,
    somebody,
    the_books_hold,
)
from tests.clinics import Offer, employee, offer
from tests.stack import Json, Stack

VISIT, FREE, LONG = offer("swift", "visit"), offer("swift", "free"), offer("swift", "long")
TALK = offer("swift", "talk", "group")
ASHA = {"name": "Asha Kale", "date_of_birth": "1990-02-03"}
CLINIC = "cln_swift_central"
_NUMBERS = itertools.count(9_700_000_000 + secrets.randbelow(90_000_000))


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _books(shared_stack: Stack) -> AsyncIterator[None]:
    """Whatever the tests here did, the invariants hold afterwards."""
    yield
    await the_books_hold(shared_stack)


def _desk(stack: Stack, role: Role = Role.STAFF, tenant: str = "swift") -> httpx.AsyncClient:
    return stack.client(employee(tenant, role))


async def _receive(
    desk: httpx.AsyncClient, wanted: Offer = FREE, *, clinic: str = CLINIC, key: str | None = None, **more: object
) -> httpx.Response:
    body = {"provider_id": wanted.provider_id, "service_id": wanted.service_id, "patient": ASHA, **more}
    headers = {"Idempotency-Key": key or secrets.token_urlsafe(12)}
    return await desk.post(f"/v1/clinics/{clinic}/walk-ins", json=body, headers=headers)


def _subject(stack: Stack, visit: Json) -> str:
    found = stack.db.appointments.find_one({"_id": visit["id"]}, {"subject_id": 1})
    assert found is not None
    return str(found["subject_id"])


async def test_the_next_free_time_is_theirs_and_paid_at_the_desk(shared_stack: Stack) -> None:
    async with _desk(shared_stack) as desk:
        answer = await _receive(desk, VISIT, reason="a fever", key="the-first")
        first = ok(answer, 201)
        assert answer.headers["location"] == f"/v1/appointments/{first['id']}"
        assert (first["state"], first["payment_state"], first["payment"]) == ("confirmed", "due_at_clinic", None)
        assert first["service"]["payment"] == "at_clinic"
        assert first["patient"] == {**ASHA, "relation": "self"}
        assert first["reason"] == "a fever"
        assert (first["history"][0]["by"], claims_of(shared_stack, first["id"])) == ("clinic", 1)
        away = datetime.fromisoformat(first["start"]) - datetime.now(UTC)
        assert timedelta(minutes=-5) <= away <= timedelta(minutes=31)
        second = ok(await _receive(desk, VISIT), 201)
        assert second["start"] > first["start"]
        async with nothing_changes(shared_stack):
            again = await _receive(desk, VISIT, reason="a fever", key="the-first")
            assert ok(again, 201)["id"] == first["id"]
            problem(await _receive(desk, VISIT, reason="a cough", key="the-first"), 422, "idempotency_key_reused")
        looks = shared_stack.db.audit.find({"target": first["id"], "action": "record.read"})
        assert [one["actor"] for one in looks] == [employee("swift", Role.STAFF).id], (
            "they read it when they asked again"
        )
        assert "check_in" in first["actions"]
        here = ok(await say(desk, first["id"], "check-in", paid=True))
        assert (here["state"], here["payment_state"]) == ("checked_in", "paid_at_clinic")


async def test_several_desks_at_once_receive_one_after_the_other(shared_stack: Stack) -> None:
    async with _desk(shared_stack) as desk:
        answers = await asyncio.gather(*(_receive(desk) for _ in range(3)))
        starts = [ok(one, 201)["start"] for one in answers]
    assert len(set(starts)) == 3


async def test_whoever_gives_their_phone_has_the_visit_in_their_account(shared_stack: Stack) -> None:
    """Whether the number was known before shows in nothing that the desk is told."""
    patient = {**ASHA, "phone": f"+91{next(_NUMBERS)}"}
    async with _desk(shared_stack) as desk:
        unknown, known = [ok(await _receive(desk, patient=patient), 201) for _ in range(2)]
        assert _shape(unknown) == _shape(known)
        owner = _subject(shared_stack, unknown)
        assert _subject(shared_stack, known) == owner
        stored = shared_stack.db.users.find_one({"_id": owner})
        assert stored is not None
        assert (stored["roles"], stored["tenant_id"]) == (["patient"], "platform")
        assert patient["phone"] not in str(stored)
        async with shared_stack.client(somebody().model_copy(update={"id": owner})) as who:
            assert {(await look(who, one["id"]))["state"] for one in (unknown, known)} == {"confirmed"}
            no = {"granted": False, "notice_version": 1, "language": "en"}
            ok(await who.put("/v1/me/consents/care", json=no))
        # Whoever does not want their data used any more is received like somebody without a phone.
        refused = ok(await _receive(desk, patient=patient), 201)
        assert _shape(refused) == _shape(known)
        assert _subject(shared_stack, refused) != owner


def _shape(seen: Json) -> list[str]:
    """What an answer tells, but for names, times and numbers."""
    events = (one["event"] for one in seen["history"])
    return [*sorted(seen), *seen["actions"], seen["state"], str(seen["patient"]), *events]


async def test_who_gives_no_phone_has_no_account(shared_stack: Stack) -> None:
    async with _desk(shared_stack) as desk:
        one, other = ok(await _receive(desk), 201), ok(await _receive(desk), 201)
    subjects = {_subject(shared_stack, one), _subject(shared_stack, other)}
    assert len(subjects) == 2
    assert shared_stack.db.users.count_documents({"_id": {"$in": sorted(subjects)}}) == 0
    assert ASHA["name"] not in str(shared_stack.db.appointments.find_one({"_id": one["id"]}))


async def test_a_time_of_their_choice(shared_stack: Stack) -> None:
    async with _desk(shared_stack) as desk, shared_stack.client(somebody()) as other:
        soon, taken, *_ = (await shared_stack.free_starts(FREE.provider_id, FREE.service_id, days=(5, 5)))[10:]
        assert ok(await _receive(desk, start=soon), 201)["start"] == soon
        await book(shared_stack, other, FREE, taken)
        async with nothing_changes(shared_stack):
            assert problem(await _receive(desk, start=taken), 409, "slot_taken")["alternatives"]
            # The override reaches hours and notice, never what is taken.
            problem(await _receive(desk, start=taken, override={"reason": "urgent"}), 409, "slot_taken")
            far = (datetime.now(UTC) + timedelta(days=200)).replace(second=0, microsecond=0, minute=0).isoformat()
            problem(await _receive(desk, start=far), 422, "too_far")
            past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
            problem(await _receive(desk, start=past), 422, "too_soon")
            odd = (datetime.fromisoformat(soon) + timedelta(minutes=20)).isoformat()
            problem(await _receive(desk, start=odd), 422, "slot_invalid")


async def test_outside_the_hours_with_a_reason(shared_stack: Stack) -> None:
    async with _desk(shared_stack) as desk:
        far = (datetime.now(UTC) + timedelta(days=150)).replace(second=0, microsecond=0, minute=5)
        seen = ok(await _receive(desk, start=far.isoformat(), override={"reason": "he fell off a ladder"}), 201)
        assert datetime.fromisoformat(seen["start"]) == far
    noted = shared_stack.db.audit.find_one({"action": "appointment.overridden", "target": CLINIC})
    assert noted is not None
    stored = shared_stack.db.appointments.find_one({"_id": seen["id"]})
    assert stored is not None
    assert "override" in stored["sealed"]
    assert "ladder" not in str(stored)


async def test_a_seat_in_a_session(shared_stack: Stack) -> None:
    async with _desk(shared_stack) as desk:
        seen = [ok(await _receive(desk, TALK), 201) for _ in range(5)]
    starts = [one["start"] for one in seen]
    assert starts[:4] == [starts[0]] * 4
    assert starts[4] > starts[3]


@pytest.mark.parametrize(
    ("role", "tenant", "clinic", "code"),
    [
        (Role.DOCTOR, "swift", CLINIC, "forbidden"),
        (Role.STAFF, "steady", CLINIC, "not_found"),
        (Role.ADMIN, "steady", CLINIC, "not_found"),
        (Role.STAFF, "steady", "cln_steady_central", "not_found"),
        (Role.STAFF, "swift", "cln_nowhere", "not_found"),
    ],
)
async def test_only_the_clinic_s_own_people(
    shared_stack: Stack, role: Role, tenant: str, clinic: str, code: str
) -> None:
    async with _desk(shared_stack, role, tenant) as desk, nothing_changes(shared_stack):
        problem(await _receive(desk, clinic=clinic), 403 if code == "forbidden" else 404, code)


async def test_an_admin_receives_at_each_clinic_and_a_key_is_needed(shared_stack: Stack) -> None:
    async with _desk(shared_stack, Role.ADMIN) as desk:
        seen = ok(await _receive(desk), 201)
        assert (await look(desk, seen["id"]))["id"] == seen["id"]
        path, body = f"/v1/clinics/{CLINIC}/walk-ins", {"provider_id": "x", "service_id": "y", "patient": ASHA}
        problem(await desk.post(path, json=body), 400, "idempotency_key_required")
        problem(await _receive(desk, patient={"name": "A", "phone": "12"}), 422, "invalid")
