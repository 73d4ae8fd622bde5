"""Reviews: one per visit, changed in place, ruled on, counted, and without words once their author is erased."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from models.errors import Code, VisitNowError
from models.identity import Public, Subject, System, Tenant
from models.reviews import Opinion, Rating, Review, ReviewState
from tests.adapters.mongo.builders import DAY, a_command, new
from tests.adapters.mongo.review_calls import a_review

WORLD = System("a test")


def somebody(**changes: object) -> Review:
    visit = a_command(0, 30, tenant_id=new("ten"), provider_id=new("prv"), subject_id=new("usr"))
    return a_review(visit, **changes)


async def test_a_later_opinion_takes_the_place_of_the_earlier(stores: Repositories) -> None:
    first = somebody()
    own = Subject(first.subject_id)
    assert await stores.reviews.put(own, first) == first
    assert await stores.reviews.put(own, first) == first, "said twice, kept once"
    other = first.model_copy(update={"opinion": Opinion(rating=1), "state": ReviewState.PUBLISHED})
    changed = await stores.reviews.put(own, other)
    assert (changed.version, changed.opinion, changed.created_at) == (2, other.opinion, first.created_at)
    assert await stores.reviews.rating(Public(), first.provider_id) == Rating(count=1, total=1)


async def test_what_is_not_published_is_neither_shown_nor_counted(stores: Repositories) -> None:
    waiting = await stores.reviews.put(WORLD, somebody(state=ReviewState.PENDING))
    assert (await stores.reviews.of_provider(Public(), waiting.provider_id, 5, None)).items == []
    assert (await stores.reviews.rating(Public(), waiting.provider_id)).count == 0
    listed = (await stores.reviews.in_state(WORLD, ReviewState.PENDING, 100, None)).items
    assert waiting in listed
    decided = await stores.reviews.decide(WORLD, waiting.id, ReviewState.PUBLISHED, waiting.version, DAY)
    assert await stores.reviews.decide(WORLD, waiting.id, ReviewState.PUBLISHED, waiting.version, DAY) == decided
    assert (await stores.reviews.of_provider(Public(), waiting.provider_id, 5, None)).items == [decided]


async def test_a_moderator_rules_on_what_was_read(stores: Repositories) -> None:
    waiting = await stores.reviews.put(WORLD, somebody(state=ReviewState.PENDING))
    await stores.reviews.put(
        WORLD, waiting.model_copy(update={"opinion": Opinion(rating=3, comment="call 98123 45678")})
    )
    with pytest.raises(VisitNowError) as refused:
        await stores.reviews.decide(WORLD, waiting.id, ReviewState.PUBLISHED, waiting.version, DAY)
    assert refused.value.code is Code.STALE


async def test_two_decisions_at_once_are_one(stores: Repositories) -> None:
    waiting = await stores.reviews.put(WORLD, somebody(state=ReviewState.PENDING))
    outcomes = await asyncio.gather(
        *(
            stores.reviews.decide(WORLD, waiting.id, state, waiting.version, DAY)
            for state in (ReviewState.PUBLISHED, ReviewState.WITHHELD)
        ),
        return_exceptions=True,
    )
    [decided] = [one for one in outcomes if isinstance(one, Review)]
    [refused] = [one for one in outcomes if isinstance(one, VisitNowError)]
    assert refused.code is Code.STALE
    assert await stores.reviews.find(WORLD, waiting.id) == decided


async def test_pages_go_on_where_the_last_ended(stores: Repositories) -> None:
    first = somebody()
    for number in range(5):
        later = first.model_copy(
            update={"id": new("rev"), "subject_id": new("usr"), "created_at": DAY + timedelta(minutes=number // 2)}
        )
        await stores.reviews.put(WORLD, later)
    seen: list[Review] = []
    cursor = None
    while True:
        page = await stores.reviews.of_provider(Public(), first.provider_id, 2, cursor)
        seen.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len({one.id for one in seen}) == len(seen) == 5
    assert [one.created_at for one in seen] == sorted((one.created_at for one in seen), reverse=True)


async def test_words_lie_sealed_and_go_with_their_author(stores: Repositories) -> None:
    words = f"My name is {new('canary')}"
    kept = await stores.reviews.put(WORLD, somebody(opinion=Opinion(rating=5, comment=words)))
    stored = await stores.database["reviews"].find_one({"_id": kept.id})
    assert stored is not None
    assert words not in str(stored)
    await stores.database["reviews"].update_one({"_id": kept.id}, {"$set": {"sealed": _of_a_lost_key(stored)}})
    found = await stores.reviews.find(Tenant(kept.tenant_id), kept.id)
    assert found is not None
    assert (found.erased, found.opinion.comment, found.opinion.rating) == (True, None, 5)


def _of_a_lost_key(stored: Document) -> Document:
    """The same words under a key that the vault does not have: another key id in the header of the ciphertext."""
    sealed = stored["sealed"]
    assert isinstance(sealed, dict)
    content = bytes(sealed["identity"])
    return {"identity": type(sealed["identity"])(content[:1] + bytes(16) + content[17:], 6)}
