"""What signing in costs everybody else: how late the event loop is meanwhile, and what reading a token takes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from fastapi import Request
from fastapi.routing import APIRoute

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.passwords import Argon2, Hasher, Passwords
from adapters.redis.client import RedisClient
from adapters.redis.client import connect as connect_redis
from adapters.tokens import TokenVerifier
from api.background import Background
from api.people import Doing, People
from api.routers.identity import router
from api.sign_in import Typed
from bench.catalogue import TENANT
from bench.figures import MILLI, Figure, Sample, at_most, median_ratio, percentile
from bench.http import pool, prepared
from bench.load import closed_loop
from bench.measures.growth import median
from bench.product import BenchError
from bench.rig import Rig
from models.identity import Account, Role, System
from models.messaging import Message

NUMBER: Final = 11
PASSWORD: Final = "correct horse, bench battery"  # noqa: S105  of accounts that end with the stack
FILLING: Final = System("the bench's staff")
ROUTE: Final = next(one for one in router.routes if isinstance(one, APIRoute) and one.name == "login")
TICK_SECONDS: Final = 0.002
LIMIT_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = 5.0
TOKENS: Final = 200


class Slept:
    """Implements `Hasher`: takes as long as another one took, without working."""

    def __init__(self, seconds: float) -> None:
        """How long a comparison takes."""
        self._seconds = seconds

    def hash(self, password: str) -> str:
        """A real hash."""
        return Argon2().hash(password)

    def verify(self, stored: str, password: str) -> bool:
        """Right, for whoever has a hash and a password."""
        time.sleep(self._seconds)
        return bool(stored and password)


class Timed:
    """Implements `Hasher`: argon2, with how long each comparison took (seconds)."""

    def __init__(self) -> None:
        """Nothing has been compared yet."""
        self._argon2 = Argon2()
        self.took: list[float] = []

    def hash(self, password: str) -> str:
        """Argon2's."""
        return self._argon2.hash(password)

    def verify(self, stored: str, password: str) -> bool:
        """Argon2's answer."""
        began = time.perf_counter()
        right = self._argon2.verify(stored, password)
        self.took.append(time.perf_counter() - began)
        return right


class Unsent:
    """Implements `models.notice_ports.Messenger`: who signs in with a password is sent nothing."""

    async def send(self, message: Message) -> None:
        """Refuse. Raises `BenchError`."""
        raise BenchError(f"a sign-in sent {message.template}")


class Connected(NamedTuple):
    """What sign-ins work with."""

    rig: Rig
    stores: Repositories
    redis: RedisClient
    staff: list[Account]


async def measure(rig: Rig) -> list[Figure]:
    """Row 11, twice: the loop's lag while many sign in, and the share of reading a token."""
    async with _connected(rig) as connected:
        ours, theirs, lengths = [], [], []
        for number in range(rig.plan.rounds + 1):
            rig.tell(f"sign-in: round {number} of {rig.plan.rounds}")
            argon2 = Timed()
            ours.append(await _lag(connected, argon2, f"{number}.1"))
            lengths.append(statistics.median(argon2.took))
            theirs.append(await _lag(connected, Slept(lengths[-1]), f"{number}.2"))
        lags = {"argon2": ours[1:], "sleep": theirs[1:]}  # the first round only warms both up
        token = await _token(connected)
    detail = (
        f"{median(lags['argon2']):.1f} against {median(lags['sleep']):.1f} ms; {rig.plan.sign_ins} at once, "
        f"{median(lengths) * MILLI:.0f} ms a comparison"
    )
    return [
        Figure(
            NUMBER,
            "sign-ins: event loop's lag p99 ÷ with a sleep for argon2",
            median_ratio(lags["argon2"], lags["sleep"]),
            at_most(2),
            detail,
            rounds=lags,
        ),
        await _verification(rig, token),
    ]


@asynccontextmanager
async def _connected(rig: Rig) -> AsyncIterator[Connected]:
    settings = rig.stack.settings
    stores = Repositories.connect(
        mongo_addresses(settings), on_time_changed=_nobody_listens, on_published=_nobody_reads, appname="visitnow-bench"
    )
    redis = connect_redis(settings.redis_url.get_secret_value())
    try:
        hashed = Argon2().hash(PASSWORD)  # one for all: each comparison costs the same
        staff = [_employee(number) for number in range(rig.plan.sign_ins)]
        for account in staff:
            await stores.users.put(FILLING, account)
            await stores.users.set_password(FILLING, account.id, hashed)
        yield Connected(rig, stores, redis, staff)
    finally:
        await redis.aclose()
        await stores.close()


