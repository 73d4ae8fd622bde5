"""Signing in with a password, refresh tokens that are good once, sessions that end within seconds: over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.database import Database
from starlette.middleware import Middleware

from adapters.mongo.repositories import Repositories
from adapters.tokens import TokenMinter
from api import problems
from api.edge import Edge
from api.guards import RequiresStepUp
from api.metrics import Metrics
from cli.accounts import ACCOUNTS, PASSWORD
from models.compliance import AuditAction
from models.credentials import PASSWORD_BACKOFF
from models.errors import Code
from models.identity import Account, Permission, Principal, System
from models.ids import random_id
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api, serving
from tests.stack import eventually

Json = dict[str, Any]
SEED = System("tests")


@pytest.fixture
async def anybody(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


@pytest.fixture(scope="module")
def database(servers: Addresses, api: Api) -> Iterator[Database[Json]]:
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database), tz_aware=True) as client:
        yield client[api.settings.database]


@pytest.fixture
async def employee(stores: Repositories) -> Account:
    """Somebody of the staff whom no other test knows; the password is the seed's."""
    seed = ACCOUNTS["staff"]
    credentials = await stores.users.credentials(SEED, seed.id)
    assert credentials is not None
    fields = {"id": random_id("usr"), "email": f"{random_id('x')}@arogya.example"}
    account = seed.model_copy(update=fields)
    assert await stores.users.add(SEED, account, credentials.password_hash)
    return account


async def sign_in(client: httpx.AsyncClient, account: Account, password: str = PASSWORD, **more: str) -> httpx.Response:
    body = {"email": account.email, "password": password, **more}
    return await client.post("/v1/auth/login", json=body)


