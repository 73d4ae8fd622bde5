"""What lies about in the stores is found, and what nobody needs goes, with the keys of those who never came."""

from __future__ import annotations

from datetime import timedelta

from pymongo import MongoClient

from adapters.mongo.client import Document
from adapters.mongo.encryption import ERASED
from adapters.mongo.onboarding import UNPROVED_LIFETIME
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.credentials import OTP_KEPT
from models.data_classes import DataClass
from models.identity import PLATFORM, Invitation, Role, Subject, System
from models.messaging import Message, MessageState, Template, Word
from models.publishing import LeaveState
from models.reviews import Opinion
from models.rights import RightsOutcome
from models.upkeep import DRAFTS_KEPT, INVITES_KEPT, UnheardRequest, UnheardReview
from tests.adapters.mongo.builders import a_command, a_message, new
from tests.adapters.mongo.onboarding_calls import an_application
from tests.adapters.mongo.people import a_challenge, an_account, now
from tests.adapters.mongo.review_calls import a_review
from tests.adapters.mongo.review_calls import unheard as unheard_review
from tests.adapters.mongo.rights_calls import a_request
from tests.adapters.mongo.rights_calls import unheard as unheard_request
from tests.adapters.mongo.test_leaves import a_doctor, a_leave
from tests.onboarding.support import details

TEST = System("tests")
MANY = 10_000
SOON = timedelta(seconds=1)
LATE = now() + timedelta(days=36_500)


async def _kept(stores: Repositories, **changes: object) -> Message:
    message = a_message(**changes)
    await stores.notifications.keep(TEST, message, now())
    return message


async def _unsent(stores: Repositories) -> set[str]:
    return {one.message_id for one in await stores.upkeep.unsent(TEST, now() + SOON, MANY)}


def _keys(addresses: MongoAddresses, subject_id: str) -> int:
    with MongoClient[Document](addresses.vault_url) as client:
        vault = client[addresses.vault_database]["__keyVault"]
        return vault.count_documents({"keyAltNames": f"{subject_id}:{DataClass.IDENTITY}"})


async def test_a_message_is_unsent_until_somebody_tries(stores: Repositories) -> None:
    message = await _kept(stores, expires_at=now() + timedelta(hours=1))
    assert message.id in await _unsent(stores)
    assert message.id not in {one.message_id for one in await stores.upkeep.unsent(TEST, now() - SOON, MANY)}
    await stores.notifications.begin(TEST, message.id, now())
    assert message.id not in await _unsent(stores)
    expired = await _kept(stores)
    await stores.notifications.settle(TEST, expired.id, Word(state=MessageState.EXPIRED), now())
    assert expired.id not in await _unsent(stores)


async def test_a_leave_is_unfinished_until_it_is_taken_and_again_until_it_is_over(stores: Repositories) -> None:
    leave = await a_leave(stores, await a_doctor(stores))

    async def found() -> bool:
        return leave.id in {one.leave_id for one in await stores.upkeep.unfinished_leaves(TEST, LATE, MANY)}

    seen = [await found()]
    for state in (LeaveState.TAKEN, LeaveState.ENDING, LeaveState.ENDED):
        assert await stores.leaves.advance(TEST, leave, state) is state
        seen.append(await found())
    assert seen == [True, False, True, False]


async def test_a_low_review_is_unheard_until_its_follow_up_knows_and_when_it_changes(stores: Repositories) -> None:
    low = a_review(a_command(), opinion=Opinion(rating=2), updated_at=now())
    high = a_review(a_command(), updated_at=now())
    for review in (low, high):
        await stores.reviews.put(TEST, review)

    async def found() -> list[UnheardReview]:
        listed = await stores.upkeep.unheard_reviews(TEST, now() + SOON, MANY)
        return [one for one in listed if one.review_id in {low.id, high.id}]

    assert await found() == [unheard_review(low)]
    assert low.id not in {one.review_id for one in await stores.upkeep.unheard_reviews(TEST, now() - SOON, MANY)}
    changed = await stores.reviews.put(TEST, low.model_copy(update={"opinion": Opinion(rating=1), "updated_at": now()}))
    await stores.upkeep.heard(TEST, unheard_review(low))
    assert await found() == [unheard_review(changed)], "what was said since is still to be told"
    await stores.upkeep.heard(TEST, unheard_review(changed))
    assert await found() == []
    assert await stores.reviews.find(TEST, low.id) == changed, "the mark is no part of what was said"
    await stores.reviews.put(TEST, high.model_copy(update={"opinion": Opinion(rating=1), "updated_at": now()}))
    assert [one.review_id for one in await found()] == [high.id]
    await stores.reviews.put(TEST, high.model_copy(update={"updated_at": now()}))
    assert await found() == [], "a better opinion is no reason any more"


async def test_a_request_by_right_is_unheard_when_it_comes_and_when_it_is_answered(stores: Repositories) -> None:
    request = await stores.rights.keep(TEST, a_request(a_command()))

    async def found() -> list[UnheardRequest]:
        listed = await stores.upkeep.unheard_requests(TEST, LATE, MANY)
        return [one for one in listed if one.about.request_id == request.id]

    assert await found() == [unheard_request(request)]
    await stores.upkeep.heard(TEST, unheard_request(request))
    assert await found() == []
    answered = await stores.rights.answer(TEST, request.id, RightsOutcome.GRANTED, "Done", now())
    assert await found() == [unheard_request(answered)]
    await stores.upkeep.heard(TEST, unheard_request(request))
    assert await found() == [unheard_request(answered)]
    await stores.upkeep.heard(TEST, unheard_request(answered))
    assert await found() == []


