"""At most one message per key and channel, counted where it arrives, whatever dies or is lost on the way.

The steps are the product's own, over the database; what is played is whoever carries the messages and whoever dies.
Each run is random and repeatable by its number. `test_notice_lives.py` does the same with whole notices and their
channels, `test_told_once.py` with everything real.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError

from activities.messaging import Delivery, MessagingActivities
from adapters.mongo.repositories import Repositories
from adapters.texts import FileTexts
from models.errors import DeliveryError, UnavailableError
from models.identity import Scope, Tenant
from models.ids import random_id
from models.messaging import Channel, Letter, Message, MessageState, Word
from tests.adapters.mongo.builders import a_message
from tests.messaging.lives import SENDER, DiedError
from tests.messaging.readers import repositories
from tests.stack import Stack

MOST_TRIES: Final = 12
TEXTS: Final = FileTexts()
FATES: Final = ("taken", "taken", "lost", "lost before", "limited", "refused", "killed", "killed before")
T = TypeVar("T")


class Provider:
    """Implements `models.notice_ports.Carrier`: takes messages, and loses its answers as often as not."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.taken: list[tuple[str, str, str]] = []
        """Id of ours, id of the provider's, words: what a phone would show."""
        self._taken_at: dict[str, datetime] = {}

    async def send(self, message: Message, letter: Letter) -> Word:
        match self._chance.choice(FATES):
            case "lost before":
                raise UnavailableError("no answer, and nothing was taken")
            case "killed before":
                raise DiedError
            case "limited":
                raise DeliveryError("20429", permanent=False)
            case "refused":
                raise DeliveryError("21614", permanent=True)
            case how:
                sid = random_id("SM")
                self.taken.append((message.id, sid, letter.text))
                self._taken_at[sid] = datetime.now(UTC)
                if how == "lost":
                    raise UnavailableError("taken, but the answer was lost")
                if how == "killed":
                    raise DiedError
                return Word(state=MessageState.SENT, provider_id=sid)

    async def find(self, message: Message, letter: Letter, since: datetime) -> Word | None:
        if self._chance.random() < 0.3:
            raise UnavailableError("the list is away too")
        mine = (sid for one, sid, text in self.taken if one == message.id and text == letter.text)
        sid = next((sid for sid in mine if self._taken_at[sid] >= since), None)
        return None if sid is None else Word(state=MessageState.SENT, provider_id=sid)

    async def fetch(self, message: Message, provider_id: str) -> Word | None:
        del message
        return Word(state=self._chance.choice([MessageState.SENT, MessageState.DELIVERED]), provider_id=provider_id)


async def _nobody(scope: Scope, subject_id: str) -> None:
    """Nobody leaves."""
    del scope, subject_id


async def _still(message: Message) -> None:
    """It is true for as long as it lives."""
    assert message.notice_id is None