async def signed_in(client: httpx.AsyncClient, account: Account) -> Json:
    answer = await sign_in(client, account)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def bearer(tokens: Json) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def session_of(tokens: Json) -> str:
    part = tokens["access_token"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sid"])


def refused(answer: httpx.Response, status: int, code: Code) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/auth/refresh", json={"refresh_token": token})


@pytest.mark.parametrize("name", ["doctor", "staff", "tenant_admin", "admin", "other_tenant_staff"])
async def test_the_seed_s_people_sign_in(anybody: httpx.AsyncClient, name: str) -> None:
    account = ACCOUNTS[name]
    tokens = await signed_in(anybody, account)
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 600
    user = tokens["user"]
    assert (user["id"], user["kind"], user["tenant_id"]) == (account.id, "staff", account.tenant_id)
    assert user["roles"] == sorted(account.roles)
    assert user["email"] == account.email
    assert (await anybody.get("/v1/me", headers=bearer(tokens))).json() == user


async def test_an_address_is_the_same_however_it_is_spelled(anybody: httpx.AsyncClient) -> None:
    account = ACCOUNTS["doctor"]
    spelled = account.model_copy(update={"email": f"  {str(account.email).upper()} "})
    assert (await sign_in(anybody, spelled)).status_code == 200


async def test_wrong_and_unknown_are_answered_alike(anybody: httpx.AsyncClient, employee: Account) -> None:
    nobody = employee.model_copy(update={"email": "nobody@nowhere.example"})
    wrong, unknown = await sign_in(anybody, employee, "wrong"), await sign_in(anybody, nobody, "wrong")
    for answer in (wrong, unknown):
        refused(answer, 401, Code.CREDENTIALS_INVALID)
    assert wrong.json() | {"instance": ""} == unknown.json() | {"instance": ""}


async def test_a_patient_has_no_password(anybody: httpx.AsyncClient) -> None:
    refused(
        await anybody.post("/v1/auth/login", json={"email": "meena@example.com", "password": PASSWORD}),
        401, Code.CREDENTIALS_INVALID,
    )  # fmt: skip


async def test_whoever_guesses_on_has_to_wait(
    anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    free = PASSWORD_BACKOFF.seconds.index(next(one for one in PASSWORD_BACKOFF.seconds if one)) + 1
    for _ in range(free):
        refused(await sign_in(anybody, employee, "wrong"), 401, Code.CREDENTIALS_INVALID)
    for password in ("wrong", PASSWORD):
        answer = await sign_in(anybody, employee, password)
        refused(answer, 429, Code.RATE_LIMITED)
        assert 0 < int(answer.headers["retry-after"]) <= PASSWORD_BACKOFF.after(free)
    notes = {"action": AuditAction.SIGN_IN_REFUSED, "target": employee.id}
    assert database["audit"].count_documents(notes) == free
    stored = list(database["sign_in_tries"].find())
    assert str(employee.email) not in str(stored)


async def test_a_crowd_of_guesses_is_counted_one_by_one(anybody: httpx.AsyncClient, employee: Account) -> None:
    answers = await asyncio.gather(*(sign_in(anybody, employee, f"guess {number}") for number in range(12)))
    judged = [answer.status_code for answer in answers].count(401)
    assert judged <= 5 + 4  # at most one more for each thread beside the first
    assert {answer.status_code for answer in answers} == {401, 429}


async def test_a_right_password_makes_wrong_ones_forgotten(anybody: httpx.AsyncClient, employee: Account) -> None:
    for _ in range(3):
        for _ in range(3):
            refused(await sign_in(anybody, employee, "wrong"), 401, Code.CREDENTIALS_INVALID)
        await signed_in(anybody, employee)


# Refresh tokens


async def test_a_refresh_token_is_good_once(anybody: httpx.AsyncClient, employee: Account, api: Api) -> None:
    first = await signed_in(anybody, employee)
    second = (await refresh(anybody, first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["user"] == first["user"]
    third = (await refresh(anybody, second["refresh_token"])).json()
    refused(await refresh(anybody, first["refresh_token"]), 401, Code.REFRESH_REUSED)
    refused(await refresh(anybody, third["refresh_token"]), 401, Code.REFRESH_REUSED)
    for tokens in (first, second, third):
        refused(await anybody.get("/v1/me", headers=bearer(tokens)), 401, Code.TOKEN_INVALID)
    assert api.settings.database not in third["refresh_token"]


async def test_two_tabs_that_refresh_at_once_get_the_same_successor(
    anybody: httpx.AsyncClient, employee: Account
) -> None:
    """On a busy machine the second may come when the first was told already, which is a reuse: then they try anew."""
    answers: list[httpx.Response] = []
    for _ in range(10):
        first = await signed_in(anybody, employee)
        answers = await asyncio.gather(*(refresh(anybody, first["refresh_token"]) for _ in range(2)))
        if [answer.status_code for answer in answers] == [200, 200]:
            break
        assert sorted(answer.status_code for answer in answers) == [200, 401]
    [token] = {answer.json()["refresh_token"] for answer in answers}
    assert (await refresh(anybody, token)).status_code == 200


async def test_of_many_who_refresh_at_once_nobody_gets_another_successor(
    anybody: httpx.AsyncClient, employee: Account
) -> None:
    first = await signed_in(anybody, employee)
    answers = await asyncio.gather(*(refresh(anybody, first["refresh_token"]) for _ in range(8)))
    late = [answer for answer in answers if answer.status_code != 200]
    for answer in late:
        refused(answer, 401, Code.REFRESH_REUSED)
    [token] = {answer.json()["refresh_token"] for answer in answers if answer.status_code == 200}
    assert (await refresh(anybody, token)).status_code == (401 if late else 200)


async def test_a_repetition_is_a_reuse(anybody: httpx.AsyncClient, employee: Account, database: Database[Json]) -> None:
    first = await signed_in(anybody, employee)
    second = (await refresh(anybody, first["refresh_token"])).json()
    refused(await refresh(anybody, first["refresh_token"]), 401, Code.REFRESH_REUSED)
    refused(await refresh(anybody, second["refresh_token"]), 401, Code.REFRESH_REUSED)
    refused(await anybody.get("/v1/me", headers=bearer(second)), 401, Code.TOKEN_INVALID)
    ended = {"action": AuditAction.SESSION_ENDED, "target": session_of(first)}
    assert database["audit"].count_documents(ended) == 1


async def test_a_request_comes_when_it_is_whole(api: Api, anybody: httpx.AsyncClient, employee: Account) -> None:
    """Whoever opens a request before the token is replaced, and sends it afterwards, is no other tab."""
    first = await signed_in(anybody, employee)
    body = json.dumps({"refresh_token": first["refresh_token"]}).encode()
    url = httpx.URL(api.url)
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        fields = (f"Host: {url.host}:{url.port}", "Content-Type: application/json", f"Content-Length: {len(body)}")
        head = ("POST /v1/auth/refresh HTTP/1.1", *fields, "Expect: 100-continue", "Connection: close", "", "")
        writer.write("\r\n".join(head).encode())
        assert b"100" in await reader.readuntil(b"\r\n\r\n"), "it waits for the body"
        writer.write(body[:-1])
        second = (await refresh(anybody, first["refresh_token"])).json()
        writer.write(body[-1:])
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401"), answer
    assert Code.REFRESH_REUSED.encode() in answer
    refused(await refresh(anybody, second["refresh_token"]), 401, Code.REFRESH_REUSED)


@pytest.mark.parametrize("token", ["x", "ses_nobody.secret", "." * 90, "ses_a.b.c", "a" * 200])
async def test_a_made_up_refresh_token_is_nothing(anybody: httpx.AsyncClient, token: str) -> None:
    refused(await refresh(anybody, token), 401, Code.TOKEN_INVALID)


async def test_an_access_token_is_no_refresh_token(anybody: httpx.AsyncClient, employee: Account) -> None:
    tokens = await signed_in(anybody, employee)
    answer = await refresh(anybody, tokens["access_token"][:200])
    refused(answer, 401, Code.TOKEN_INVALID)
    refused(
        await anybody.get("/v1/me", headers={"Authorization": f"Bearer {tokens['refresh_token']}"}),
        401, Code.TOKEN_INVALID,
    )  # fmt: skip


async def test_the_database_holds_no_token(
    anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    tokens = await signed_in(anybody, employee)
    stored = str([list(database[name].find()) for name in ("sessions", "users", "audit")])
    assert tokens["refresh_token"].partition(".")[2] not in stored
    assert PASSWORD not in stored
    assert str(employee.email) not in stored


# Proof


async def test_what_asks_for_a_fresh_proof_takes_nobody_else_s(api: Api, employee: Account) -> None:
    asked = FastAPI(middleware=[Middleware(Edge, metrics=Metrics())])
    asked.state.services = api.services
    problems.install(asked)

    @asked.get("/export")
    async def export(caller: Annotated[Principal, Depends(RequiresStepUp(Permission.ACCOUNT_OWN))]) -> str:
        return caller.subject

    async with api.client() as anybody, _client_of(asked) as client:
        mine, elsewhere = await signed_in(anybody, employee), await signed_in(anybody, employee)
        body = {"password": PASSWORD}
        proof = (await anybody.post("/v1/auth/step-up", headers=bearer(mine), json=body)).json()["step_up_token"]
        for tokens, given in (
            (mine, None),
            (mine, "made.up.token"),
            (mine, mine["access_token"]),
            (mine, proof[:-8] + "AAAAAAAA"),
            (elsewhere, proof),
        ):
            headers = bearer(tokens) | ({} if given is None else {"Step-Up": given})
            refused(await client.get("/export", headers=headers), 403, Code.STEP_UP_REQUIRED)
        answer = await client.get("/export", headers=bearer(mine) | {"Step-Up": proof})
        assert (answer.status_code, answer.json()) == (200, employee.id)
        refused(await client.get("/export", headers={"Step-Up": proof}), 401, Code.TOKEN_MISSING)


def _client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1")


# Sessions


async def test_sessions_are_listed_and_ended(anybody: httpx.AsyncClient, employee: Account) -> None:
    here, there = await signed_in(anybody, employee), await signed_in(anybody, employee)
    listed = (await anybody.get("/v1/auth/sessions", headers=bearer(here))).json()["items"]
    assert {one["id"]: one["current"] for one in listed} == {session_of(here): True, session_of(there): False}
    assert (await anybody.get("/v1/me", headers=bearer(there))).status_code == 200
    gone = await anybody.delete(f"/v1/auth/sessions/{session_of(there)}", headers=bearer(here))
    assert gone.status_code == 204
    refused(await anybody.get("/v1/me", headers=bearer(there)), 401, Code.TOKEN_INVALID)
    refused(await refresh(anybody, there["refresh_token"]), 401, Code.TOKEN_INVALID)
    again = await anybody.delete(f"/v1/auth/sessions/{session_of(there)}", headers=bearer(here))
    refused(again, 404, Code.NOT_FOUND)
    assert (await anybody.get("/v1/me", headers=bearer(here))).status_code == 200


async def test_nobody_ends_another_one_s_session(anybody: httpx.AsyncClient, employee: Account) -> None:
    mine, theirs = await signed_in(anybody, employee), await signed_in(anybody, ACCOUNTS["staff"])
    refused(await anybody.delete(f"/v1/auth/sessions/{session_of(theirs)}", headers=bearer(mine)), 404, Code.NOT_FOUND)
    assert (await anybody.get("/v1/me", headers=bearer(theirs))).status_code == 200


async def test_whoever_logs_out_is_out(anybody: httpx.AsyncClient, employee: Account) -> None:
    tokens = await signed_in(anybody, employee)
    assert (await anybody.post("/v1/auth/logout", headers=bearer(tokens))).status_code == 204
    refused(await anybody.get("/v1/me", headers=bearer(tokens)), 401, Code.TOKEN_INVALID)
    refused(await refresh(anybody, tokens["refresh_token"]), 401, Code.TOKEN_INVALID)


async def test_an_end_counts_in_another_process_within_seconds(
    api: Api, anybody: httpx.AsyncClient, employee: Account
) -> None:
    tokens = await signed_in(anybody, employee)
    async with serving(api.settings) as other, other.client() as there:
        assert (await there.get("/v1/me", headers=bearer(tokens))).status_code == 200
        assert (await anybody.post("/v1/auth/logout", headers=bearer(tokens))).status_code == 204
        answer = await eventually(lambda: there.get("/v1/me", headers=bearer(tokens)), lambda one: one.is_error)
        refused(answer, 401, Code.TOKEN_INVALID)


async def test_without_redis_sessions_are_what_mongodb_says(api: Api, employee: Account) -> None:
    lonely = api.settings.model_copy(
        update={"redis_url": SecretStr("redis://127.0.0.1:1/0")},
    )
    async with serving(lonely) as other, other.client() as there:
        tokens = await signed_in(there, employee)
        assert (await there.get("/v1/me", headers=bearer(tokens))).status_code == 200
        assert (await there.post("/v1/auth/logout", headers=bearer(tokens))).status_code == 204
        refused(await there.get("/v1/me", headers=bearer(tokens)), 401, Code.TOKEN_INVALID)
        refused(await refresh(there, tokens["refresh_token"]), 401, Code.TOKEN_INVALID)


async def test_a_token_of_no_session_is_nothing(api: Api, anybody: httpx.AsyncClient) -> None:
    account = ACCOUNTS["staff"]
    token = TokenMinter(api.settings.token_keys).mint(
        account.principal("ses_nobody"), timedelta(minutes=5), datetime.now(UTC)
    )
    refused(await anybody.get("/v1/me", headers={"Authorization": f"Bearer {token}"}), 401, Code.TOKEN_INVALID)
