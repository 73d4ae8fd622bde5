"""A leave from the request to its end, over HTTP on the whole stack."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from activities.availability import DAYS as STEP_DAYS
from models.errors import Code
from models.identity import Role
from models.ids import reference
from tests.clinics import employee, offer
from tests.stack import Stack, eventually

Json = dict[str, Any]
OFFER = offer("steady", "desk")
DAYS = (40, 52)
"""Where no other test books."""


def _date(days: int) -> str:
    return str(datetime.now(UTC).date() + timedelta(days=days))


def _path(what: str) -> str:
    return f"/v1/providers/{OFFER.provider_id}/{what}"


async def _claims(stack: Stack) -> list[Json]:
    practitioner = stack.db.providers.find_one({"_id": OFFER.provider_id})
    assert practitioner is not None
    query = {"practitioner_id": practitioner["practitioner_id"], "kind": {"$ne": "block"}}
    return list(stack.db.slots.find(query, sort=[("_id", 1)]))


async def _taken(client: httpx.AsyncClient) -> Json:
    async def listed() -> list[Json]:
        answer = await client.get(_path("leaves"))
        assert answer.status_code == 200, answer.text
        items: list[Json] = answer.json()["items"]
        return items

    [leave] = await eventually(listed, lambda items: [one["state"] for one in items] == ["taken"])
    return leave


async def test_a_leave_from_the_request_to_its_end(shared_stack: Stack) -> None:
    stack = shared_stack
    free = await stack.free_starts(OFFER.provider_id, OFFER.service_id, days=DAYS)
    inside = [one for one in free if _date(42) <= one[:10] <= _date(50)]
    async with stack.client() as patient, stack.client(employee("steady", Role.DOCTOR)) as doctor:
        booked = await stack.place(patient, OFFER.provider_id, OFFER.service_id, inside[50])
        assert booked.status_code == 201, booked.text
        visit = booked.json()["id"]
        before = await _claims(stack)
        key = {"Idempotency-Key": secrets.token_urlsafe(12)}
        wanted = {"start": _date(41), "end": _date(51), "reason": "a wedding"}
        answers = await asyncio.gather(*(doctor.post(_path("leaves"), json=wanted, headers=key) for _ in range(4)))
        assert {one.status_code for one in answers} == {202}, answers[0].text
        assert len({one.json()["id"] for one in answers}) == 1
        leave = answers[0].json()
        told = {"appointment_id": visit, "reference": reference(visit), "why": "leave"}
        assert (leave["affected"], leave["affected_total"]) == ([told], 1)
        assert leave["tally"]["appointments"] == 1
        assert leave["timezone"] == "Asia/Kolkata"
        other = await doctor.post(_path("leaves"), json={**wanted, "reason": "another"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, Code.IDEMPOTENCY_KEY_REUSED)

        listed = await _taken(doctor)
        assert (listed["reason"], listed["tally"]["appointments"]) == ("a wedding", 1)
        assert listed["tally"]["blocks"] == stack.db.slots.count_documents({"leave_id": leave["id"]}) > 10
        assert await _claims(stack) == before

        def within(starts: list[str]) -> list[str]:
            return [one for one in starts if leave["start"] <= one < leave["end"]]

        assert within(await stack.free_starts(OFFER.provider_id, OFFER.service_id, days=DAYS)) == []
        refused = await stack.place(patient, OFFER.provider_id, OFFER.service_id, inside[10])
        assert (refused.status_code, refused.json()["code"]) == (422, Code.SLOT_INVALID)
        # What is given back within the leave must not be booked again.
        cancelled = await patient.post(f"/v1/appointments/{visit}/cancel", json={"reason": "the doctor is away"})
        assert cancelled.status_code == 200
        assert within(await stack.free_starts(OFFER.provider_id, OFFER.service_id, days=DAYS)) == []

        before = await _claims(stack)
        assert (await doctor.delete(f"/v1/leaves/{leave['id']}")).status_code == 204
        assert (await doctor.delete(f"/v1/leaves/{leave['id']}")).status_code == 204
        assert (await doctor.get(_path("leaves"))).json()["items"] == []
        assert stack.db.slots.count_documents({"leave_id": leave["id"]}) == 0
        assert await _claims(stack) == before
        again = await stack.free_starts(OFFER.provider_id, OFFER.service_id, days=DAYS)
        assert within(again) == within(free)


async def test_a_long_leave_goes_on_without_whoever_asked(shared_stack: Stack) -> None:
    group, days = offer("steady", "class", "group"), 4 * STEP_DAYS + 1
    path = f"/v1/providers/{group.provider_id}/leaves"
    async with shared_stack.client(employee("steady", Role.STAFF)) as staff:
        answer = await staff.post(path, json={"start": _date(100), "end": _date(100 + days)})
        assert answer.status_code == 202, answer.text
        leave = answer.json()["id"]

        async def state() -> str:
            return str((await staff.get(path)).json()["items"][0]["state"])

        await eventually(state, lambda found: found == "taken", seconds=60)
        blocks = shared_stack.db.slots.count_documents({"leave_id": leave})
        assert blocks >= 2 * days
        # Nothing is free: the next day's time belongs to the leave, whoever asks for it.
        first = shared_stack.db.slots.find_one({"leave_id": leave})
        assert first is not None
        assert first["provider_id"] == group.provider_id
        assert (await staff.delete(f"/v1/leaves/{leave}")).status_code == 204
        assert shared_stack.db.slots.count_documents({"leave_id": leave}) == 0


async def test_a_leave_that_makes_no_sense_is_refused(shared_stack: Stack) -> None:
    async with shared_stack.client(employee("steady", Role.DOCTOR)) as doctor:
        for start, end, code in (
            (_date(5), _date(4), "range_reversed"),
            (_date(-5), _date(-3), "over"),
            (_date(5), _date(400), "range_too_long"),
            (_date(5), "9999-12-31", "date_out_of_range"),
            ("tomorrow", _date(5), "value_error"),
        ):
            answer = await doctor.post(_path("leaves"), json={"start": start, "end": end})
            assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID), answer.text
            assert [one["code"] for one in answer.json()["errors"]] == [code]
    async with shared_stack.client(employee("swift", Role.ADMIN)) as stranger:
        body = {"start": _date(5), "end": _date(6)}
        assert (await stranger.post(_path("leaves"), json=body)).status_code == 404
        assert (await stranger.get(_path("leaves"))).status_code == 404
