"""The upkeep on the whole stack: what a dead process has left is done, once, however often one looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle

from adapters.connections import connect_temporal, mongo_addresses
from adapters.files import ObjectFiles
from adapters.mongo.repositories import Repositories
from models.booking import Appointment
from models.documents_ports import DamagedError
from models.identity import PLATFORM, Role, System
from models.ids import follow_up_workflow_id, random_id, rights_workflow_id
from models.publishing import Leave
from models.reviews import Opinion, review_of
from models.rights import RightsKind, RightsOutcome, RightsRequest, RightsState
from models.upkeep import PATIENCE
from tests.adapters.mongo.visit_calls import an_upload
from tests.booking.support import book, ok, say, somebody
from tests.booking.town import turn
from tests.clinics import employee, offer
from tests.messaging.readers import a_reader
from tests.messaging.support import an_otp, ended
from tests.stack import Json, Stack, eventually
from workflows.follow_up import FollowUpWorkflow
from workflows.rights import RightsWorkflow

TEST = System("tests")
OFFER = offer("supple", "visit")
FREE = offer("supple", "free")
LONG_AGO = PATIENCE + timedelta(seconds=5)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def temporal(shared_stack: Stack) -> Client:
    return await connect_temporal(shared_stack.settings)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stores(shared_stack: Stack) -> AsyncIterator[Repositories]:
    found = Repositories.connect(mongo_addresses(shared_stack.settings), on_time_changed=_nobody)
    yield found
    await found.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


async def test_a_message_that_was_kept_and_never_begun_is_sent_once(
    shared_stack: Stack, temporal: Client, stores: Repositories
) -> None:
    kept, fresh = an_otp(), an_otp()
    await stores.notifications.keep(TEST, kept, datetime.now(UTC) - LONG_AGO)
    await stores.notifications.keep(TEST, fresh, datetime.now(UTC))
    assert (await turn(temporal)).messages >= 1
    assert await ended(temporal, kept) in {"sent", "delivered"}
    await turn(temporal)
    assert len(await shared_stack.messages(kept.to)) == 1
    assert await shared_stack.messages(fresh.to) == [], "whoever has just kept it is about to begin it"


def _leave(stack: Stack, **changes: object) -> Leave:
    """A leave of two days that was asked for a while ago, by a process that died then."""
    profile = stack.db.providers.find_one({"_id": OFFER.provider_id})
    assert profile is not None
    owner = {name: profile[name] for name in ("tenant_id", "clinic_id", "practitioner_id")}
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=200)
    fields: dict[str, object] = {
        **owner,
        "id": random_id("lve"),
        "provider_id": OFFER.provider_id,
        "start": start,
        "end": start + timedelta(days=2),
        "body_hash": "0" * 64,
        "created_at": datetime.now(UTC) - LONG_AGO,
        **changes,
    }
    return Leave.model_validate(fields)


async def _until_state(stack: Stack, leave: Leave, state: str) -> None:
    async def look() -> Json:
        found = stack.db.leaves.find_one({"_id": leave.id})
        assert found is not None
        return found

    await eventually(look, lambda found: found["state"] == state)


async def test_a_leave_that_was_never_begun_is_taken_and_one_whose_end_was_interrupted_is_given_back(
    shared_stack: Stack, temporal: Client, stores: Repositories
) -> None:
    leave = _leave(shared_stack)
    await stores.leaves.insert(TEST, leave, None)
    assert (await turn(temporal)).leaves >= 1
    await _until_state(shared_stack, leave, "taken")
    blocks = list(shared_stack.db.slots.find({"leave_id": leave.id}))
    assert blocks
    assert all(leave.start <= one["start"] < one["end"] <= leave.end for one in blocks)
    await turn(temporal)
    assert list(shared_stack.db.slots.find({"leave_id": leave.id})) == blocks

    async def found() -> int:
        # Those who look after its patients may touch the leave once more.
        interrupted = {"state": "ending", "updated_at": datetime.now(UTC) - LONG_AGO}
        shared_stack.db.leaves.update_one({"_id": leave.id}, {"$set": interrupted})
        return (await turn(temporal)).leaves

    await eventually(found, lambda count: count >= 1)
    await _until_state(shared_stack, leave, "ended")
    assert shared_stack.db.slots.count_documents({"leave_id": leave.id}) == 0


async def test_a_low_review_whose_api_died_is_one_task(
    shared_stack: Stack, temporal: Client, stores: Repositories
) -> None:
    """The API has kept it and died before it could say so; another one said it a moment ago."""
    kept, fresh = [await _visited(shared_stack, temporal, stores) for _ in range(2)]
    for visit, at in ((kept, datetime.now(UTC) - LONG_AGO), (fresh, datetime.now(UTC) + LONG_AGO)):
        await stores.reviews.put(TEST, review_of(visit, Opinion(rating=1), at))
    assert (await turn(temporal)).reviews >= 1

    async def tasks(visit: Appointment) -> list[Json]:
        return list(shared_stack.db.staff_tasks.find({"appointment_id": visit.id}))

    [task] = await eventually(partial(tasks, kept), bool, 30)
    assert (task["kind"], task["state"]) == ("low_rating", "open")
    await turn(temporal)
    assert await tasks(kept) == [task]
    assert await tasks(fresh) == [], "whoever has just kept it is about to tell"


async def _visited(stack: Stack, temporal: Client, stores: Repositories) -> Appointment:
    """A visit that is over, its follow-up waiting for somebody to say something."""
    async with stack.client(somebody()) as who, stack.client(employee("supple", Role.STAFF)) as desk:
        visit = str((await book(stack, who, FREE))["id"])
        for step in ("check-in", "start", "complete"):
            ok(await say(desk, visit, step))

    async def is_followed() -> bool:
        follow_ups = [one async for one in temporal.list_workflows(f'WorkflowId = "{follow_up_workflow_id(visit)}"')]
        if not follow_ups:
            return False
        status = await temporal.get_workflow_handle(follow_ups[0].id).query(FollowUpWorkflow.status)
        return status.waiting_for is not None

    await eventually(is_followed, bool, 30)
    found = await stores.appointments.find(TEST, visit, open_sealed=False)
    assert found is not None
    return found


async def test_a_request_by_right_whose_api_died_is_begun_and_its_answer_passed_on(
    shared_stack: Stack, temporal: Client, stores: Repositories
) -> None:
    reader = await a_reader(stores)
    long_ago = datetime.now(UTC).replace(microsecond=0) - LONG_AGO
    request = RightsRequest(
        id=random_id("rrq"),
        kind=RightsKind.GRIEVANCE,
        tenant_id=PLATFORM,
        subject_id=reader.id,
        text="Nobody answers me",
        received_at=long_ago,
        due_at=long_ago + timedelta(days=30),
    )
    await stores.rights.keep(TEST, request)
    assert (await turn(temporal)).requests >= 1
    clock: WorkflowHandle[RightsWorkflow, RightsState] = temporal.get_workflow_handle_for(
        RightsWorkflow.run, rights_workflow_id(request.id)
    )
    waiting = (await clock.query(RightsWorkflow.status)).waiting_for
    assert waiting is not None
    assert waiting.until == request.received_at + timedelta(days=15)

    await stores.rights.answer(TEST, request.id, RightsOutcome.GRANTED, "We have called you", long_ago)
    assert (await turn(temporal)).requests >= 1
    assert await clock.result() is RightsState.ANSWERED
    await eventually(lambda: shared_stack.messages(reader.phone or "-"), lambda seen: len(seen) == 1, 30)
    await turn(temporal)
    assert len(await shared_stack.messages(reader.phone or "-")) == 1


async def test_an_upload_that_was_given_up_is_removed_with_its_bytes(
    shared_stack: Stack, temporal: Client, stores: Repositories
) -> None:
    files = ObjectFiles(shared_stack.settings.storage_url)
    over = an_upload(expires_at=datetime.now(UTC) - timedelta(minutes=1))
    running = an_upload(expires_at=datetime.now(UTC) + timedelta(hours=1))
    pieces = {}
    for upload in (over, running):
        await stores.uploads.open(TEST, upload)
        pieces[upload.id] = await files.put_piece(upload, 0, b"some bytes")
        assert await stores.uploads.add(TEST, upload.id, pieces[upload.id])
    assert (await turn(temporal)).files >= 1
    assert await stores.uploads.find(TEST, over.id) is None
    left = await stores.uploads.find(TEST, running.id)
    assert left is not None
    assert [one async for one in files.read_pieces(left)] == [b"some bytes"]
    gone = over.model_copy(update={"pieces": (pieces[over.id],)})
    with pytest.raises(DamagedError):
        await anext(files.read_pieces(gone))