class Run:
    """One message's life, drawn from one number."""

    def __init__(self, stores: Repositories, number: int) -> None:
        self.chance = random.Random(number)  # noqa: S311  repeatable, not secret
        self.stores = stores
        self.provider = Provider(self.chance)
        self.message = a_message(
            id=random_id("msg"),
            to=f"+9198{number % 10**8:08d}",
            channel=self.chance.choice([Channel.SMS, Channel.WHATSAPP]),
            expires_at=datetime.now(UTC) + timedelta(minutes=5),
        )
        self.stopped_at: int | None = None
        self._steps = MessagingActivities(
            stores.notifications,
            TEXTS,
            self.provider,
            stores.stops,
            senders={Channel.SMS: SENDER, Channel.WHATSAPP: f"whatsapp:{SENDER}"},
            leaves=_nobody,
            still=_still,
        )

    async def play(self) -> MessageState:
        """Keep it, deliver it as often as somebody dies, and let callbacks come as they like."""
        tenant, message = Tenant(self.message.tenant_id), self.message
        for _ in range(self.chance.randint(1, 3)):
            await self.stores.notifications.keep(tenant, message, datetime.now(UTC))
        state = MessageState.QUEUED
        for _ in range(MOST_TRIES):
            await self._meanwhile()
            found = await _survived(lambda: self._steps.deliver(self._delivery()))
            state = found or state
            if found is not None and self.chance.random() < 0.7:
                break
        state = await _survived(lambda: self._steps.look(self._delivery())) or state
        if state is MessageState.QUEUED:
            state = await self._steps.give_up(self._delivery())
        # Whoever comes late finds that it is over.
        await _survived(lambda: self._steps.deliver(self._delivery()))
        return state

    async def _meanwhile(self) -> None:
        """A callback, twice or late, or a word from the reader."""
        tenant = Tenant(self.message.tenant_id)
        for _, sid, _ in self.provider.taken * self.chance.randint(0, 2):
            word = self.chance.choice([MessageState.SENT, MessageState.DELIVERED, MessageState.FAILED])
            said = Word(state=word, provider_id=sid)
            await self.stores.notifications.settle(tenant, self.message.id, said, datetime.now(UTC))
        if self.stopped_at is None and self.chance.random() < 0.05:
            prefix = "whatsapp:" if self.message.channel is Channel.WHATSAPP else ""
            await self.stores.stops.note(
                f"{prefix}{SENDER}",
                f"{prefix}{self.message.to}",
                stopped=True,
                reply_id=random_id("SM"),
                at=datetime.now(UTC),
            )
            self.stopped_at = len(self.provider.taken)

    def _delivery(self) -> Delivery:
        message = self.message
        return Delivery(
            tenant_id=message.tenant_id,
            subject_id=message.subject_id,
            message_id=message.id,
            expires_at=message.expires_at,
        )


async def _survived(step: Callable[[], Awaitable[T]]) -> T | None:
    """What a step gives; None where it failed or somebody died in it, and it is to be run again."""
    try:
        return await step()
    except (ApplicationError, DiedError):
        return None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stores(shared_stack: Stack) -> AsyncIterator[Repositories]:
    async with repositories(shared_stack) as found:
        yield found


def _runs(stores: Repositories, first: int, count: int) -> Iterator[Run]:
    return (Run(stores, first + number) for number in range(count))


async def prove(stores: Repositories, first: int, count: int) -> Counter[str]:
    """Play so many lives, eight side by side; how they ended."""
    ends: Counter[str] = Counter()
    at_once = asyncio.Semaphore(8)

    async def one(run: Run, number: int) -> None:
        async with at_once:
            state = await run.play()
        taken = len(run.provider.taken)
        assert taken <= 1, f"run {number}: {taken} messages arrived"
        if run.stopped_at is not None:
            assert taken <= run.stopped_at, f"run {number}: written to after a stop"
        found = await run.stores.notifications.standing(Tenant(run.message.tenant_id), run.message.id)
        assert found is not None
        if found.state in {MessageState.SENT, MessageState.DELIVERED}:
            assert taken == 1, f"run {number}: {found.state}, and nothing arrived"
        ends[f"{state}, {taken} arrived{', stopped' if run.stopped_at is not None else ''}"] += 1

    await asyncio.gather(*(one(run, first + number) for number, run in enumerate(_runs(stores, first, count))))
    return ends


async def test_some_lives_bring_at_most_one_message_each(stores: Repositories) -> None:
    ends = await prove(stores, 0, 150)
    # The lives are worth playing: they end in every way there is.
    assert {end.partition(",")[0] for end in ends} >= {"sent", "delivered", "failed"}
    assert any("stopped" in end for end in ends)


@pytest.mark.fault_matrix
@pytest.mark.timeout(1200)
async def test_thousands_of_lives_bring_at_most_one_message_each(stores: Repositories) -> None:
    ends = await prove(stores, 100_000, 5_000)
    assert sum(ends.values()) == 5_000
