"""A child's visits are found by whom they were booked for, whatever the child is called by then."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest

from models.errors import Code
from models.identity import Role
from models.policy import TenantPolicy
from sandbox.servers.stack import Addresses
from tests import clinics
from tests.booking.support import book, ok, problem
from tests.clinics import employee, offer
from tests.stack import Json, Stack, running
from tests.trust.leavers import REQUESTS, Leaver, code_to, set_policy, somebody_new

FREE = offer("steady", "free")
CLINIC = "cln_steady_central"
SOON = TenantPolicy(deletion_grace_seconds=600, day_grace_hours=0)
BORN = {"date_of_birth": "2020-02-02", "relation": "daughter"}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def stack(servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of guardians; the tests set for each of them how long the platform waits."""
    folder = tmp_path_factory.mktemp("stack")
    name = f"{module_database_name}_kids"
    with running(servers, name, folder, SOON, catalogue=clinics.catalogue(SOON)) as started:
        yield started


async def _child(client: httpx.AsyncClient, name: str) -> str:
    return str(ok(await client.post("/v1/me/dependants", json={"name": name, **BORN}), 201)["id"])


def _state(stack: Stack, visit: Json) -> str:
    found = stack.db.appointments.find_one({"_id": visit["id"]}, {"state": 1})
    assert found is not None
    return str(found["state"])


def _whose(stack: Stack, visit: Json) -> tuple[str, str | None]:
    found = stack.db.appointments.find_one({"_id": visit["id"]}, {"subject_id": 1, "dependant_id": 1})
    assert found is not None
    return str(found["subject_id"]), found.get("dependant_id")


async def _forgotten(leaver: Leaver) -> list[str]:
    """Under which rules something stays, as its certificate says."""
    await leaver.forgotten()
    return [one["retained_under"] for one in (await leaver.certificate())["certificate"]["retained"]]


async def test_a_child_that_was_renamed_is_forgotten_with_its_visits(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=None)
    async with somebody_new(stack, "Guardian Gita") as leaver:
        child = await _child(leaver.client, "Canary Asha K")
        own = await book(stack, leaver.client, FREE)
        hers = await book(stack, leaver.client, FREE, patient={"dependant_id": child})
        path = f"/v1/me/dependants/{child}"
        assert ok(await leaver.client.patch(path, json={"name": "Canary Asha Kumari"}))["name"] == "Canary Asha Kumari"
        await leaver.confirms(dependant_id=child)
        assert await _forgotten(leaver) == ["clinical"], "the records of its visits stay their time"
        assert [_state(stack, one) for one in (own, hers)] == ["confirmed", "cancelled"]


async def test_a_child_that_was_taken_off_the_list_is_forgotten_with_its_visits(stack: Stack) -> None:
    """It was asked for before, and is confirmed after."""
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=None)
    async with somebody_new(stack, "Guardian Gopi") as leaver:
        child = await _child(leaver.client, "Canary Anil")
        visit = await book(stack, leaver.client, FREE, patient={"dependant_id": child})
        await leaver.asks(dependant_id=child)
        code = await code_to(stack, leaver.phone, 1)
        assert (await leaver.client.delete(f"/v1/me/dependants/{child}")).status_code == 204
        ok(await leaver.client.post(f"{REQUESTS}/{leaver.deletion}/confirm", json={"code": code}))
        assert await _forgotten(leaver) == ["clinical"]
        assert _state(stack, visit) == "cancelled"


async def test_a_visit_of_before_is_found_by_name_and_birthday(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=None)
    async with somebody_new(stack, "Guardian Guna") as leaver:
        child = await _child(leaver.client, "Canary Arun")
        visit = await book(stack, leaver.client, FREE, patient={"dependant_id": child})
        stack.db.appointments.update_one({"_id": visit["id"]}, {"$unset": {"dependant_id": ""}})
        await leaver.confirms(dependant_id=child)
        assert await _forgotten(leaver) == ["clinical"]
        assert _state(stack, visit) == "cancelled"


