"""What cannot be noted is not done: for each act the audit refuses its entry first and takes it at the next try."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final, cast

import httpx
import pyotp
import pytest
from fastapi import Request
from pymongo import MongoClient
from pymongo.database import Database

from adapters.mongo.repositories import Repositories
from adapters.tokens import Purpose, PurposeTokens
from api.own_account import OwnAccounts
from api.sign_in import SignIn, Tools, Typed
from cli.accounts import ACCOUNTS, PASSWORD
from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR
from models.booking import Intake
from models.compliance import AuditAction
from models.credentials import INVITE_LIFETIME, RESET_LIFETIME
from models.errors import Code, VisitNowError
from models.identity import Account, Invitation, Role, Scope, System
from models.identity_ports import Users
from models.ids import random_id
from models.reviews import Opinion, ReviewState, review_of
from models.sessions import EndReason
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api, a_booking, confirm, hold
from tests.api.strangers import LEAVE, a_task

Json = dict[str, Any]
Try = Callable[[], Awaitable[httpx.Response]]
LOOKING: Final = System("a test looks")
NEW_PASSWORD: Final = "another walk by the Mula river"
PROVIDER: Final = ANANYA_RAO.provider


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
    credentials = await stores.users.credentials(LOOKING, ACCOUNTS["staff"].id)
    assert credentials is not None
    fields = {"id": random_id("usr"), "email": f"{random_id('x')}@arogya.example"}
    account = ACCOUNTS["staff"].model_copy(update=fields)
    assert await stores.users.add(LOOKING, account, credentials.password_hash)
    return account


@contextmanager
def taking_no(database: Database[Json], collection: str, **like: str) -> Iterator[None]:
    """Within the block the database takes no document of that kind."""
    database.command("collMod", collection, validator={"$nor": [like]})
    try:
        yield
    finally:
        database.command("collMod", collection, validator={})


def entries(database: Database[Json], action: AuditAction, target: str) -> list[Json]:
    return list(database["audit"].find({"action": action, "target": target}))


async def unnoted(database: Database[Json], action: AuditAction, attempt: Try) -> None:
    """One try that cannot be noted."""
    with taking_no(database, "audit", action=action):
        answer = await attempt()
    assert answer.status_code == 500, answer.text


def refused(answer: httpx.Response, status: int, code: Code) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def log_in(client: httpx.AsyncClient, account: Account, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/v1/auth/login", json={"email": account.email, "password": password})


async def signed_in(client: httpx.AsyncClient, account: Account) -> dict[str, str]:
    """The headers of a new session."""
    answer = await log_in(client, account)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def goes_on(client: httpx.AsyncClient, who: dict[str, str]) -> bool:
    return (await client.get("/v1/me", headers=who)).status_code == 200


def reset_token(api: Api, account: Account) -> str:
    """What a link carries that replaces an account's first password."""
    now = datetime.now(UTC)
    tokens = PurposeTokens(api.settings.token_keys)
    return tokens.mint(Purpose.PASSWORD_RESET, account.id, "1", now + RESET_LIFETIME, now)


def reset(api: Api, client: httpx.AsyncClient, account: Account) -> Try:
    """Sets a password by a link."""
    body = {"token": reset_token(api, account), "password": NEW_PASSWORD}
    return lambda: client.post("/v1/auth/password/reset", json=body)


