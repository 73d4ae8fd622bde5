"""The ledger of consents: every answer is a line, the last one holds, and nobody rewrites one."""

from __future__ import annotations

import asyncio

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from adapters.mongo.client import Document
from adapters.mongo.consents import MongoConsents
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.consents import Purpose
from models.deletions import DeletionState
from models.errors import Code, VisitNowError
from models.identity import Subject, System, Tenant
from tests.adapters.mongo.builders import DAY, new
from tests.adapters.mongo.deletion_calls import a_deletion
from tests.adapters.mongo.people import an_answer

ANYBODY = System("a test asks")


async def test_the_last_answer_holds_and_all_of_them_stay(stores: Repositories) -> None:
    person = new("usr")
    scope = Subject(person)
    assert not await stores.consents.allows(scope, person, Purpose.WHATSAPP)
    assert await stores.consents.allows(scope, person, Purpose.CARE), "what was asked for"
    for granted in (True, False, True, False):
        line = await stores.consents.record(scope, an_answer(person, granted=granted))
        assert await stores.consents.allows(ANYBODY, person, Purpose.WHATSAPP) is granted
        assert await stores.consents.last(scope, person, Purpose.WHATSAPP) == line
    found = await stores.database["consents"].find({"about": person}, sort=[("number", 1)]).to_list(None)
    assert [(one["number"], one["granted"]) for one in found] == [(1, True), (2, False), (3, True), (4, False)]


async def test_those_who_are_asked_for_at_the_same_time_keep_their_own_answers(stores: Repositories) -> None:
    people = [new("usr") for _ in range(12)]
    for number, person in enumerate(people):
        for granted in (number % 2 == 0, number % 3 == 0):
            await stores.consents.record(Subject(person), an_answer(person, granted=granted))
    asking = [stores.consents.allows(Subject(asker), person, Purpose.WHATSAPP) for asker in people for person in people]
    # In the eyes of somebody else, nobody has answered.
    wanted = [asker == person and number % 3 == 0 for asker in people for number, person in enumerate(people)]
    assert await asyncio.gather(*asking) == wanted


async def test_who_leaves_is_told_from_those_who_are_asked_for_at_the_same_time(stores: Repositories) -> None:
    people = [new("usr") for _ in range(12)]
    leaving, confirmed = people[::3], DeletionState.IDENTITY_CONFIRMED
    for person in leaving:
        asked = await stores.deletions.add(Subject(person), a_deletion(person))
        await stores.deletions.advance(Subject(person), asked.id, confirmed, DAY)
    states = await asyncio.gather(
        *(stores.deletions.standing(Subject(asker), person) for asker in people for person in people)
    )
    seen = [
        DeletionState.IDENTITY_CONFIRMED if asker == person in leaving else None
        for asker in people
        for person in people
    ]
    assert states == seen
    asking = (stores.consents.allows(Subject(person), person, Purpose.CARE) for person in people)
    assert await asyncio.gather(*asking) == [person not in leaving for person in people]


async def test_the_same_answer_again_is_the_same_line(stores: Repositories) -> None:
    person = new("usr")
    first = await stores.consents.record(Subject(person), an_answer(person))
    assert await stores.consents.record(Subject(person), an_answer(person)) == first
    hindi = await stores.consents.record(Subject(person), an_answer(person, language="hi"))
    assert hindi.number == 2


async def test_answers_at_the_same_moment_come_one_after_the_other(stores: Repositories) -> None:
    person = new("usr")
    said = [an_answer(person, granted=one % 2 == 0, notice_sha256=f"{one:064}") for one in range(8)]
    lines = await asyncio.gather(*(stores.consents.record(Subject(person), one) for one in said))
    assert sorted(line.number for line in lines) == list(range(1, 9))
    last = max(lines, key=lambda line: line.number)
    assert await stores.consents.allows(ANYBODY, person, Purpose.WHATSAPP) is last.granted


async def test_another_notice_asks_again(stores: Repositories) -> None:
    person = new("usr")
    for purpose in (Purpose.WHATSAPP, Purpose.CARE):
        await stores.consents.record(Subject(person), an_answer(person, purpose=purpose))
    later = MongoConsents(stores.database, lambda _: 2, stores.deletions.standing)
    assert not await later.allows(ANYBODY, person, Purpose.WHATSAPP)
    assert await later.allows(ANYBODY, person, Purpose.CARE)


async def test_a_clinic_can_neither_ask_nor_answer(stores: Repositories) -> None:
    person = new("usr")
    for asking in (
        stores.consents.allows(Tenant("ten_a"), person, Purpose.CARE),
        stores.consents.record(Tenant("ten_a"), an_answer(person)),
        stores.consents.record(Subject(new("usr")), an_answer(person)),
    ):
        with pytest.raises(VisitNowError) as refused:
            await asking
        assert refused.value.code is Code.NOT_FOUND


async def test_no_account_of_ours_rewrites_a_line(stores: Repositories, addresses: MongoAddresses) -> None:
    person = new("usr")
    line = await stores.consents.record(Subject(person), an_answer(person))
    for url in (addresses.url, addresses.audit_url):
        with MongoClient[Document](url) as client, pytest.raises(OperationFailure) as refused:
            client[addresses.database]["consents"].update_one({"_id": line.id}, {"$set": {"granted": False}})
        assert refused.value.code == 13, "unauthorized"
    assert await stores.consents.last(Subject(person), person, Purpose.WHATSAPP) == line
