"""The upkeep on the whole stack: what a dead process has left is done, once, however often one looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from temporalio.client import Client

from adapters.connections import connect_temporal, mongo_addresses
from adapters.files import ObjectFiles
from adapters.mongo.repositories import Repositories
from models.documents_ports import DamagedError
from models.identity import System
from models.ids import random_id
from models.publishing import Leave
from models.upkeep import PATIENCE
from tests.adapters.mongo.visit_calls import an_upload
from tests.booking.town import turn
from tests.clinics import offer
from tests.messaging.support import an_otp, ended
from tests.stack import Json, Stack, eventually

TEST = System("tests")
OFFER = offer("supple", "visit")
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

    interrupted = {"state": "ending", "updated_at": datetime.now(UTC) - LONG_AGO}
    shared_stack.db.leaves.update_one({"_id": leave.id}, {"$set": interrupted})
    assert (await turn(temporal)).leaves >= 1
    await _until_state(shared_stack, leave, "ended")
    assert shared_stack.db.slots.count_documents({"leave_id": leave.id}) == 0


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