async def test_a_password_is_replaced_once_that_is_noted(
    api: Api, anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    who, attempt = await signed_in(anybody, employee), reset(api, anybody, employee)
    await unnoted(database, AuditAction.PASSWORD_CHANGED, attempt)
    assert await goes_on(anybody, who)
    assert (await log_in(anybody, employee)).status_code == 200
    assert (await attempt()).status_code == 204
    refused(await attempt(), 410, Code.LINK_SPENT)
    [entry] = entries(database, AuditAction.PASSWORD_CHANGED, employee.id)
    assert entry["actor"] == employee.id
    assert not await goes_on(anybody, who)
    refused(await log_in(anybody, employee), 401, Code.CREDENTIALS_INVALID)
    assert (await log_in(anybody, employee, NEW_PASSWORD)).status_code == 200


async def test_a_password_is_not_replaced_while_old_sessions_would_go_on(
    api: Api, anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    who, attempt = await signed_in(anybody, employee), reset(api, anybody, employee)
    with taking_no(database, "sessions", ended_because=EndReason.PASSWORD_CHANGED):
        assert (await attempt()).status_code == 500
    assert (await attempt()).status_code == 204, "the link is still good"
    assert not await goes_on(anybody, who)


class InBetween:
    """The accounts, of which one signs in just before its password is replaced."""

    def __init__(self, users: Users, act: Callable[[], Awaitable[object]]) -> None:
        self._users = users
        self._act = act

    def __getattr__(self, name: str) -> object:
        return getattr(self._users, name)

    async def set_password(self, scope: Scope, user_id: str, password_hash: str, version: int | None = None) -> bool:
        await self._act()
        return await self._users.set_password(scope, user_id, password_hash, version)


async def test_whoever_signs_in_while_the_password_is_replaced_is_out(
    api: Api, anybody: httpx.AsyncClient, employee: Account
) -> None:
    came: list[dict[str, str]] = []

    async def come() -> None:
        came.append(await signed_in(anybody, employee))

    own = api.services.own_accounts
    tools = Tools(own._passwords, own._tokens, own._sessions, own._audit, own._doors)
    users = cast("Users", InBetween(own._users, come))
    accounts = OwnAccounts(users, own._sign_in, tools, own._letters, key=own._key)
    route = SimpleNamespace(path="/v1/auth/password/reset")
    scope = {"type": "http", "method": "POST", "headers": [], "client": ("127.0.0.1", 1), "route": route}
    await accounts.reset(Request(scope), reset_token(api, employee), NEW_PASSWORD)
    [who] = came
    assert not await goes_on(anybody, who)


class Meanwhile:
    """The accounts; between comparing somebody's password and their session something happens."""

    def __init__(self, users: Users, act: Callable[[], Awaitable[object]]) -> None:
        self._users = users
        self._act = act

    def __getattr__(self, name: str) -> object:
        return getattr(self._users, name)

    async def find(self, scope: Scope, user_id: str) -> Account | None:
        found = await self._users.find(scope, user_id)
        await self._act()
        return found


async def test_a_password_that_is_replaced_while_it_is_compared_opens_nothing(
    api: Api, anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    replace, own = reset(api, anybody, employee), api.services.sign_in
    users = cast("Users", Meanwhile(own._users, replace))
    parts = (own._tries, own._passwords, own._sessions, own._audit, own._doors)
    route = SimpleNamespace(path="/v1/auth/login")
    scope = {"type": "http", "method": "POST", "headers": [], "client": ("127.0.0.1", 1), "route": route}
    with pytest.raises(VisitNowError) as refusal:
        await SignIn(users, *parts, key=own._key).log_in(Request(scope), Typed(str(employee.email), PASSWORD, None))
    assert refusal.value.code is Code.CREDENTIALS_INVALID
    sessions = list(database["sessions"].find({"subject_id": employee.id}))
    assert [one["ended_because"] for one in sessions] == [EndReason.PASSWORD_CHANGED]


async def test_an_authenticator_counts_and_is_taken_off_once_that_is_noted(
    anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    who = await signed_in(anybody, employee)
    enrolment = (await anybody.post("/v1/auth/totp", headers=who, json={})).json()
    code = {"code": pyotp.TOTP(enrolment["secret"]).now()}
    await unnoted(
        database,
        AuditAction.TOTP_CHANGED,
        lambda: anybody.post("/v1/auth/totp/confirm", headers=who, json=code),
    )
    assert (await log_in(anybody, employee)).status_code == 200, "it does not count yet"
    assert (await anybody.post("/v1/auth/totp/confirm", headers=who, json=code)).status_code == 204
    refused(await log_in(anybody, employee), 401, Code.TOTP_REQUIRED)
    assert len(entries(database, AuditAction.TOTP_CHANGED, employee.id)) == 1

    async def take_off() -> httpx.Response:
        body = {"code": enrolment["recovery_codes"][0]}
        return await anybody.request("DELETE", "/v1/auth/totp", headers=who, json=body)

    await unnoted(database, AuditAction.TOTP_CHANGED, take_off)
    refused(await log_in(anybody, employee), 401, Code.TOTP_REQUIRED)
    assert (await take_off()).status_code == 204, "the code is not spent yet"
    assert (await log_in(anybody, employee)).status_code == 200
    assert len(entries(database, AuditAction.TOTP_CHANGED, employee.id)) == 2
    refused(await take_off(), 401, Code.CREDENTIALS_INVALID)
    assert len(entries(database, AuditAction.TOTP_CHANGED, employee.id)) == 2, "what is refused is no change"


async def test_whoever_signs_in_is_noted_first(
    anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    await unnoted(database, AuditAction.SIGNED_IN, lambda: log_in(anybody, employee))
    assert database["sessions"].count_documents({"subject_id": employee.id}) == 0
    assert (await log_in(anybody, employee)).status_code == 200
    assert database["audit"].count_documents({"action": AuditAction.SIGNED_IN, "actor": employee.id}) == 1


async def test_staff_is_removed_once_that_is_noted(
    api: Api, anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    who = await signed_in(anybody, employee)
    async with api.client("tenant_admin") as admin:

        async def remove() -> httpx.Response:
            return await admin.delete(f"/v1/clinics/{INDIRANAGAR.id}/staff/{employee.id}")

        await unnoted(database, AuditAction.STAFF_REMOVED, remove)
        assert await goes_on(anybody, who)
        assert (await log_in(anybody, employee)).status_code == 200
        assert (await remove()).status_code == 204
        assert (await remove()).status_code == 404
    assert len(entries(database, AuditAction.STAFF_REMOVED, employee.id)) == 1
    assert not await goes_on(anybody, who)
    refused(await log_in(anybody, employee), 401, Code.CREDENTIALS_INVALID)


async def test_whoever_is_to_be_removed_has_no_session_left_before(
    api: Api, anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    who = await signed_in(anybody, employee)
    async with api.client("tenant_admin") as admin:
        with taking_no(database, "sessions", ended_because=EndReason.REMOVED):
            answer = await admin.delete(f"/v1/clinics/{INDIRANAGAR.id}/staff/{employee.id}")
            assert answer.status_code == 500
        assert (await admin.delete(f"/v1/clinics/{INDIRANAGAR.id}/staff/{employee.id}")).status_code == 204
    assert not await goes_on(anybody, who)


async def test_nobody_is_invited_or_joins_unnoted(
    api: Api, stores: Repositories, anybody: httpx.AsyncClient, database: Database[Json]
) -> None:
    body = {"email": f"{random_id('x')}@arogya.example", "role": "staff"}
    before = database["invites"].count_documents({})
    async with api.client("tenant_admin") as admin:
        path = f"/v1/clinics/{INDIRANAGAR.id}/invites"
        await unnoted(database, AuditAction.STAFF_INVITED, lambda: admin.post(path, json=body))
    assert database["invites"].count_documents({}) == before
    now = datetime.now(UTC).replace(microsecond=0)
    invitation = Invitation(
        id=random_id("inv"),
        tenant_id=INDIRANAGAR.tenant_id,
        email=body["email"],
        role=Role.STAFF,
        clinic_ids=frozenset({INDIRANAGAR.id}),
        expires_at=now + INVITE_LIFETIME,
    )
    assert await stores.invites.add(LOOKING, invitation)
    token = PurposeTokens(api.settings.token_keys).mint(
        Purpose.INVITE, invitation.id, "", now + INVITE_LIFETIME, now - timedelta(seconds=1)
    )
    joining = {"token": token, "name": "Nila Roy", "password": NEW_PASSWORD}
    accept: Try = lambda: anybody.post("/v1/invites/accept", json=joining)  # noqa: E731  like the other tries
    await unnoted(database, AuditAction.STAFF_JOINED, accept)
    assert (await accept()).status_code == 200
    refused(await accept(), 410, Code.INVITE_SPENT)
    assert len(entries(database, AuditAction.STAFF_JOINED, invitation.id)) == 1


async def test_a_session_ends_once_that_is_noted(
    anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    who = await signed_in(anybody, employee)
    [session] = database["sessions"].find({"subject_id": employee.id})
    await unnoted(database, AuditAction.SESSION_ENDED, lambda: anybody.post("/v1/auth/logout", headers=who))
    assert await goes_on(anybody, who)
    assert (await anybody.post("/v1/auth/logout", headers=who)).status_code == 204
    assert not await goes_on(anybody, who)
    assert len(entries(database, AuditAction.SESSION_ENDED, session["_id"])) == 1


async def test_a_reuse_is_noted_by_whoever_finds_it_again(
    anybody: httpx.AsyncClient, employee: Account, database: Database[Json]
) -> None:
    tokens = (await log_in(anybody, employee)).json()

    async def refresh() -> httpx.Response:
        return await anybody.post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})

    assert (await refresh()).status_code == 200
    await unnoted(database, AuditAction.SESSION_ENDED, refresh)
    for _ in range(2):
        refused(await refresh(), 401, Code.REFRESH_REUSED)
    [session] = database["sessions"].find({"subject_id": employee.id})
    assert session["ended_because"] == EndReason.REUSED
    assert len(entries(database, AuditAction.SESSION_ENDED, session["_id"])) == 1


async def test_a_patient_changes_themselves_and_theirs_once_that_is_noted(
    api: Api, stores: Repositories, database: Database[Json]
) -> None:
    who = ACCOUNTS["other_patient"].model_copy(update={"id": random_id("usr"), "phone": None, "name": "Meera Joshi"})
    assert await stores.users.add(LOOKING, who)
    child = {"name": "Om", "date_of_birth": "2020-01-02", "relation": "son"}
    async with api.client(who) as patient:

        async def rename() -> httpx.Response:
            return await patient.patch("/v1/me", json={"name": "Meera Rao"})

        await unnoted(database, AuditAction.ACCOUNT_CHANGED, rename)
        assert (await patient.get("/v1/me")).json()["name"] == "Meera Joshi"
        assert (await rename()).json()["name"] == "Meera Rao"
        path = "/v1/me/dependants"
        await unnoted(database, AuditAction.DEPENDANT_CHANGED, lambda: patient.post(path, json=child))
        assert (await patient.get(path)).json()["items"] == []
        added = (await patient.post(path, json=child)).json()
        one = f"{path}/{added['id']}"
        await unnoted(database, AuditAction.DEPENDANT_CHANGED, lambda: patient.patch(one, json={"name": "Omkar"}))
        assert [each["name"] for each in (await patient.get(path)).json()["items"]] == ["Om"]
        assert (await patient.patch(one, json={"name": "Omkar"})).status_code == 200
        await unnoted(database, AuditAction.DEPENDANT_REMOVED, lambda: patient.delete(one))
        assert len((await patient.get(path)).json()["items"]) == 1
        assert (await patient.delete(one)).status_code == 204
        assert (await patient.delete(one)).status_code == 404
    assert len(entries(database, AuditAction.ACCOUNT_CHANGED, who.id)) == 1
    assert len(entries(database, AuditAction.DEPENDANT_CHANGED, added["id"])) == 2
    assert len(entries(database, AuditAction.DEPENDANT_REMOVED, added["id"])) == 1


async def test_a_review_is_ruled_on_once_that_is_noted(
    api: Api, stores: Repositories, database: Database[Json]
) -> None:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
    held = await hold(stores, a_booking(ANANYA_RAO, ACCOUNTS["patient"].id, start), random_id("order"), Intake())
    visit = await confirm(stores, held, random_id("pay"))
    review = review_of(visit, Opinion(rating=2, comment="call 98123 45678"), datetime.now(UTC))
    assert (await stores.reviews.put(LOOKING, review)).state is ReviewState.PENDING
    async with api.client("admin") as moderator:

        async def publish() -> httpx.Response:
            return await moderator.post(f"/v1/reviews/{review.id}/moderation", json={"decision": "publish"})

        await unnoted(database, AuditAction.REVIEW_MODERATED, publish)
        still = await stores.reviews.find(LOOKING, review.id)
        assert still is not None
        assert still.state is ReviewState.PENDING
        assert (await publish()).status_code == 200
    assert len(entries(database, AuditAction.REVIEW_MODERATED, review.id)) == 1


async def test_a_task_is_done_once_that_is_noted(api: Api, stores: Repositories, database: Database[Json]) -> None:
    start = datetime(2031, 3, 6, 4, 30, tzinfo=UTC)
    task = a_task(await hold(stores, a_booking(ANANYA_RAO, ACCOUNTS["patient"].id, start), None, Intake()))
    await stores.staff_tasks.raise_once(LOOKING, task)
    async with api.client("staff") as desk:

        async def finish() -> httpx.Response:
            return await desk.post(f"/v1/clinics/{task.clinic_id}/tasks/{task.id}/done")

        await unnoted(database, AuditAction.TASK_DONE, finish)
        stored = database["staff_tasks"].find_one({"_id": task.id})
        assert stored is not None
        assert stored["state"] == "open"
        assert (await finish()).json()["state"] == "done"
    assert len(entries(database, AuditAction.TASK_DONE, task.id)) == 1


@pytest.mark.parametrize("what", ["services", "availability"])
async def test_what_is_published_is_noted_first(api: Api, database: Database[Json], what: str) -> None:
    path = f"/v1/providers/{PROVIDER.id}/{what}"
    async with api.client("doctor") as doctor:
        shown = await doctor.get(path)
        body = shown.json()["items"] if what == "services" else shown.json()
        if what == "availability":
            body = {name: body[name] for name in ("weekly", "overrides", "min_notice_minutes", "horizon_days")}
        tag = {"If-Match": shown.headers["etag"]}
        before = len(entries(database, AuditAction.PUBLISHED, PROVIDER.id))
        await unnoted(database, AuditAction.PUBLISHED, lambda: doctor.put(path, json=body, headers=tag))
        assert (await doctor.get(path)).headers["etag"] == shown.headers["etag"]
        assert (await doctor.put(path, json=body, headers=tag)).status_code == 200
        refused(await doctor.put(path, json=body, headers=tag), 412, Code.STALE)
    assert len(entries(database, AuditAction.PUBLISHED, PROVIDER.id)) == before + 1


async def test_a_leave_is_ended_once_that_is_noted(api: Api, stores: Repositories, database: Database[Json]) -> None:
    await stores.leaves.insert(LOOKING, LEAVE, None)
    async with api.client("doctor") as doctor:
        before = len(entries(database, AuditAction.PUBLISHED, PROVIDER.id))

        async def end() -> httpx.Response:
            return await doctor.delete(f"/v1/leaves/{LEAVE.id}")

        await unnoted(database, AuditAction.PUBLISHED, end)
        listed = (await doctor.get(f"/v1/providers/{PROVIDER.id}/leaves", params={"limit": 100})).json()["items"]
        assert LEAVE.id in {one["id"] for one in listed}
        assert (await end()).status_code == 204
    assert len(entries(database, AuditAction.PUBLISHED, PROVIDER.id)) == before + 1


async def test_a_right_is_claimed_and_answered_once_that_is_noted(api: Api, database: Database[Json]) -> None:
    key = {"Idempotency-Key": secrets.token_urlsafe(12)}
    body = {"text": "Somebody called me about an offer."}
    async with api.client("patient") as patient, api.client("admin") as admin:
        claim: Try = lambda: patient.post("/v1/me/grievances", json=body, headers=key)  # noqa: E731  like the others
        before = database["rights_requests"].count_documents({})
        await unnoted(database, AuditAction.RIGHT_CLAIMED, claim)
        assert database["rights_requests"].count_documents({}) == before
        claimed = await claim()
        assert claimed.status_code == 201, claimed.text
        assert (await claim()).json() == claimed.json()
        request_id = claimed.json()["id"]
        assert len(entries(database, AuditAction.RIGHT_CLAIMED, request_id)) == 1
        said = {"outcome": "granted", "text": "These calls have stopped."}

        async def answer() -> httpx.Response:
            return await admin.post(f"/v1/rights-requests/{request_id}/answer", json=said)

        await unnoted(database, AuditAction.RIGHT_ANSWERED, answer)
        stored = database["rights_requests"].find_one({"_id": request_id})
        assert stored is not None
        assert stored["state"] == "received"
        for _ in range(2):
            assert (await answer()).status_code == 200
    assert len(entries(database, AuditAction.RIGHT_ANSWERED, request_id)) == 1
