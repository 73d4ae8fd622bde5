"""Reviews over HTTP: who may give one, when, who reads it, and what searches make of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from adapters.mongo.repositories import Repositories
from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO
from models.booking import Advance, Appointment, AppointmentState, EventType, Intake
from models.errors import Code
from models.identity import Tenant
from models.ids import random_id
from tests.api.conftest import Api, a_booking, confirm, hold, reread
from workers.projector import Projector

Json = dict[str, Any]
PATIENT: Final = ACCOUNTS["patient"].id
LIFE: Final = (
    (EventType.CHECKED_IN, AppointmentState.CHECKED_IN),
    (EventType.CONSULTATION_STARTED, AppointmentState.IN_CONSULTATION),
    (EventType.COMPLETED, AppointmentState.COMPLETED),
)


async def _nobody_asks() -> None:
    """Searches are told nothing: this test asks for the profile only."""


async def visited(stores: Repositories, hours_ago: float = 2) -> Appointment:
    """A visit that is over."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    held = await hold(stores, a_booking(ANANYA_RAO, PATIENT, start), random_id("order"), Intake())
    done = await confirm(stores, held, random_id("pay"))
    for event, state in LIFE:
        step = Advance(
            tenant_id=done.tenant_id, appointment_id=done.id, event=event, event_id=random_id("evt"),
            at=datetime.now(UTC), to=state,
        )  # fmt: skip
        assert (await stores.appointments.advance(Tenant(done.tenant_id), step)).applied
    return await reread(stores, done.id)


async def test_a_visit_is_rated_read_and_counted(api: Api, stores: Repositories) -> None:
    visit = await visited(stores)
    path = f"/v1/appointments/{visit.id}/review"
    async with api.client("patient") as client:
        assert (await client.get(path)).status_code == 404
        given = await client.put(path, json={"rating": 5, "nps": 10, "comment": " Listened well. "})
        assert given.status_code == 200, given.text
        again = await client.put(path, json={"rating": 5, "nps": 10, "comment": "Listened well."})
        assert again.json() == given.json() == (await client.get(path)).json()
    view = given.json()
    assert (view["state"], view["nps"], view["comment"]) == ("published", 10, "Listened well.")
    async with api.client(None) as client:
        page = (await client.get(f"/v1/providers/{visit.provider_id}/reviews")).json()
        [shown] = [one for one in page["items"] if one["id"] == view["id"]]
        assert shown == {
            "id": view["id"], "rating": 5, "comment": "Listened well.",
            "visited_in": f"{visit.start:%Y-%m}", "created_at": view["created_at"],
        }  # fmt: skip
    projector = Projector(stores.search, stores.directory, stores.claims, stores.reviews, stores.leases, _nobody_asks)
    await projector.refresh(visit.provider_id)
    async with api.client(None) as client:
        profile = (await client.get(f"/v1/providers/{visit.provider_id}")).json()
    assert profile["ratings"] >= 1
    assert 4.0 < profile["rating"] <= 5.0


async def test_only_a_completed_visit_is_rated_and_not_for_ever(api: Api, stores: Repositories) -> None:
    coming = await hold(
        stores, a_booking(ANANYA_RAO, PATIENT, datetime(2031, 2, 3, 4, 30, tzinfo=UTC)), random_id("order"), Intake()
    )
    long_ago = await visited(stores, hours_ago=24 * 61)
    async with api.client("patient") as client:
        for one in (coming, long_ago):
            answer = await client.put(f"/v1/appointments/{one.id}/review", json={"rating": 5})
            assert (answer.status_code, answer.json()["code"]) == (409, Code.STATE_CONFLICT)


@pytest.mark.parametrize("who", ["other_patient", "doctor", "staff", "tenant_admin", "other_tenant_staff"])
async def test_nobody_else_rates_it(api: Api, stores: Repositories, who: str) -> None:
    visit = await visited(stores, hours_ago=50 + len(who) + ord(who[0]))
    async with api.client(who) as client:
        answer = await client.put(f"/v1/appointments/{visit.id}/review", json={"rating": 5})
    assert answer.status_code == (404 if who in {"other_patient", "other_tenant_staff"} else 403)


@pytest.mark.parametrize(
    "body", [{}, {"rating": 0}, {"rating": 6}, {"rating": 5, "nps": 11}, {"rating": 5, "comment": "x" * 2001}]
)
async def test_an_opinion_has_its_bounds(api: Api, body: Json) -> None:
    async with api.client("patient") as client:
        answer = await client.put(f"/v1/appointments/{random_id('apt')}/review", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID)


async def test_what_carries_a_number_waits_for_the_platform_s_word(api: Api, stores: Repositories) -> None:
    visit = await visited(stores, hours_ago=8)
    async with api.client("patient") as client:
        path = f"/v1/appointments/{visit.id}/review"
        given = (await client.put(path, json={"rating": 2, "comment": "call 98123 45678"})).json()
    assert given["state"] == "pending"
    async with api.client("tenant_admin") as client:
        refused = await client.post(f"/v1/reviews/{given['id']}/moderation", json={"decision": "withhold"})
        assert refused.status_code == 403, "a practice does not rule on what is said of it"
    async with api.client("admin") as client:
        waiting = (await client.get("/v1/reviews")).json()["items"]
        [one] = [one for one in waiting if one["id"] == given["id"]]
        assert "nps" not in one
        assert "appointment_id" not in one
        moderation = f"/v1/reviews/{given['id']}/moderation"
        stale = await client.post(moderation, json={"decision": "publish", "version": one["version"] + 7})
        assert (stale.status_code, stale.json()["code"]) == (412, Code.STALE)
        decided = await client.post(moderation, json={"decision": "publish", "version": one["version"]})
        assert decided.json()["state"] == "published"
        assert (
            await client.post(f"/v1/reviews/{random_id('rev')}/moderation", json={"decision": "publish"})
        ).status_code == 404
    async with api.client(None) as client:
        page = (await client.get(f"/v1/providers/{visit.provider_id}/reviews", params={"limit": 100})).json()
    assert given["id"] in {one["id"] for one in page["items"]}
    async with api.client("patient") as client:
        changed = (await client.put(path, json={"rating": 3, "comment": "call 98123 45678 now"})).json()
    assert changed["state"] == "pending", "what was changed is looked at again"


async def test_reviews_of_nobody(api: Api) -> None:
    async with api.client(None) as client:
        assert (await client.get("/v1/providers/prv_nobody/reviews")).status_code == 404
        page = await client.get(f"/v1/providers/{ANANYA_RAO.provider.id}/reviews", params={"cursor": "bm8"})
    assert (page.status_code, page.json()["code"]) == (400, Code.CURSOR_INVALID)
