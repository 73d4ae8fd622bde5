"""The passing word: an appointment has a new version, a clinic's day, a doctor's time or a profile has changed.

One subscription per process, however many wait. A lost word costs its hearer time, never truth: who waits for an
appointment also looks by itself now and then, and caches ask `connected` and `generation` before they are believed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypedDict, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from adapters.redis.client import connect, unavailable

RECONNECT_SECONDS: Final = 0.5
PING_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 3.0
"""A subscription that answers no ping for so long is dead, whatever TCP believes."""

_log = structlog.get_logger(__name__)


class _Message(TypedDict):
    type: str
    channel: bytes
    data: bytes


class _Channels(NamedTuple):
    appointment: str
    clinic: str
    time: str
    published: str


def _channels(namespace: str) -> _Channels:
    return _Channels(*(f"{namespace}:{name}" for name in _Channels._fields))


def _nobody_keeps(provider_id: str, practitioner_id: str) -> None:
    """Hears of a publication in a process that keeps nothing of profiles."""
    del provider_id, practitioner_id


class RedisFeed:
    """Publishes; implements `models.ports.Feed`. Raises `UnavailableError` while Redis is away."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        """`namespace` keeps installations on one Redis apart."""
        self._redis = redis
        self._channels = _channels(namespace)

    async def appointment_changed(self, appointment_id: str, version: int) -> None:
        """Say that an appointment has a new version."""
        with unavailable():
            await self._redis.publish(self._channels.appointment, f"{appointment_id} {version}")

    async def day_changed(self, clinic_id: str) -> None:
        """Say that one of a clinic's visits has changed."""
        with unavailable():
            await self._redis.publish(self._channels.clinic, clinic_id)

    async def time_changed(self, practitioner_id: str) -> None:
        """Say that a practitioner's claims have changed."""
        with unavailable():
            await self._redis.publish(self._channels.time, practitioner_id)

    async def published(self, provider_id: str, practitioner_id: str) -> None:
        """Say that a provider's services, hours or leave have changed."""
        with unavailable():
            await self._redis.publish(self._channels.published, f"{provider_id} {practitioner_id}")


class Watch:
    """Wakes whoever waits for one appointment, or for one clinic's day."""

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Something was heard, or may have been missed."""
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next word about it, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        finally:
            self._changed.clear()


class FeedListener:
    """This process's one subscription; `run` keeps it alive until it is cancelled."""

    def __init__(
        self,
        url: str,
        namespace: str,
        on_time_changed: Callable[[str], None],
        on_published: Callable[[str, str], None] = _nobody_keeps,
    ) -> None:
        """`on_time_changed` is called with a practitioner's id, `on_published` with a provider's and that.

        Both are called in the event loop and must not block or raise.
        """
        self._url = url
        self._channels = _channels(namespace)
        self._on_time_changed = on_time_changed
        self._on_published = on_published
        self._watches: dict[str, set[Watch]] = {}
        self._subscribed = asyncio.Event()
        self.generation = 0

    @property
    def connected(self) -> bool:
        """Whether nothing has been missed since `generation` last changed."""
        return self._subscribed.is_set()

    async def until_connected(self) -> None:
        """Return once the subscription stands."""
        await self._subscribed.wait()

    @contextmanager
    def watch(self, watched_id: str) -> Iterator[Watch]:
        """Hear about one appointment, or one clinic's day, for as long as the context lasts."""
        watch = Watch()
        watches = self._watches.setdefault(watched_id, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                self._watches.pop(watched_id, None)

    async def run(self) -> None:
        """Subscribe and pass words on; come back whenever the connection was lost."""
        while True:
            # No retries inside the client: it would subscribe again by itself and hide that words were missed.
            redis = connect(self._url, retries=0)
            try:
                async with redis.pubsub() as pubsub:
                    await self._listen(pubsub)
            except (RedisError, OSError) as error:
                if self.connected:
                    _log.warning("feed.lost", error=type(error).__name__)
            finally:
                self._lost()
                await redis.aclose()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self, pubsub: PubSub) -> None:
        await pubsub.subscribe(*self._channels)
        confirmed, heard = 0, time.monotonic()
        while time.monotonic() - heard < SILENCE_SECONDS:
            message = cast("_Message | None", await pubsub.get_message(timeout=PING_SECONDS))
            if message is None:
                await pubsub.ping()
                continue
            heard = time.monotonic()
            if message["type"] == "subscribe":
                confirmed += 1
                if confirmed == len(self._channels):
                    self._stands()
            elif message["type"] == "message":
                self._pass_on(message["channel"].decode(), message["data"].decode(errors="replace"))

    def _stands(self) -> None:
        self.generation += 1
        self._subscribed.set()
        # Whatever happened before the subscription stood was not heard.
        self._wake_all()
        _log.info("feed.connected")

    def _lost(self) -> None:
        if self.connected:
            self._subscribed.clear()
            self.generation += 1
            self._wake_all()

    def _pass_on(self, channel: str, data: str) -> None:
        if channel == self._channels.time:
            self._on_time_changed(data)
            return
        if channel == self._channels.published:
            provider_id, _, practitioner_id = data.partition(" ")
            self._on_published(provider_id, practitioner_id)
            return
        for watch in self._watches.get(data.partition(" ")[0], ()):
            watch.wake()

    def _wake_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()
