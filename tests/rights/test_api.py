"""Requests by right over HTTP: by the patient, to the clinic that it concerns or to the platform, answered once."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

import httpx

from cli.accounts import ACCOUNTS
from models.errors import Code
from tests.booking.support import book, somebody
from tests.clinics import offer
from tests.stack import Stack, eventually

FREE = offer("steady", "free")
Json = dict[str, Any]
WORDS = "Somebody of the clinic called me about an offer."


def _refused(answer: httpx.Response, status: int, code: Code) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def _claimed(client: httpx.AsyncClient, kind: str, **more: object) -> Json:
    key = {"Idempotency-Key": secrets.token_urlsafe(12)}
    answer = await client.post(f"/v1/me/{kind}", json={"text": WORDS, **more}, headers=key)
    assert answer.status_code == 201, answer.text
    again = await client.post(f"/v1/me/{kind}", json={"text": WORDS, **more}, headers=key)
    assert again.json() == answer.json(), "the same request is kept once"
    found: Json = answer.json()
    return found


async def test_the_platform_answers_a_grievance(shared_stack: Stack) -> None:
    async with shared_stack.client("patient") as patient, shared_stack.client("admin") as admin:
        claimed = await _claimed(patient, "grievances")
        received, due = (datetime.fromisoformat(claimed[name]) for name in ("received_at", "due_at"))
        assert due - received == timedelta(days=90)
        assert (claimed["state"], claimed["overdue"], claimed["answer"]) == ("received", False, None)
        waiting = (await admin.get("/v1/rights-requests", params={"limit": 100})).json()["items"]
        assert claimed["id"] in {one["id"] for one in waiting}
        path = f"/v1/rights-requests/{claimed['id']}/answer"
        said = {"outcome": "granted", "text": "We have stopped these calls."}
        answered = await admin.post(path, json=said)
        assert answered.status_code == 200, answered.text
        assert (await admin.post(path, json=said)).json() == answered.json()
        _refused(await admin.post(path, json={**said, "outcome": "refused"}), 409, Code.STATE_CONFLICT)
        mine = (await patient.get("/v1/me/grievances")).json()["items"]
        assert next(one for one in mine if one["id"] == claimed["id"]) == answered.json()

        async def told() -> list[str]:
            return [one["text"] for one in await shared_stack.messages(ACCOUNTS["patient"].phone or "")]

        texts = await eventually(told, lambda seen: any("was answered" in one for one in seen))
        assert not any("stopped these calls" in one for one in texts)


async def test_others_neither_see_nor_answer_it(shared_stack: Stack) -> None:
    async with shared_stack.client("other_patient") as patient, shared_stack.client("tenant_admin") as clinic:
        claimed = await _claimed(patient, "corrections")
        listed = (await clinic.get("/v1/rights-requests", params={"limit": 100})).json()["items"]
        assert claimed["id"] not in {one["id"] for one in listed}
        said = {"outcome": "refused", "text": "No."}
        _refused(await clinic.post(f"/v1/rights-requests/{claimed['id']}/answer", json=said), 404, Code.NOT_FOUND)
    async with shared_stack.client("patient") as another, shared_stack.client("staff") as staff:
        mine = (await another.get("/v1/me/corrections")).json()["items"]
        assert claimed["id"] not in {one["id"] for one in mine}
        _refused(await staff.get("/v1/rights-requests"), 403, Code.FORBIDDEN)


async def test_only_an_appointment_of_one_s_own_is_named(shared_stack: Stack) -> None:
    who, neighbour = somebody(), somebody()
    async with shared_stack.client(who) as patient, shared_stack.client(neighbour) as stranger:
        visit = await book(shared_stack, patient, FREE)
        about = {"text": WORDS, "appointment_id": visit["id"]}
        _refused(await stranger.post("/v1/me/grievances", json=about), 422, Code.INVALID)
        _refused(await stranger.post("/v1/me/corrections", json=about), 422, Code.INVALID)
        assert (await patient.post("/v1/me/corrections", json=about)).status_code == 201
    async with shared_stack.client("patient") as patient:
        answer = await patient.post("/v1/me/grievances", json={"text": WORDS, "appointment_id": "apt_" + "a" * 26})
        _refused(answer, 422, Code.INVALID)
        key = {"Idempotency-Key": secrets.token_urlsafe(12)}
        assert (await patient.post("/v1/me/corrections", json={"text": "One"}, headers=key)).status_code == 201
        other = await patient.post("/v1/me/corrections", json={"text": "Another"}, headers=key)
        _refused(other, 422, Code.IDEMPOTENCY_KEY_REUSED)
