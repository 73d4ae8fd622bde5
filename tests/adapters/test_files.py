"""The bytes of documents and uploads in object storage, the same in a folder and in S3."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import obstore
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.documents import AbandonedFiles
from adapters.files import ObjectFiles
from adapters.sealing import ChunkCipher
from adapters.storage import open_store
from models.chunks import CHUNK, SEALED_CHUNK, SEGMENT_CHUNKS, chunk_count
from models.documents import Contents, Document, Upload, UploadSecrets
from models.documents_ports import DamagedError
from models.errors import UnavailableError
from models.identity import Scope
from tests.adapters.mongo.builders import a_command, new
from tests.adapters.mongo.visit_calls import a_document

SEGMENT: Final = SEGMENT_CHUNKS * CHUNK
SIZES: Final = [1, CHUNK - 1, CHUNK, CHUNK + 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT + CHUNK + 5]


@pytest.fixture
def files(storage_url: str) -> ObjectFiles:
    return ObjectFiles(storage_url)


def contents_of(content: bytes) -> Contents:
    return Contents(name="a.pdf", sha256="0" * 64, size=len(content), key=secrets.token_bytes(32))


async def in_pieces(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def whole(found: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in found])


async def stored(files: ObjectFiles, size: int) -> tuple[str, Contents, bytes]:
    """A document of that size."""
    document_id, content = new("doc"), secrets.token_bytes(size)
    contents = contents_of(content)
    await files.write(document_id, contents, in_pieces(content))
    return document_id, contents, content


@pytest.mark.parametrize("size", SIZES)
async def test_what_went_in_comes_out_in_every_range(files: ObjectFiles, size: int) -> None:
    document_id, contents, content = await stored(files, size)
    assert await whole(files.read(document_id, contents, 0, size)) == content
    edges = sorted({0, 1, CHUNK - 1, CHUNK, CHUNK + 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, size - 1, size})
    for begin in edges:
        for end in edges:
            if 0 <= begin < end <= size:
                assert await whole(files.read(document_id, contents, begin, end)) == content[begin:end]


async def test_it_lies_sealed_and_goes_away(files: ObjectFiles, storage_url: str) -> None:
    document_id, contents, content = await stored(files, 2 * SEGMENT + 1)
    store = open_store(storage_url)
    listed = await obstore.list(store, prefix=f"documents/{document_id}/").collect_async()
    assert sorted(one["path"].rpartition("/")[2] for one in listed) == ["0", "1", "2"]
    for one in listed:
        raw = bytes(await (await obstore.get_async(store, one["path"])).bytes_async())
        assert content[:50] not in raw
        assert content[SEGMENT : SEGMENT + 50] not in raw
    for _ in range(2):
        await files.erase(document_id, contents.size)
    assert await obstore.list(store, prefix=f"documents/{document_id}/").collect_async() == []
    with pytest.raises(DamagedError):
        await whole(files.read(document_id, contents, 0, 1))


Damage = Callable[[bytes], bytes]
DAMAGES: Final[dict[str, Damage]] = {
    "a bit flipped": lambda raw: raw[:99] + bytes([raw[99] ^ 1]) + raw[100:],
    "cut off at a chunk": lambda raw: raw[:SEALED_CHUNK],
    "cut off within a chunk": lambda raw: raw[: SEALED_CHUNK + 100],
    "emptied": lambda _: b"",
    "chunks swapped": lambda raw: raw[SEALED_CHUNK : 2 * SEALED_CHUNK] + raw[:SEALED_CHUNK] + raw[2 * SEALED_CHUNK :],
    "a chunk twice": lambda raw: raw[:SEALED_CHUNK] + raw[:SEALED_CHUNK] + raw[2 * SEALED_CHUNK :],
    "a chunk left out": lambda raw: raw[SEALED_CHUNK:],
}


@pytest.mark.parametrize("how", DAMAGES)
async def test_whatever_was_done_to_an_object_is_seen(files: ObjectFiles, storage_url: str, how: str) -> None:
    document_id, contents, _ = await stored(files, 2 * CHUNK + 500)
    store, name = open_store(storage_url), f"documents/{document_id}/0"
    raw = bytes(await (await obstore.get_async(store, name)).bytes_async())
    await obstore.put_async(store, name, DAMAGES[how](raw))
    with pytest.raises(DamagedError):
        await whole(files.read(document_id, contents, 0, contents.size))


async def test_no_object_stands_for_another(files: ObjectFiles, storage_url: str) -> None:
    document_id, contents, _ = await stored(files, 2 * SEGMENT)
    other_id, _, _ = await stored(files, 2 * SEGMENT)
    store = open_store(storage_url)

    async def copy(source: str, to: str) -> None:
        await obstore.put_async(store, to, bytes(await (await obstore.get_async(store, source)).bytes_async()))

    for source in (f"documents/{document_id}/1", f"documents/{other_id}/0"):
        await copy(source, f"documents/{document_id}/0")
        with pytest.raises(DamagedError):
            await whole(files.read(document_id, contents, 0, 1))


async def test_a_source_of_another_length_is_no_document(files: ObjectFiles) -> None:
    for given_bytes in (b"x" * 9, b"x" * 11):
        with pytest.raises(ValueError, match="not as many"):
            await files.write(new("doc"), contents_of(b"x" * 10), in_pieces(given_bytes))


def an_upload(length: int) -> Upload:
    return Upload(
        id=new("upl"),
        tenant_id="platform",
        subject_id="usr_1",
        length=length,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        secrets=UploadSecrets(name="a.pdf", key=secrets.token_bytes(32)),
    )


async def test_pieces_come_out_in_their_order_and_nothing_stands_for_them(files: ObjectFiles, storage_url: str) -> None:
    upload = an_upload(9)
    first, second = await files.put_piece(upload, 0, b"1234"), await files.put_piece(upload, 4, b"56789")
    loser = await files.put_piece(upload, 0, b"abcd")
    assert loser.name != first.name
    await files.drop_piece(loser)
    await files.drop_piece(loser)
    both = upload.model_copy(update={"pieces": (first, second)})
    assert await whole(files.read_pieces(both)) == b"123456789"
    swapped = second.model_copy(update={"name": first.name}), first.model_copy(update={"name": second.name})
    with pytest.raises(DamagedError):
        await whole(files.read_pieces(upload.model_copy(update={"pieces": swapped})))
    store = open_store(storage_url)
    await obstore.put_async(store, first.name, b"short")
    with pytest.raises(DamagedError):
        await whole(files.read_pieces(both))
    for _ in range(2):
        await files.erase_pieces(upload.id)
    assert await obstore.list(store, prefix=f"uploads/{upload.id}/").collect_async() == []


async def test_many_write_and_read_at_once(files: ObjectFiles) -> None:
    async def one(size: int) -> bool:
        document_id, contents, content = await stored(files, size)
        return await whole(files.read(document_id, contents, 0, size)) == content

    assert all(await asyncio.gather(*(one(SEGMENT + number) for number in range(6))))


async def test_without_a_store_it_says_so() -> None:
    with pytest.raises(UnavailableError):
        await ObjectFiles(None).write("doc_1", contents_of(b"x"), in_pieces(b"x"))


# What the upkeep takes away


class _Left:
    """The records of what was left lying, as the repositories would give them."""

    def __init__(self, documents: list[Document], uploads: list[Upload]) -> None:
        self.documents, self.uploads = documents, uploads

    async def abandoned(self, scope: Scope, before: datetime, limit: int) -> list[Document]:
        del scope, before
        return self.documents[:limit]

    async def expired(self, scope: Scope, before: datetime, limit: int) -> list[Upload]:
        del scope, before
        return self.uploads[:limit]

    async def remove(self, scope: Scope, one_id: str) -> None:
        del scope
        self.documents = [one for one in self.documents if one.id != one_id]
        self.uploads = [one for one in self.uploads if one.id != one_id]


async def test_what_was_given_up_is_removed_bytes_first(files: ObjectFiles, storage_url: str) -> None:
    upload = an_upload(4)
    await files.put_piece(upload, 0, b"1234")
    document_id, contents, _ = await stored(files, SEGMENT + 1)
    document = a_document(a_command(), id=document_id, size=contents.size)
    left = _Left([document], [upload])
    abandoned = AbandonedFiles(left, left, files)  # type: ignore[arg-type] # of each port only what a sweep asks for
    assert await abandoned.forget(datetime.now(UTC), 5) == 2
    assert (left.documents, left.uploads) == ([], [])
    store = open_store(storage_url)
    for prefix in (f"uploads/{upload.id}/", f"documents/{document_id}/"):
        assert await obstore.list(store, prefix=prefix).collect_async() == []
    assert await abandoned.forget(datetime.now(UTC), 5) == 0


# The framing by itself


@given(st.integers(1, 5), st.data())
@settings(suppress_health_check=list(HealthCheck))
def test_a_chunk_opens_in_its_own_place_and_nowhere_else(count: int, data: st.DataObject) -> None:
    key, number = secrets.token_bytes(32), data.draw(st.integers(0, count - 1))
    sealed = ChunkCipher(key, "doc_1", count).seal(number, b"content")
    place = data.draw(st.tuples(st.sampled_from(["doc_1", "doc_2"]), st.integers(1, 6), st.integers(0, 5)))
    name, other_count, other_number = place
    same = name == "doc_1" and other_number == number and (number == count - 1) == (other_number == other_count - 1)
    cipher = ChunkCipher(key, name, other_count)
    if same and other_number < other_count:
        assert cipher.open(other_number, sealed) == b"content"
    else:
        with pytest.raises(InvalidTag):
            cipher.open(other_number, sealed)


@given(st.binary(min_size=1, max_size=64), st.data())
def test_a_sealed_chunk_with_any_bit_changed_does_not_open(content: bytes, data: st.DataObject) -> None:
    cipher = ChunkCipher(b"k" * 32, "doc_1", chunk_count(len(content)))
    sealed = bytearray(cipher.seal(0, content))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(InvalidTag):
        cipher.open(0, bytes(sealed))


def test_a_folder_is_left_as_it_was(tmp_path: Path) -> None:
    async def come_and_go() -> None:
        files = ObjectFiles(tmp_path.as_uri())
        document_id, contents, _ = await stored(files, 10)
        await files.erase(document_id, contents.size)

    asyncio.run(come_and_go())
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []
