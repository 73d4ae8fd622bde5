"""A booking keeps the settings it was made under, and free times follow new ones within seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx

from models.identity import Role
from tests.booking.support import a_start, book, look, ok, somebody
from tests.clinics import employee, offer
from tests.stack import Json, Stack, eventually

VISIT = offer("supple", "visit")
PATH = "/v1/tenant/settings"


async def _change(admin: httpx.AsyncClient, **values: object) -> None:
    loaded = await admin.get(PATH)
    body = {**ok(loaded), "max_unpaid_holds": 10_000, **values}
    ok(await admin.put(PATH, json=body, headers={"If-Match": loaded.headers["etag"]}))


def _window(appointment: Json) -> timedelta:
    """How long the patient had to pay, counted from the server's time in the answer."""
    deadline = datetime.fromisoformat(appointment["payment"]["deadline"])
    return deadline - datetime.fromisoformat(appointment["server_time"])


async def _booked(stack: Stack, client: httpx.AsyncClient) -> Json:
    return await book(stack, client, VISIT, await a_start(stack, VISIT, days=(20, 25)))


async def test_a_change_holds_for_new_bookings_and_never_for_old_ones(shared_stack: Stack) -> None:
    async with (
        shared_stack.client(employee("supple", Role.ADMIN)) as admin,
        shared_stack.client(somebody()) as patient,
    ):
        await _change(admin, payment_window_seconds=600, refund_schedule=[{"hours_before": 12, "percent": 100}])
        old = await _booked(shared_stack, patient)
        assert timedelta(minutes=9) < _window(old) <= timedelta(minutes=10)
        await _change(admin, payment_window_seconds=7200, refund_schedule=[{"hours_before": 72, "percent": 40}])

        async def another() -> Json:
            return await _booked(shared_stack, patient)

        new = await eventually(another, lambda one: _window(one) > timedelta(minutes=100))
        now = await look(patient, old["id"])
    assert (now["payment"]["deadline"], now["policy"]) == (old["payment"]["deadline"], old["policy"])
    assert datetime.fromisoformat(old["policy"]["cancel_until"]) == datetime.fromisoformat(old["start"]) - timedelta(
        hours=12
    )
    assert new["policy"]["refund_percent_now"] == 40
    kept = {
        one["_id"]: one["policy"] for one in shared_stack.db.appointments.find({"_id": {"$in": [old["id"], new["id"]]}})
    }
    assert [kept[one["id"]]["payment_window_seconds"] for one in (old, new)] == [600, 7200]


async def test_free_times_follow_a_new_notice_within_seconds(shared_stack: Stack) -> None:
    async with shared_stack.client(employee("supple", Role.ADMIN)) as admin:
        await _change(admin, min_notice_minutes=60)

        async def starts() -> list[str]:
            return await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id, days=(1, 9))

        assert await eventually(starts, lambda found: len(found) > 100)
        await _change(admin, min_notice_minutes=60 * 24 * 8)
        late = await eventually(starts, lambda found: 0 < len(found) < 100 * 2)
        assert datetime.fromisoformat(late[0]) > datetime.now(tz=datetime.fromisoformat(late[0]).tzinfo) + timedelta(
            days=7
        )
        await _change(admin, min_notice_minutes=60)