async def _nobody_listens(practitioner_id: str) -> None:
    """Who signs in claims nobody's time."""


async def _nobody_reads(provider_id: str, practitioner_id: str) -> None:
    """Nor do they publish anything."""


def _employee(number: int) -> Account:
    return Account(
        id=f"usr_bench_staff_{number}",
        tenant_id=TENANT.id,
        roles=frozenset({Role.ADMIN}),
        name=f"Employee {number}",
        email=f"employee{number}@bench.example",
    )


@asynccontextmanager
async def _people(connected: Connected, hasher: Hasher) -> AsyncIterator[People]:
    passwords, background = Passwords(hasher), Background()
    await passwords.prepare()
    try:
        yield People.of(
            Doing(connected.rig.stack.settings, connected.stores, connected.redis, passwords, Unsent(), background)
        )
    finally:
        await background.finish(DRAIN_SECONDS)
        passwords.close()


async def _lag(connected: Connected, hasher: Hasher, origin: str) -> float:
    """How late this process's event loop is while all the staff sign in at once: the p99 in milliseconds."""
    late: list[float] = []
    async with _people(connected, hasher) as people, asyncio.timeout(LIMIT_SECONDS):
        watch = asyncio.create_task(_watch(late))
        try:
            await asyncio.gather(
                *(people.sign_in.log_in(_request(origin), _typed(account)) for account in connected.staff)
            )
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
    return percentile(late, 99) * MILLI


async def _watch(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        late.append(max(0.0, time.perf_counter() - due))


def _request(origin: str) -> Request:
    """A sign-in from an address of its round, since one address may not sign in as often as all rounds together do."""
    return Request(
        {
            "type": "http",
            "method": "POST",
            "route": ROUTE,
            "client": (f"127.1.{origin}", 1),
            "headers": [(b"host", b"127.0.0.1"), (b"user-agent", b"bench")],
        }
    )


def _typed(account: Account) -> Typed:
    return Typed(account.email or "", PASSWORD, None)


async def _token(connected: Connected) -> str:
    async with _people(connected, Argon2()) as people:
        return (await people.sign_in.log_in(_request("255.1"), _typed(connected.staff[0]))).access_token


async def _verification(rig: Rig, token: str) -> Figure:
    """One's own account over HTTP, one request at a time, and the same token read as often here.

    The API has seen the token before, as it has on all but the first request of ten minutes; so has the reader here.
    What that first time takes is told beside it.
    """
    keys, url = rig.stack.settings.token_keys, rig.stack.api_url
    request = prepared("GET", f"{url}/v1/me", token=token)
    again: list[float] = []
    first: list[float] = []
    asked: list[Sample] = []
    async with pool(url, 1) as connections:

        async def ask() -> None:
            answer = await connections.ask(request)
            if answer.status != HTTPStatus.OK:
                raise BenchError(f"{answer.status}: {answer.body[:200]!r}")

        for _ in range(rig.plan.rounds + 1):
            again.append(_verified(TokenVerifier(keys), [token] * TOKENS))
            first.append(_verified(TokenVerifier(keys), rig.product.tokens[:TOKENS]))
            asked.append(await closed_loop(ask, TOKENS, 1, limit=LIMIT_SECONDS))
    times = {"verify": again[1:], "first": first[1:], "request": [one.p50 for one in asked[1:]]}
    return Figure(
        NUMBER,
        "reading a token ÷ GET /v1/me, p50",
        median_ratio(times["verify"], times["request"]),
        at_most(0.05),
        f"{median(times['verify']):.3f} against {median(times['request']):.2f} ms, one at a time; "
        f"{median(times['first']):.2f} ms when it is first seen",
        rounds=times,
    )


def _verified(verifier: TokenVerifier, tokens: Sequence[str]) -> float:
    """How long a reader takes for a token in the middle: milliseconds."""
    took = []
    for token in tokens:
        began = time.perf_counter()
        verifier.verify(token, datetime.now(UTC))
        took.append(time.perf_counter() - began)
    return statistics.median(took) * MILLI
