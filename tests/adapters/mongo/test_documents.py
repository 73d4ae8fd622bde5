"""Documents' records and uploads' states: nothing seen before it is stored, no file twice, no place filled twice."""

from __future__ import annotations

import asyncio

import pytest

from adapters.mongo.repositories import Repositories
from models.documents import MOST_PIECES
from models.errors import Code, VisitNowError
from models.identity import Subject, System, Tenant
from tests.adapters.mongo.builders import DAY, a_command, minutes, new
from tests.adapters.mongo.visit_calls import a_document, a_piece, an_upload

WORLD = System("a test of documents")


async def test_a_document_is_seen_once_it_is_stored(stores: Repositories) -> None:
    command = a_command(subject_id=new("usr"))
    scope, document, digest = Tenant(command.tenant_id), a_document(command), new("dig")
    await stores.documents.begin(scope, document)
    assert await stores.documents.find(scope, document.id) is None
    assert await stores.documents.of_appointment(scope, command.appointment_id) == []
    assert await stores.documents.by_digest(scope, command.appointment_id, digest) is None
    assert await stores.documents.keep(scope, document.id, digest)
    assert await stores.documents.find(scope, document.id) == document
    assert await stores.documents.of_appointment(scope, command.appointment_id) == [document]
    assert await stores.documents.by_digest(scope, command.appointment_id, digest) == document
    await stores.documents.remove(scope, document.id)
    assert await stores.documents.find(scope, document.id) == document, "what is stored stays"


async def test_of_many_that_store_the_same_file_at_once_one_does(stores: Repositories) -> None:
    command, digest = a_command(subject_id=new("usr")), new("dig")
    documents = [a_document(command) for _ in range(8)]
    for one in documents:
        await stores.documents.begin(WORLD, one)
    kept = await asyncio.gather(*(stores.documents.keep(WORLD, one.id, digest) for one in documents))
    assert kept.count(True) == 1
    [stored] = await stores.documents.of_appointment(WORLD, command.appointment_id)
    assert stored == documents[kept.index(True)]
    other = a_document(a_command(subject_id=new("usr")))
    await stores.documents.begin(WORLD, other)
    assert await stores.documents.keep(WORLD, other.id, digest), "another visit has documents of its own"


async def test_what_was_begun_and_never_ended_is_found_and_removed(stores: Repositories) -> None:
    command = a_command(subject_id=new("usr"))
    left, stored = a_document(command, at=DAY - minutes(9)), a_document(command, at=DAY - minutes(9))
    for one in (left, stored):
        await stores.documents.begin(WORLD, one)
    assert await stores.documents.keep(WORLD, stored.id, new("dig"))
    found = {one.id: one for one in await stores.documents.abandoned(WORLD, DAY - minutes(1), 500)}
    assert found[left.id].contents is None, "nobody needs to open it"
    assert found[left.id].size == left.size
    assert stored.id not in found
    await stores.documents.remove(WORLD, left.id)
    assert left.id not in {one.id for one in await stores.documents.abandoned(WORLD, DAY, 500)}


async def test_names_digests_and_keys_lie_sealed(stores: Repositories) -> None:
    command, upload = a_command(subject_id=new("usr")), an_upload()
    document = a_document(command)
    await stores.documents.begin(WORLD, document)
    await stores.uploads.open(WORLD, upload)
    raw = [
        await stores.database["documents"].find_one({"_id": document.id}),
        await stores.database["uploads"].find_one({"_id": upload.id}),
    ]
    for secret in ("Nirmala", "abab", "kkkk"):
        assert secret not in str(raw)


async def test_an_upload_grows_by_what_follows_and_by_nothing_else(stores: Repositories) -> None:
    upload = an_upload()
    scope, uploads = Subject(upload.subject_id), stores.uploads
    await uploads.open(scope, upload)
    assert await uploads.find(scope, upload.id) == upload
    first, second = a_piece(0, 60), a_piece(60, 40)
    assert await uploads.add(scope, upload.id, first)
    for wrong in (a_piece(0, 60), a_piece(59, 1), a_piece(61, 1), a_piece(60, 41)):
        assert not await uploads.add(scope, upload.id, wrong)
    assert not await uploads.add(Subject(new("usr")), upload.id, second)
    assert await uploads.add(scope, upload.id, second)
    found = await uploads.find(scope, upload.id)
    assert found is not None
    assert (found.offset, found.pieces, found.is_whole) == (100, (first, second), True)
    await uploads.finish(scope, upload.id, "doc_1")
    found = await uploads.find(scope, upload.id)
    assert found is not None
    assert (found.document_id, found.pieces) == ("doc_1", ())
    assert not await uploads.add(scope, upload.id, a_piece(100, 1))


async def test_of_two_that_fill_the_same_place_one_does(stores: Repositories) -> None:
    upload = an_upload()
    scope = Subject(upload.subject_id)
    await stores.uploads.open(scope, upload)
    done = await asyncio.gather(*(stores.uploads.add(scope, upload.id, a_piece(0, 10)) for _ in range(8)))
    assert done.count(True) == 1


async def test_an_upload_comes_in_no_more_pieces_than_it_may(stores: Repositories) -> None:
    upload = an_upload(length=MOST_PIECES + 1)
    await stores.uploads.open(WORLD, upload)
    for offset in range(MOST_PIECES):
        assert await stores.uploads.add(WORLD, upload.id, a_piece(offset, 1))
    assert not await stores.uploads.add(WORLD, upload.id, a_piece(MOST_PIECES, 1))


async def test_expired_uploads_are_found_and_removed(stores: Repositories) -> None:
    over, running = an_upload(expires_at=DAY - minutes(5)), an_upload(expires_at=DAY + minutes(5))
    for one in (over, running):
        await stores.uploads.open(WORLD, one)
    found = {one.id for one in await stores.uploads.expired(WORLD, DAY, 500)}
    assert over.id in found
    assert running.id not in found
    await stores.uploads.remove(WORLD, over.id)
    assert over.id not in {one.id for one in await stores.uploads.expired(WORLD, DAY, 500)}


async def test_nothing_is_written_for_somebody_else(stores: Repositories) -> None:
    stranger = Subject(new("usr"))
    for writing in (
        stores.documents.begin(stranger, a_document(a_command())),
        stores.uploads.open(stranger, an_upload()),
    ):
        with pytest.raises(VisitNowError) as refusal:
            await writing
        assert refusal.value.code is Code.NOT_FOUND
