"""Who knocks too often waits, and nobody learns from an answer, or from the work behind it, who is known here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest
from fastapi import Request
from fastapi.routing import APIRoute
from pymongo import MongoClient
from pymongo.database import Database

from adapters.mongo.repositories import Repositories
from adapters.passwords import Argon2, Passwords
from adapters.redis.client import connect
from adapters.redis.limits import Limit
from api.background import Background
from api.people import Doing, People
from api.routers.identity import router
from api.sign_in import PER_ADDRESS, PER_SITE, Typed
from cli.accounts import ACCOUNTS
from cli.seed.arogya import INDIRANAGAR
from cli.seed.sanjeevani import BANDRA
from models.errors import Code, VisitNowError
from models.ids import random_id
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api
from tests.stack import Json, eventually

QUIET_LOOKS: Final = 8
"""Looks, 50 ms apart, that show the same before nothing is thought to come any more."""
LOGIN: Final = next(one for one in router.routes if isinstance(one, APIRoute) and one.name == "login")
ROUTES: Final = {
    "otp": ("/v1/auth/otp", {"phone": "+919845000001"}),
    "otp-verify": ("/v1/auth/otp/verify", {"challenge_id": "otp_made_up", "code": "123456"}),
    "password": ("/v1/auth/login", {"email": "nobody@nowhere.example", "password": "made up"}),
    "forgot": ("/v1/auth/password/forgot", {"email": "nobody@nowhere.example"}),
}
"""What is counted, and a request that counts."""


@pytest.fixture(scope="module")
def database(servers: Addresses, api: Api) -> Iterator[Database[Json]]:
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database), tz_aware=True) as client:
        yield client[api.settings.database]


def _from(api: Api, address: str, host: str) -> httpx.AsyncClient:
    """Somebody at this address of the loopback network, on this site."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    return httpx.AsyncClient(base_url=api.url, transport=transport, headers={"Host": host}, timeout=30)


async def _use_up(api: Api, limit: Limit, key: str) -> None:
    """As many hits as are allowed, early in a window: what follows falls into the same."""
    now = datetime.now(UTC).timestamp()
    left = limit.seconds - now % limit.seconds

    async def early() -> float:
        return limit.seconds - datetime.now(UTC).timestamp() % limit.seconds

    if left < 5:
        await eventually(early, lambda seconds: seconds > 5, seconds=10)
    for _ in range(limit.hits):
        await api.services.limiter.hit(limit, key)


@pytest.mark.parametrize("kind", ROUTES)
async def test_an_address_that_knocks_too_often_waits_and_nobody_else_does(
    api: Api, database: Database[Json], kind: str
) -> None:
    path, body = ROUTES[kind]
    crowd, other = f"127.0.7.{2 + list(ROUTES).index(kind)}", "127.0.8.1"
    await _use_up(api, PER_ADDRESS, f"{kind}:{crowd}")
    before = database.otp_challenges.count_documents({})
    async with _from(api, crowd, "127.0.0.1") as client:
        refused = await client.post(path, json=body)
    assert (refused.status_code, refused.json()["code"]) == (429, Code.RATE_LIMITED), refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= PER_ADDRESS.seconds
    assert database.otp_challenges.count_documents({}) == before
    async with _from(api, other, "127.0.0.1") as client:
        assert (await client.post(path, json=body)).status_code != 429
    if kind == "otp":
        assert database.otp_challenges.count_documents({}) == before + 1


async def test_a_site_that_is_flooded_waits_and_the_others_do_not(api: Api) -> None:
    """A flood from many addresses at one tenant's site leaves the others their codes."""
    path, _ = ROUTES["otp"]
    flooded, quiet = (f"{one.slug}.illajwala.com" for one in (INDIRANAGAR, BANDRA))
    await _use_up(api, PER_SITE, f"otp:{flooded}")
    async with _from(api, "127.0.9.1", flooded) as client:
        refused = await client.post(path, json={"phone": "+919845000002"})
    assert (refused.status_code, refused.json()["code"]) == (429, Code.RATE_LIMITED), refused.text
    async with _from(api, "127.0.9.1", quiet) as client:
        assert (await client.post(path, json={"phone": "+919845000003"})).status_code == 202


# Equal work


