"""Redis: passing words, tickets and limits, with the server there, gone and back."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as Client

from adapters.redis.client import MAX_CONNECTIONS, connect
from adapters.redis.feed import FeedListener, RedisFeed, Watch
from adapters.redis.limits import AWAY_SECONDS, Limit, RateLimiter
from adapters.redis.tickets import TICKET_LIFETIME, Ticket, Tickets
from models.errors import UnavailableError
from models.identity import PLATFORM, Principal, Role
from sandbox.servers.provision import Provisioner
from sandbox.servers.redis import Redis
from sandbox.servers.stack import Addresses

PATIENT = Principal(subject="usr_1", tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), session_id="ses_1")
TICKET = Ticket(principal=PATIENT, target_id="apt_1")
NOWHERE = "redis://127.0.0.1:1/0"
PATIENCE_SECONDS = 20.0


async def _until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  conditions of three kinds, none of them an event
            await asyncio.sleep(0.01)


@pytest.fixture
def namespace() -> str:
    return f"test{secrets.token_hex(6)}"


@pytest.fixture
async def redis(servers: Addresses) -> AsyncIterator[Client]:
    client = connect(servers.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def absent() -> AsyncIterator[Client]:
    client = connect(NOWHERE)
    yield client
    await client.aclose()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(Provisioner().redis(), tmp_path / "redis")
    server.start()
    yield server
    server.process.kill()


@asynccontextmanager
async def _listening(listener: FeedListener) -> AsyncIterator[None]:
    task = asyncio.create_task(listener.run())
    try:
        async with asyncio.timeout(10):
            await listener.until_connected()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _listener(url: str, namespace: str) -> tuple[FeedListener, list[str]]:
    heard: list[str] = []
    return FeedListener(url, namespace, heard.append), heard


async def _woken(watch: Watch, seconds: float = 5.0) -> bool:
    began = time.monotonic()
    await watch.wait(seconds)
    return time.monotonic() - began < seconds - 0.5


# The feed


async def test_a_word_about_an_appointment_wakes_only_its_watchers(
    servers: Addresses, redis: Client, namespace: str
) -> None:
    listener, heard = _listener(servers.redis_url, namespace)
    feed = RedisFeed(redis, namespace)
    async with _listening(listener):
        with listener.watch("apt_1") as first, listener.watch("apt_1") as second, listener.watch("apt_2") as other:
            await feed.appointment_changed("apt_1", 3)
            assert await _woken(first)
            assert await _woken(second)
            assert not await _woken(other, 0.6)
    assert heard == []


async def test_a_word_about_time_names_the_practitioner(servers: Addresses, redis: Client, namespace: str) -> None:
    listener, heard = _listener(servers.redis_url, namespace)
    async with _listening(listener):
        await RedisFeed(redis, namespace).time_changed("prc_1")
        await _until(lambda: heard == ["prc_1"])


async def test_another_installation_on_the_same_redis_is_not_heard(
    servers: Addresses, redis: Client, namespace: str
) -> None:
    listener, heard = _listener(servers.redis_url, namespace)
    async with _listening(listener):
        await RedisFeed(redis, f"{namespace}x").time_changed("prc_other")
        await RedisFeed(redis, namespace).time_changed("prc_own")
        await _until(lambda: bool(heard))
    assert heard == ["prc_own"]


async def test_a_word_between_looking_and_waiting_is_kept(servers: Addresses, redis: Client, namespace: str) -> None:
    listener, heard = _listener(servers.redis_url, namespace)
    async with _listening(listener):
        with listener.watch("apt_1") as watch:
            feed = RedisFeed(redis, namespace)
            await feed.appointment_changed("apt_1", 2)
            await feed.time_changed("prc_1")  # comes after it on the same connection
            await _until(lambda: bool(heard))
            assert await _woken(watch)
            assert not await _woken(watch, 0.6)


async def test_watches_are_forgotten(servers: Addresses, namespace: str) -> None:
    listener, _ = _listener(servers.redis_url, namespace)
    for number in range(100):
        with listener.watch(f"apt_{number}"):
            pass
    assert not listener._watches


async def test_publishing_without_redis_says_so(absent: Client, namespace: str) -> None:
    feed = RedisFeed(absent, namespace)
    with pytest.raises(UnavailableError):
        await feed.appointment_changed("apt_1", 1)
    with pytest.raises(UnavailableError):
        await feed.time_changed("prc_1")


async def test_a_lost_subscription_is_noticed_and_made_again(own_redis: Redis, namespace: str) -> None:
    listener, heard = _listener(own_redis.url, namespace)
    async with _listening(listener):
        before = listener.generation
        with listener.watch("apt_1") as watch:
            assert not await _woken(watch, 0.6)
            own_redis.process.kill()
            await _until(lambda: not listener.connected)
            assert listener.generation != before
            assert await _woken(watch), "who waits must look by themselves now"
            own_redis.start()
            async with asyncio.timeout(10):
                await listener.until_connected()
            assert await _woken(watch), "what happened meanwhile was not heard"
        client = connect(own_redis.url)
        await RedisFeed(client, namespace).time_changed("prc_1")
        await _until(lambda: heard == ["prc_1"])
        await client.aclose()


async def test_a_server_that_falls_silent_is_taken_for_gone(own_redis: Redis, namespace: str) -> None:
    listener, _ = _listener(own_redis.url, namespace)
    async with _listening(listener):
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        try:
            await _until(lambda: not listener.connected)
        finally:
            os.kill(own_redis.process.pid, signal.SIGCONT)
        async with asyncio.timeout(10):
            await listener.until_connected()


# Tickets


async def test_a_ticket_opens_once(redis: Client, namespace: str) -> None:
    tickets = Tickets(redis, namespace)
    token = await tickets.issue(TICKET)
    assert await tickets.redeem(token) == TICKET
    assert await tickets.redeem(token) is None


async def test_fifty_at_once_get_one_opening(redis: Client, namespace: str) -> None:
    tickets = Tickets(redis, namespace)
    token = await tickets.issue(TICKET)
    opened = await asyncio.gather(*(tickets.redeem(token) for _ in range(50)))
    assert [one for one in opened if one is not None] == [TICKET]


async def test_a_ticket_lapses_and_is_stored_only_as_its_hash(redis: Client, namespace: str) -> None:
    token = await Tickets(redis, namespace).issue(TICKET)
    keys = [key async for key in redis.scan_iter(f"{namespace}:*")]
    assert len(keys) == 1
    assert token.encode() not in keys[0]
    assert 0 < await redis.ttl(keys[0]) <= TICKET_LIFETIME.total_seconds()


async def test_unknown_and_unreadable_tickets_open_nothing(redis: Client, namespace: str) -> None:
    tickets = Tickets(redis, namespace)
    assert await tickets.redeem("made-up") is None
    token = await tickets.issue(TICKET)
    [key] = [key async for key in redis.scan_iter(f"{namespace}:*")]
    await redis.set(key, b'{"another": "release"}')
    assert await tickets.redeem(token) is None


async def test_tickets_without_redis_say_so(absent: Client, namespace: str) -> None:
    tickets = Tickets(absent, namespace)
    with pytest.raises(UnavailableError):
        await tickets.issue(TICKET)
    with pytest.raises(UnavailableError):
        await tickets.redeem("made-up")


# Limits

THREE = Limit("three", hits=3, seconds=60)


class _Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_040.0  # the beginning of a window of 60 s

    def __call__(self) -> float:
        return self.now


async def test_hits_are_counted_per_key_and_window(redis: Client, namespace: str) -> None:
    clock = _Clock()
    clock.now += 15
    limiter = RateLimiter(redis, namespace, clock)
    assert [await limiter.hit(THREE, "a") for _ in range(4)] == [None, None, None, 45]
    assert await limiter.hit(THREE, "b") is None
    clock.now += 45
    assert await limiter.hit(THREE, "a") is None


async def test_processes_count_together(redis: Client, namespace: str) -> None:
    clock = _Clock()
    limiters = [RateLimiter(redis, namespace, clock) for _ in range(4)]
    answers = [await limiter.hit(THREE, "a") for limiter in limiters]
    assert answers == [None, None, None, 60]


async def test_a_crowd_shares_few_connections_and_is_counted_together(own_redis: Redis, namespace: str) -> None:
    client, crowd = connect(own_redis.url), 200
    pool = client.connection_pool
    assert isinstance(pool, BlockingConnectionPool)
    # A busy machine's crowd takes longer than Redis is worth waiting for: some would be counted by this process alone.
    pool.timeout = PATIENCE_SECONDS
    pool.connection_kwargs |= {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}
    try:
        limiter = RateLimiter(client, namespace, _Clock())
        limit = Limit("crowd", hits=crowd - 1, seconds=3600)
        answers = await asyncio.gather(*(limiter.hit(limit, "a") for _ in range(crowd)))
        assert len([one for one in answers if one is not None]) == 1
        assert (await client.info("clients"))["connected_clients"] <= MAX_CONNECTIONS
    finally:
        await client.aclose()


async def test_counts_lapse_and_show_nobody(redis: Client, namespace: str) -> None:
    await RateLimiter(redis, namespace).hit(THREE, "203.0.113.7")
    [key] = [key async for key in redis.scan_iter(f"{namespace}:*")]
    assert b"203.0.113.7" not in key
    assert 0 < await redis.ttl(key) <= THREE.seconds


async def test_without_redis_this_process_counts_alone(absent: Client, namespace: str) -> None:
    limiter = RateLimiter(absent, namespace, _Clock())
    assert [await limiter.hit(THREE, "a") for _ in range(4)] == [None, None, None, 60]
    assert await limiter.hit(THREE, "b") is None


async def test_redis_is_left_alone_for_a_moment_after_it_failed(own_redis: Redis, namespace: str) -> None:
    clock = _Clock()
    client = connect(own_redis.url)
    limiter = RateLimiter(client, namespace, clock)
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(200):
            await limiter.hit(THREE, "a")
        assert time.monotonic() - began < 5, "each request waited for a server that does not answer"
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)
    clock.now += AWAY_SECONDS
    assert await limiter.hit(THREE, "b") is None
    assert await client.keys(f"{namespace}:*"), "Redis counts again once it is back"
    await client.aclose()
