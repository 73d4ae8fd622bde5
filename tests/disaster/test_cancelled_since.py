"""A visit that was cancelled after the backup does not stand again, and its time is free."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from cli.promises import promises_kept
from cli.reapplying import reapply
from models.data_classes import DataClass, RetentionClass
from models.deletions import LogEntry
from models.dependants import Dependant
from models.identity import System
from models.ids import random_id
from tests.booking.support import book, cancel, ok, somebody, temporal, workflow_status
from tests.clinics import offer
from tests.disaster.support import Place, Town, nobody
from tests.stack import Json, Stack, eventually

TESTS = System("a test looks")
DESK = offer("steady", "desk")


async def _restored(stack: Stack, town: Town) -> tuple[Place, Json]:
    """A visit that is paid at the desk and was cancelled since: no money tells of it."""
    async with stack.client(somebody()) as who:
        visit = (await book(stack, who, DESK))["id"]
        appointment = stack.db["appointments"].find_one({"_id": visit})
        claims = list(stack.db["slots"].find({"_id": visit}))
        ok(await cancel(who, visit))
    client = await temporal(stack)
    await eventually(
        lambda: workflow_status(client, visit), lambda status: status is not None and status.name != "RUNNING"
    )
    assert appointment is not None
    assert len(claims) == 1
    place = town.place()
    place.owner[place.data]["appointments"].insert_one(appointment)
    place.owner[place.data]["slots"].insert_many(claims)
    return place, appointment


def _state(place: Place) -> tuple[str, int]:
    [found] = place.all("appointments")
    return str(found["state"]), len(place.all("slots"))


async def test_what_its_workflow_says_is_so(shared_stack: Stack, town: Town) -> None:
    place, appointment = await _restored(shared_stack, town)
    assert _state(place) == ("confirmed", 1)
    namespace = shared_stack.settings.temporal_namespace
    settings = place.settings.model_copy(update={"temporal_namespace": namespace})
    kept = await promises_kept(settings)
    assert kept.cancelled == (appointment["_id"],)
    assert not any(one.startswith(f"appointment {appointment['_id']}") for one in kept.for_a_person)
    assert _state(place) == ("cancelled", 0)
    assert (await promises_kept(settings)).cancelled == ()


@pytest.mark.parametrize("decided", [True, False])
async def test_whoever_was_erased_has_no_visit(
    shared_stack: Stack,
    town: Town,
    decided: bool,  # noqa: FBT001  a parameter's value
) -> None:
    """Until erasing is decided the deletion goes on by itself, and gives money back where it is owed."""
    place, appointment = await _restored(shared_stack, town)
    now = datetime.now(UTC)
    times = dict.fromkeys(("requested_at", "confirmed_at", "restricted_at", "at"), now)
    erased = {RetentionClass.NONE: now} if decided else {}
    who = {"deletion_id": random_id("del"), "subject_id": appointment["subject_id"]}
    entry = LogEntry.model_validate({**who, **times, "erased": erased})
    again = await reapply(place.settings, [entry])
    assert again.cancelled == ((appointment["_id"],) if decided else ())
    assert _state(place) == (("cancelled", 0) if decided else ("confirmed", 1))
    assert (await reapply(place.settings, [entry])).cancelled == ()


async def test_of_a_forgotten_child_only_its_own_visits_go(shared_stack: Stack, town: Town) -> None:
    place, appointment = await _restored(shared_stack, town)
    place.owner[place.data]["appointments"].update_one({}, {"$set": {"dependant_id": "dep_1"}})
    now = datetime.now(UTC)
    times = dict.fromkeys(("requested_at", "confirmed_at", "restricted_at", "at"), now)
    said = {"subject_id": appointment["subject_id"], **times, "erased": {RetentionClass.NONE: now}}
    for child, cancelled in (("dep_2", ()), ("dep_1", (appointment["_id"],))):
        entry = LogEntry.model_validate({**said, "deletion_id": random_id("del"), "dependant_id": child})
        assert (await reapply(place.settings, [entry])).cancelled == cancelled


async def test_a_forgotten_child_s_visit_that_says_only_a_name_goes_too(shared_stack: Stack, town: Town) -> None:
    place, appointment = await _restored(shared_stack, town)
    account, now = str(appointment["subject_id"]), datetime.now(UTC)
    born = {"date_of_birth": date(2021, 2, 3), "relation": "son"}
    stores = Repositories.connect(mongo_addresses(place.settings), on_time_changed=nobody)
    try:
        for child, name in (("dep_1", "Kavi Zqkavi"), ("dep_2", "Mani Zqmani")):
            await stores.dependants.put(
                TESTS, Dependant.model_validate({"id": child, "subject_id": account, "name": name, **born})
            )
        words: Json = {"patient": {"name": "kavi  zqkavi", "date_of_birth": "2021-02-03", "relation": "son"}}
        sealed = await stores.vault.seal(account, DataClass.CLINICAL, words)
    finally:
        await stores.close()
    said = {"sealed.clinical": sealed, "dependant_id": None}
    place.owner[place.data]["appointments"].update_one({}, {"$set": said})
    times = dict.fromkeys(("requested_at", "confirmed_at", "restricted_at", "at"), now)
    who = {"subject_id": account, **times, "erased": {RetentionClass.NONE: now}}
    for child, cancelled in (("dep_2", ()), ("dep_1", (appointment["_id"],))):
        entry = LogEntry.model_validate({**who, "deletion_id": random_id("del"), "dependant_id": child})
        assert (await reapply(place.settings, [entry])).cancelled == cancelled
