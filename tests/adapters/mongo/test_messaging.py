"""Messages in the database: kept once, tried while they are worth it, moved forward only, sealed."""

from __future__ import annotations

import pytest
from bson import json_util

from adapters.mongo.repositories import Repositories
from models.data_classes import DataClass
from models.errors import VisitNowError
from models.identity import Subject, Tenant
from models.messaging import MESSAGE_TRANSITIONS, Message, MessageState, Word
from tests.adapters.mongo.builders import DAY, a_message, minutes, new


async def kept(stores: Repositories) -> tuple[Message, Tenant]:
    message = a_message()
    scope = Tenant(message.tenant_id)
    await stores.notifications.keep(scope, message, DAY)
    return message, scope


async def test_the_first_message_of_an_id_is_the_one(stores: Repositories) -> None:
    message, scope = await kept(stores)
    await stores.notifications.keep(scope, message.model_copy(update={"params": {"code": "000000"}}), DAY)
    begun = await stores.notifications.begin(scope, message.id, DAY)
    assert begun is not None
    assert begun.message == message
    with pytest.raises(VisitNowError):
        await stores.notifications.keep(Tenant("ten_other"), message.model_copy(update={"tenant_id": "ten_other"}), DAY)


async def test_a_try_knows_whether_the_one_before_it_was_settled(stores: Repositories) -> None:
    message, scope = await kept(stores)
    first = await stores.notifications.begin(scope, message.id, DAY)
    second = await stores.notifications.begin(scope, message.id, DAY + minutes(1))
    await stores.notifications.not_taken(scope, message.id, DAY + minutes(2))
    third = await stores.notifications.begin(scope, message.id, DAY + minutes(3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert [one.unsettled_since for one in (first, second, third)] == [None, DAY, None]
    found = await stores.database["notifications"].find_one({"_id": message.id})
    assert found is not None
    assert (found["attempts"], found["uncertain"]) == (3, 1)


async def test_what_is_unsettled_is_so_since_the_first_try_that_is(stores: Repositories) -> None:
    """A look for what the first one left must not begin with a later one, which may have found nobody to ask."""
    message, scope = await kept(stores)
    began = [await stores.notifications.begin(scope, message.id, DAY + minutes(number)) for number in range(4)]
    assert [one.unsettled_since for one in began if one is not None] == [None, DAY, DAY, DAY]
    standing = await stores.notifications.standing(scope, message.id)
    assert standing is not None
    assert standing.unsettled_since == DAY


async def test_nothing_is_tried_at_or_after_its_expiry_nor_once_it_has_ended(stores: Repositories) -> None:
    message, scope = await kept(stores)
    assert await stores.notifications.begin(scope, message.id, message.expires_at) is None
    assert await stores.notifications.begin(Subject(message.subject_id), message.id, DAY) is not None
    await stores.notifications.settle(scope, message.id, Word(state=MessageState.SENT, provider_id=new("SM")), DAY)
    assert await stores.notifications.begin(scope, message.id, DAY) is None


@pytest.mark.parametrize("before", MessageState)
@pytest.mark.parametrize("after", MessageState)
async def test_words_move_it_forward_only(stores: Repositories, before: MessageState, after: MessageState) -> None:
    message, scope = await kept(stores)
    if before is not MessageState.QUEUED:
        await stores.notifications.settle(scope, message.id, Word(state=before), DAY)
    expected = after if after in MESSAGE_TRANSITIONS[before] else before
    assert await stores.notifications.settle(scope, message.id, Word(state=after), DAY) is expected
    assert await stores.notifications.state(scope, message.id) is expected
    assert await stores.notifications.settle(scope, new("msg"), Word(state=after), DAY) is None


async def test_neither_address_nor_words_lie_open(stores: Repositories) -> None:
    message, _ = await kept(stores)
    document = await stores.database["notifications"].find_one({"_id": message.id})
    assert document is not None
    text = json_util.dumps(document)
    for secret in (message.to, message.to.removeprefix("+91"), message.params["code"]):
        assert secret not in text
    sealed = document["sealed"]
    assert isinstance(sealed, dict)
    assert list(sealed) == [DataClass.IDENTITY]
