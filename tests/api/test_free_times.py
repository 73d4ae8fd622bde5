"""Free times from memory: believed only while nothing can have been missed, computed once however many ask."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from api.free_times import AROUND, FreeTimes, Question
from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR, TENANT
from models.availability import Availability, Busy, WeeklyRule
from models.errors import Code, UnavailableError, VisitNowError
from models.identity import Scope
from models.providers import Offering

PROVIDER = ANANYA_RAO.provider
SERVICE = PROVIDER.services[0].id
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
QUESTION = Question(PROVIDER.id, SERVICE, TOMORROW, TOMORROW + timedelta(days=6))


class _Directory:
    """Knows one doctor, whose hours are the whole week."""

    def __init__(self) -> None:
        weekly = tuple(WeeklyRule(weekday=day, start="09:00", end="12:00") for day in range(7))
        self.offered: Offering | None = Offering(
            provider=PROVIDER, clinic=INDIRANAGAR, availability=Availability(weekly=weekly), tenant=TENANT
        )

    async def offering(self, scope: Scope, provider_id: str) -> Offering | None:
        del scope
        return self.offered if provider_id == PROVIDER.id else None


class _Claims:
    """Answers when told to."""

    def __init__(self) -> None:
        self.taken: list[Busy] = []
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    async def busy(self, scope: Scope, practitioner_id: str, start: datetime, end: datetime) -> list[Busy]:
        del scope, practitioner_id, start, end
        self.asked += 1
        taken = list(self.taken)
        await self.gate.wait()
        if self.away:
            raise UnavailableError("MongoDB does not answer")
        return taken


class _Feed:
    def __init__(self) -> None:
        self.connected = True
        self.generation = 1


class _House:
    def __init__(self) -> None:
        self.directory, self.claims, self.feed = _Directory(), _Claims(), _Feed()
        self.sources: Counter[str] = Counter()
        self.times = FreeTimes(self.directory, self.claims, self.feed, lambda source: self.sources.update([source]))

    async def starts(self, question: Question = QUESTION) -> list[str]:
        return [item["start"] for item in json.loads(await self.times.listed(question))["items"]]

    def take(self, start: str) -> None:
        begins = datetime.fromisoformat(start)
        self.claims.taken.append(Busy(begins, begins + timedelta(minutes=15)))


@pytest.fixture
def house() -> _House:
    return _House()


async def test_a_warm_answer_asks_no_server(house: _House) -> None:
    cold = await house.starts()
    assert len(cold) == 7 * 12
    assert [await house.starts() for _ in range(20)] == [cold] * 20
    assert house.claims.asked == 1
    assert house.sources == {"computed": 1, "cache": 20}


async def test_a_change_is_seen_at_once(house: _House) -> None:
    cold = await house.starts()
    house.take(cold[0])
    assert await house.starts() == cold
    house.times.time_changed(PROVIDER.practitioner_id)
    assert await house.starts() == cold[1:]


async def test_another_practitioner_s_change_costs_nothing(house: _House) -> None:
    await house.starts()
    house.times.time_changed("prc_somebody_else")
    await house.starts()
    assert house.claims.asked == 1


async def test_an_answer_that_was_computed_while_something_changed_is_not_kept(house: _House) -> None:
    house.claims.gate.clear()
    early = asyncio.create_task(house.starts())
    await asyncio.sleep(0.01)
    house.take("2000-01-01T00:00:00+00:00")
    house.times.time_changed(PROVIDER.practitioner_id)
    late = asyncio.create_task(house.starts())
    await asyncio.sleep(0.01)
    house.claims.gate.set()
    await asyncio.gather(early, late)
    assert house.claims.asked == 2, "who asks after the change must not share the older computation"
    await house.starts()
    assert house.claims.asked == 2, "the later one is kept"


async def test_many_at_once_share_one_computation(house: _House) -> None:
    house.claims.gate.clear()
    asking = [asyncio.create_task(house.starts()) for _ in range(200)]
    await asyncio.sleep(0.02)
    house.claims.gate.set()
    answers = await asyncio.gather(*asking)
    assert house.claims.asked == 1
    assert all(answer == answers[0] for answer in answers)


async def test_whoever_goes_away_takes_nobody_s_answer_along(house: _House) -> None:
    house.claims.gate.clear()
    first, second = asyncio.create_task(house.starts()), asyncio.create_task(house.starts())
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    house.claims.gate.set()
    assert len(await second) == 7 * 12
    assert house.claims.asked == 1


async def test_without_the_feed_nothing_is_believed(house: _House) -> None:
    await house.starts()
    house.feed.connected = False
    house.feed.generation += 1
    for _ in range(3):
        await house.starts()
    assert house.claims.asked == 4


async def test_what_was_kept_before_an_interruption_is_not_believed_after_it(house: _House) -> None:
    cold = await house.starts()
    house.feed.generation += 2  # lost and back again
    house.take(cold[0])
    assert await house.starts() == cold[1:]


async def test_an_answer_begun_before_an_interruption_is_not_kept(house: _House) -> None:
    house.claims.gate.clear()
    asking = asyncio.create_task(house.starts())
    await asyncio.sleep(0.01)
    house.feed.generation += 2
    house.claims.gate.set()
    await asking
    await house.starts()
    assert house.claims.asked == 2


async def test_a_failure_is_told_and_not_kept(house: _House) -> None:
    house.claims.away = True
    with pytest.raises(UnavailableError):
        await house.starts()
    house.claims.away = False
    assert await house.starts()


@pytest.mark.parametrize("question", [QUESTION._replace(provider_id="x"), QUESTION._replace(service_id="x")])
async def test_an_unknown_provider_or_service_is_not_found(house: _House, question: Question) -> None:
    with pytest.raises(VisitNowError) as refusal:
        await house.starts(question)
    assert refusal.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("first", "last"),
    [(date.min, date.min + timedelta(days=30)), (date.max - timedelta(days=30), date.max), (date(2020, 1, 1),) * 2],
)
async def test_dates_that_nobody_can_book_cost_no_look_at_claims(house: _House, first: date, last: date) -> None:
    assert await house.starts(QUESTION._replace(first=first, last=last)) == []
    assert house.claims.asked == 0


async def test_what_is_kept_has_a_bound(house: _House) -> None:
    longest = len(await house.times.listed(QUESTION))
    house.times = FreeTimes(house.directory, house.claims, house.feed, lambda _: None, max_bytes=3 * (longest + AROUND))
    for days in range(7):
        for service in PROVIDER.services:
            await house.starts(QUESTION._replace(service_id=service.id, last=TOMORROW + timedelta(days=days)))
            assert sum(len(answer.body) for answer in house.times._answers.values()) <= 3 * longest
    asked = house.claims.asked
    await house.starts(QUESTION._replace(service_id=PROVIDER.services[-1].id))
    assert house.claims.asked == asked, "the newest answer is always kept"


async def test_answers_without_a_free_time_are_bounded_too(house: _House) -> None:
    house.times = FreeTimes(house.directory, house.claims, house.feed, lambda _: None, max_bytes=10 * AROUND)
    for days in range(50):
        assert await house.starts(QUESTION._replace(first=date(2020, 1, 1), last=date(2020, 1, 1 + days % 28))) == []
        assert len(house.times._answers) < 10
