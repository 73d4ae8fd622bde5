"""A tenant's admin reads and changes its settings; two of them never overwrite each other."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from adapters.settings import Profile
from cli.accounts import ACCOUNTS
from models.compliance import AuditAction
from models.errors import Code
from models.identity import Account, Role, System
from models.providers import TenantRecord
from models.tenancy import TenantSettings
from tests.api.conftest import Api, serving, signed_in

Json = dict[str, Any]
PATH = "/v1/tenant/settings"
_NUMBERS = itertools.count(1)


@pytest.fixture
async def admin(stores: Repositories) -> Account:
    """The admin of a tenant that no other test knows."""
    number = next(_NUMBERS)
    tenant = TenantRecord(id=f"tnt_new_{number}", slug=f"new-{number}", name="New")
    await stores.directory.put_tenant(System("a test"), tenant)
    return Account(id=f"usr_admin_{number}", tenant_id=tenant.id, roles=frozenset({Role.ADMIN}), name="A")


async def _put(client: httpx.AsyncClient, body: Json, tag: str | None) -> httpx.Response:
    return await client.put(PATH, json=body, headers={} if tag is None else {"If-Match": tag})


async def test_the_defaults_are_there_before_anybody_set_anything(api: Api, admin: Account) -> None:
    async with api.client(admin) as client:
        answer = await client.get(PATH)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    assert answer.json() == TenantSettings().model_dump(mode="json")


async def test_what_was_loaded_can_be_edited_and_sent_back(api: Api, admin: Account) -> None:
    async with api.client(admin) as client:
        loaded = await client.get(PATH)
        edited = {**loaded.json(), "payment_window_seconds": 900, "languages": ["hi", "en"]}
        answer = await _put(client, edited, loaded.headers["etag"])
        assert (answer.status_code, answer.headers["etag"], answer.json()) == (200, '"2"', edited)
        again = await client.get(PATH)
        assert (again.headers["etag"], again.json()) == ('"2"', edited)
        # What is left out has its default again.
        bare = await _put(client, {"branding": {"color": "#1f6feb"}}, '"2"')
        assert bare.json()["payment_window_seconds"] == 600
        assert bare.json()["branding"] == {"display_name": None, "logo_url": None, "color": "#1f6feb"}


@pytest.mark.parametrize(
    ("tag", "status", "code"),
    [
        (None, 428, Code.IF_MATCH_REQUIRED),
        ('"7"', 412, Code.STALE),
        ('W/"1"', 412, Code.STALE),
        ("1", 412, Code.STALE),
        ("*", 412, Code.STALE),
    ],
)
async def test_a_change_must_name_what_it_replaces(
    api: Api, admin: Account, tag: str | None, status: int, code: Code
) -> None:
    async with api.client(admin) as client:
        answer = await _put(client, {}, tag)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await client.get(PATH)).headers["etag"] == '"1"'


async def test_of_many_who_edit_the_same_version_one_is_heard(api: Api, admin: Account) -> None:
    async with api.client(admin) as client:
        answers = await asyncio.gather(
            *(_put(client, {"payment_window_seconds": 100 + number}, '"1"') for number in range(12))
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200, *[412] * 11]
        [kept] = [one for one in answers if one.status_code == 200]
        assert (await client.get(PATH)).json() == kept.json()


async def test_every_version_is_listed_with_who_and_when(api: Api, admin: Account) -> None:
    async with api.client(admin) as client:
        for version in range(1, 6):
            await _put(client, {"horizon_days": version}, f'"{version}"')
        seen: list[Json] = []
        cursor: str | None = None
        for _ in range(10):
            page = (
                await client.get(f"{PATH}/versions", params={"limit": 1, **({"cursor": cursor} if cursor else {})})
            ).json()
            seen += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        whole = (await client.get(f"{PATH}/versions")).json()
        foreign = await client.get(f"{PATH}/versions", params={"cursor": "bm9wZQ"})
    assert [one["version"] for one in seen] == [6, 5, 4, 3, 2, 1]
    assert (whole["items"], whole["next_cursor"]) == (seen, None)
    assert [one["settings"]["horizon_days"] for one in seen] == [5, 4, 3, 2, 1, 60]
    assert {one["changed_by"] for one in seen[:-1]} == {admin.id}
    assert (seen[-1]["changed_by"], seen[-1]["changed_at"]) == (None, None)
    assert (foreign.status_code, foreign.json()["code"]) == (400, Code.CURSOR_INVALID)


async def test_what_has_changed_is_noted_with_the_change_and_a_refused_one_is_not(
    api: Api, stores: Repositories, admin: Account
) -> None:
    async with api.client(admin) as client:
        answers = await asyncio.gather(*(_put(client, {}, '"1"') for _ in range(4)))
        assert sorted(one.status_code for one in answers) == [200, 412, 412, 412]
        await _put(client, {"horizon_days": -1}, '"2"')
    [entry] = [one for one in await stores.tenancy.entries(1000) if one.actor == admin.id]
    assert (entry.action, entry.target, entry.tenant_id) == (AuditAction.ADMIN_ACT, "settings:2", admin.tenant_id)
    assert (entry.why, entry.origin) == ("PUT /v1/tenant/settings", "127.0.0.1")
    await stores.tenancy.carried([entry])
    assert [one for one in await stores.tenancy.entries(1000) if one.actor == admin.id] == []


@pytest.mark.parametrize("account", ["patient", "doctor", "staff", "admin"])
async def test_nobody_else_may(api: Api, account: str) -> None:
    async with api.client(account) as client:
        for answer in (await client.get(PATH), await _put(client, {}, '"1"'), await client.get(f"{PATH}/versions")):
            assert (answer.status_code, answer.json()["code"]) == (403, Code.FORBIDDEN)


async def test_an_admin_sees_the_own_tenant_s_settings_only(api: Api, admin: Account) -> None:
    async with api.client(admin) as client, api.client("tenant_admin") as other:
        before = (await other.get(PATH)).json()
        assert (await _put(client, {"horizon_days": 7}, '"1"')).status_code == 200
        assert (await other.get(PATH)).json() == before
    assert ACCOUNTS["tenant_admin"].tenant_id != admin.tenant_id


@pytest.mark.parametrize(
    "body",
    [
        {"reminder_lead_seconds": [5]},
        {"absence_choice_seconds": 5},
        {"deletion_grace_seconds": 1},
        {"feedback_after_seconds": 1},
        {"revisit_after_seconds": 1},
        {"export_kept_seconds": 1},
    ],
)
async def test_in_production_seconds_are_not_for_tenants(
    api: Api, stores: Repositories, admin: Account, body: Json
) -> None:
    """A production profile refuses to start here (loopback addresses), so only the route is told that it is one."""
    async with api.client(admin) as client:
        assert (await _put(client, body, '"1"')).status_code == 200
    answer = await _put_in_production(api, stores, admin, body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "development_only")


@pytest.mark.parametrize(
    ("days", "status"),
    [
        ({}, 200),
        ({"clinical": 1094}, 422),
        ({"financial": 10}, 422),
        ({"logs": 0}, 422),
        ({"identity": 364}, 422),
        ({"clinical": 36_500}, 200),
        ({"logs": 36_501}, 422),
    ],
)
async def test_in_production_nothing_is_kept_for_less_than_the_law_asks(
    api: Api, stores: Repositories, admin: Account, days: dict[str, int], status: int
) -> None:
    async with api.client(admin) as client:
        assert (await _put(client, {}, '"1"')).status_code == 200
    answer = await _put_in_production(api, stores, admin, {"retention_days": days})
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["errors"][0]["field"] == f"retention_days.{next(iter(days))}"


async def _put_in_production(api: Api, stores: Repositories, admin: Account, body: Json) -> httpx.Response:
    production = api.settings.model_copy(update={"profile": Profile.PRODUCTION})
    token = await signed_in(stores, api.settings, admin)
    async with serving(production) as running, running.client(Authorization=f"Bearer {token}") as strict:
        return await _put(strict, body, '"2"')