async def test_visits_that_were_described_before_become_the_childs(stack: Stack) -> None:
    """Once it is on the list, and before it is called otherwise, answered for or taken off."""
    async with somebody_new(stack, "Guardian Gowri") as leaver:
        details = {"name": "Canary Asmi", **BORN}
        visits = [await book(stack, leaver.client, FREE, patient=details) for _ in range(2)]
        others = [
            await book(stack, leaver.client, FREE, patient={**details, "name": "Canary Other"}),
            await book(stack, leaver.client, FREE, reason="a cough"),
            await book(stack, leaver.client, FREE),
        ]
        assert {_whose(stack, one)[1] for one in visits} == {None}
        child = await _child(leaver.client, "Canary Asmi")
        path, no = f"/v1/me/dependants/{child}", {"granted": False, "notice_version": 1, "language": "en"}
        steps: list[tuple[str, str, dict[str, object] | None]] = [
            ("PUT", f"{path}/consents/follow_up", no),
            ("PATCH", path, {"name": "Canary Asmita"}),
            ("PATCH", path, {"name": "Canary Asmi"}),
            ("DELETE", path, None),
        ]
        assert [_whose(stack, one)[1] for one in visits] == [child, child], "since it is on the list"
        for method, where, body in steps:
            stack.db.appointments.update_many({"dependant_id": child}, {"$unset": {"dependant_id": ""}})
            answer = await leaver.client.request(method, where, json=body)
            assert answer.is_success, answer.text
            assert [_whose(stack, one)[1] for one in visits] == [child, child], (method, where)
            assert {_whose(stack, one)[1] for one in others} == {None}


async def test_in_a_childs_grace_it_is_neither_renamed_nor_taken_off_the_list(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Guardian Girija") as leaver:
        child, sister = await _child(leaver.client, "Canary Amala"), await _child(leaver.client, "Canary Bina")
        await leaver.confirms(dependant_id=child)
        path = f"/v1/me/dependants/{child}"
        problem(await leaver.client.patch(path, json={"name": "Canary Else"}), 403, Code.ACCOUNT_LEAVING)
        problem(await leaver.client.delete(path), 403, Code.ACCOUNT_LEAVING)
        ok(await leaver.client.patch(f"/v1/me/dependants/{sister}", json={"name": "Canary Binu"}))
        assert (await leaver.client.delete(f"{REQUESTS}/{leaver.deletion}")).status_code == 204
        assert ok(await leaver.client.patch(path, json={"name": "Canary Else"}))["name"] == "Canary Else"
        assert (await leaver.client.delete(path)).status_code == 204


async def test_details_that_are_a_childs_are_a_visit_of_the_child(stack: Stack) -> None:
    """Written out, or told at a desk: what was said of the child counts for it, and in its grace it has no visit."""
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Guardian Gokul") as leaver, stack.client(employee("steady", Role.STAFF)) as desk:
        child = await _child(leaver.client, "Canary Anand")
        details = {"name": "canary  anand", **BORN}
        written = await book(stack, leaver.client, FREE, patient=details)
        assert _whose(stack, written) == (leaver.id, child)
        assert _whose(stack, await book(stack, leaver.client, FREE, patient={**details, "name": "Canary Other"})) == (
            leaver.id,
            None,
        )
        assert _whose(stack, await book(stack, leaver.client, FREE)) == (leaver.id, None)
        assert _whose(stack, await _received(desk, {**details, "phone": leaver.phone})) == (leaver.id, child)
        unborn = {"name": details["name"], "relation": "daughter", "phone": leaver.phone}
        assert _whose(stack, await _received(desk, unborn)) == (leaver.id, child), "a desk may not know the birthday"
        assert _whose(stack, await _received(desk, {**unborn, "relation": "self"})) == (leaver.id, None)
        await leaver.confirms(dependant_id=child)
        start = (await stack.free_starts(FREE.provider_id, FREE.service_id))[-1]
        refused = await stack.place(leaver.client, FREE.provider_id, FREE.service_id, start, patient=details)
        problem(refused, 403, Code.CONSENT_REQUIRED)
        owner, whom = _whose(stack, await _received(desk, {**details, "phone": leaver.phone}))
        assert owner != leaver.id, "as for somebody without a phone"
        assert whom is None


async def _received(desk: httpx.AsyncClient, patient: Json) -> Json:
    body = {"provider_id": FREE.provider_id, "service_id": FREE.service_id, "patient": patient}
    headers = {"Idempotency-Key": secrets.token_urlsafe(12)}
    return ok(await desk.post(f"/v1/clinics/{CLINIC}/walk-ins", json=body, headers=headers), 201)