async def test_the_words_of_what_opens_something_go_and_what_became_of_it_stays(stores: Repositories) -> None:
    expired = now() - timedelta(hours=1)
    code = await _kept(stores, template=Template.OTP, expires_at=expired)
    other = await _kept(stores, template=Template.PRACTICE_LIVE, expires_at=expired)
    later = await _kept(stores, template=Template.INVITE, expires_at=now() + timedelta(hours=1))
    await stores.notifications.settle(TEST, code.id, Word(state=MessageState.SENT, provider_id="SM1"), now())
    assert await stores.upkeep.forget_words(TEST, now()) >= 1
    assert await stores.upkeep.forget_words(TEST, now()) == 0
    ids = {"_id": {"$in": [code.id, other.id, later.id]}}
    documents = {one["_id"]: one for one in await stores.database["notifications"].find(ids).to_list(None)}
    assert documents[code.id]["sealed"] is None
    facts = {name: documents[code.id][name] for name in ("state", "provider_id", "template", "subject_id")}
    assert facts == {"state": "sent", "provider_id": "SM1", "template": "otp", "subject_id": code.subject_id}
    assert all(documents[one.id]["sealed"] for one in (other, later))
    await stores.notifications.settle(TEST, code.id, Word(state=MessageState.DELIVERED), now())
    assert await stores.notifications.state(TEST, code.id) is MessageState.DELIVERED


async def test_whoever_never_came_leaves_no_key(stores: Repositories, addresses: MongoAddresses) -> None:
    account = an_account(new("ten"))
    assert await stores.users.add(TEST, account)
    stranger, guest = a_challenge(account, subject_id=new("usr")), a_challenge(account)
    for challenge in (stranger, guest):
        await stores.challenges.add(TEST, challenge)
        await stores.challenges.address(TEST, challenge.id, challenge.subject_id, "+919812345678")
    assert [_keys(addresses, one.subject_id) for one in (stranger, guest)] == [1, 1]

    await stores.upkeep.forget_strangers(TEST, stranger.expires_at, MANY)
    assert _keys(addresses, stranger.subject_id) == 1, "a late code is still told apart from a made-up one"
    await stores.upkeep.forget_strangers(TEST, stranger.expires_at + OTP_KEPT + SOON, MANY)
    assert [_keys(addresses, one.subject_id) for one in (stranger, guest)] == [0, 1]
    assert [await stores.challenges.find(TEST, one.id) for one in (stranger, guest)] == [None, None]
    assert (await stores.users.find(TEST, account.id)) == account


async def test_who_signs_up_with_a_freed_number_keeps_their_key(
    stores: Repositories, addresses: MongoAddresses
) -> None:
    """Between the look for an account and the end of a key, a code that is good may become an account."""
    account = an_account(PLATFORM, phone="+919845012345", roles={Role.PATIENT}, clinic_ids=set(), email=None)
    assert await stores.users.add(TEST, account)
    index = await stores.database["users"].find_one({"_id": account.id}, {"phone_index": 1})
    assert index is not None
    known = {"phone_index": str(index["phone_index"])}
    a_minute_ago = {"expires_at": now() - timedelta(seconds=61)}
    new_one, never_came = [a_challenge(account, subject_id=new("usr"), **known, **more) for more in ({}, a_minute_ago)]
    own = a_challenge(account, **known)
    for challenge in (new_one, never_came, own):
        await stores.challenges.add(TEST, challenge)
        await stores.challenges.address(TEST, challenge.id, challenge.subject_id, "+919812345678")
    assert await stores.remains.count_tries(Subject(account.id), account.id) == 2
    assert await stores.remains.forget_tries(Subject(account.id), account.id) == 2
    left = [await stores.challenges.find(TEST, one.id) is not None for one in (new_one, never_came, own)]
    assert left == [True, False, False]
    assert await stores.challenges.count_try(TEST, new_one.id, now()) is not None
    assert [_keys(addresses, one.subject_id) for one in (new_one, never_came)] == [1, 0]


async def test_drafts_and_invitations_go_with_their_keys(stores: Repositories, addresses: MongoAddresses) -> None:
    proved, lapsed = await an_application(stores), new("app")
    assert await stores.applications.insert(TEST, lapsed, details(new("l").replace("_", "-")), "hash", now())
    invitation = Invitation(
        id=new("inv"), tenant_id=new("ten"), email="a@b.example", role=Role.ADMIN, expires_at=now() + SOON
    )
    await stores.invites.add(TEST, invitation)
    over = max(now() + UNPROVED_LIFETIME + DRAFTS_KEPT, invitation.expires_at + INVITES_KEPT) + SOON
    assert await stores.upkeep.forget_strangers(TEST, over, MANY) >= 2
    assert [_keys(addresses, one) for one in (proved, lapsed, invitation.id)] == [1, 0, 0]
    assert await stores.applications.find(TEST, lapsed) is None
    assert await stores.invites.find(TEST, invitation.id) is None
    kept = await stores.applications.find(TEST, proved)
    assert kept is not None
    assert kept.details is not None


async def test_a_destroyed_key_is_noticed_at_once(stores: Repositories) -> None:
    subject = new("usr")
    sealed = await stores.vault.seal(subject, DataClass.IDENTITY, {"name": "Asha"})
    await stores.vault.destroy([subject], DataClass.IDENTITY)
    await stores.vault.destroy([subject], DataClass.IDENTITY)
    assert await stores.vault.open([sealed]) == [ERASED]
    again = await stores.vault.seal(subject, DataClass.IDENTITY, {"name": "Asha"})
    assert await stores.vault.open([sealed, again]) == [ERASED, {"name": "Asha"}]