class Counted:
    """Implements `Hasher`: argon2, noting the parameters of each hash that is compared with."""

    def __init__(self) -> None:
        self._argon2 = Argon2()
        self.compared: list[str] = []

    def hash(self, password: str) -> str:
        return self._argon2.hash(password)

    def verify(self, stored: str, password: str) -> bool:
        self.compared.append(stored.rsplit("$", 2)[0])
        return self._argon2.verify(stored, password)


def _request() -> Request:
    headers = [(b"host", b"127.0.0.1"), (b"user-agent", b"tests")]
    return Request({"type": "http", "method": "POST", "route": LOGIN, "client": ("127.0.6.1", 1), "headers": headers})


@pytest.fixture
async def hasher() -> Counted:
    return Counted()


@pytest.fixture
async def people(api: Api, stores: Repositories, hasher: Counted) -> AsyncIterator[People]:
    """What signs people in, with a hasher that counts."""
    redis, passwords, background = connect(api.settings.redis_url.get_secret_value()), Passwords(hasher), Background()
    await passwords.prepare()
    yield People.of(Doing(api.settings, stores, redis, passwords, api.services.messenger, background))
    await background.finish(5)
    passwords.close()
    await redis.aclose()


def _noted(database: Database[Json], began: datetime) -> list[tuple[str, str]]:
    """What the database did since then, but for what it notes itself: kinds of commands by collection."""
    found = database["system.profile"].find({"ts": {"$gte": began}, "ns": {"$ne": f"{database.name}.system.profile"}})
    return sorted((one["op"], one["ns"].partition(".")[2]) for one in found)


async def _settled(database: Database[Json], began: datetime) -> Sequence[tuple[str, str]]:
    """What was done since, once nothing comes any more: what follows an answer is noted when it is done."""
    seen: list[Sequence[tuple[str, str]]] = []

    async def look() -> bool:
        seen.append(_noted(database, began))
        return len(seen) > QUIET_LOOKS and all(one == seen[-1] for one in seen[-QUIET_LOOKS:])

    await eventually(look, bool, 30)
    return seen[-1]


async def test_known_and_unknown_addresses_cost_the_same_work(
    people: People, hasher: Counted, database: Database[Json]
) -> None:
    known = ACCOUNTS["staff"].email or ""
    database.command("profile", 2)
    work = []
    try:
        await _settled(database, datetime.now(UTC))  # what followed the answers of the test before
        for email in (known, f"{random_id('nobody')}@nowhere.example"):
            began = datetime.now(UTC)
            with pytest.raises(VisitNowError) as refused:
                await people.sign_in.log_in(_request(), Typed(email, "made up", None))
            assert refused.value.code is Code.CREDENTIALS_INVALID
            work.append(await _settled(database, began - timedelta(milliseconds=1)))
    finally:
        database.command("profile", 0)
    assert work[0], "the profiler notes"
    assert work[0] == work[1]
    [one, other] = hasher.compared
    assert one == other, "one comparison each, of the same length"
    assert one.startswith("$argon2id$")


_AFTER: Final = frozenset({("command", "notifications"), ("insert", "audit")})
"""The test's own looks; and that a key was made for a number which nobody knew, after the answer has left."""


async def test_known_and_unknown_numbers_cost_the_same_work(api: Api, database: Database[Json]) -> None:
    known = ACCOUNTS["patient"].phone or ""
    path, _ = ROUTES["otp"]
    database.command("profile", 2)
    work, answers = [], []
    try:
        await _settled(database, datetime.now(UTC))  # what followed the answers of the test before
        async with _from(api, "127.0.5.1", "127.0.0.1") as client:
            for phone in (known, "+919845000004"):
                began = datetime.now(UTC) - timedelta(milliseconds=1)
                answer = await client.post(path, json={"phone": phone})
                assert answer.status_code == 202, answer.text
                answers.append(answer.json())
                challenge = {"_id": answer.json()["challenge_id"]}

                async def sent(wanted: Json = challenge) -> int:
                    return database.notifications.count_documents(wanted)

                await eventually(sent, bool)
                work.append([one for one in await _settled(database, began) if one not in _AFTER])
    finally:
        database.command("profile", 0)
    assert answers[0].keys() == answers[1].keys()
    assert work[0] == work[1], "also after the answer, but for the key"
