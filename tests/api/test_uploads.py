"""Large files in pieces (tus 1.0.0): begun, broken off, gone on with, and a document in the end, at constant memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from api.routers.uploads import UPLOADS
from models.booking import Appointment, AppointmentState
from models.documents import PIECE_BYTES, UPLOAD_LIFETIME
from models.errors import Code
from models.files import MAX_UPLOAD_BYTES
from tests.api.conftest import Api
from tests.api.consultations import a_visit
from tests.api.test_documents import EICAR, a_pdf, read, refused
from tests.stack import eventually

Json = dict[str, Any]
TUS: Final = {"Tus-Resumable": "1.0.0"}
BYTES: Final = {**TUS, "Content-Type": "application/offset+octet-stream"}
MEBIBYTE: Final = 1024 * 1024
WARM_UP: Final = 6
"""Mebibytes of a file that fills every buffer once."""
MOST_GROWTH: Final = 16 * MEBIBYTE
"""A file of 50 MiB that were held anywhere as a whole would show."""


@pytest.fixture
async def visit(stores: Repositories) -> Appointment:
    return await a_visit(stores, AppointmentState.COMPLETED)


@pytest.fixture
async def patient(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("patient") as client:
        yield client


async def begin(client: httpx.AsyncClient, length: int, name: str | None = "report.pdf", **headers: str) -> str:
    if name is not None:
        headers["Upload-Metadata"] = f"kind bGFi,filename {base64.b64encode(name.encode()).decode()}"
    answer = await client.post("/v1/uploads", headers={**TUS, "Upload-Length": str(length), **headers})
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["upload-offset"] == "0"
    return str(answer.headers["location"])


async def send(
    client: httpx.AsyncClient, upload: str, offset: int, content: bytes | AsyncIterator[bytes]
) -> httpx.Response:
    return await client.patch(upload, content=content, headers={**BYTES, "Upload-Offset": str(offset)})


async def standing(client: httpx.AsyncClient, upload: str) -> int:
    answer = await client.head(upload, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


async def become(client: httpx.AsyncClient, visit: Appointment, upload: str, **fields: str) -> httpx.Response:
    body = {"upload_id": upload.rpartition("/")[2], "kind": "imaging", **fields}
    return await client.post(f"/v1/appointments/{visit.id}/documents", json=body)


def pieces_of(api: Api, upload: str) -> list[Path]:
    folder = Path(unquote(urlsplit(api.settings.storage_url or "").path)) / "uploads" / upload.rpartition("/")[2]
    return list(folder.rglob("*")) if folder.exists() else []


async def test_a_file_in_pieces_becomes_a_document(api: Api, patient: httpx.AsyncClient, visit: Appointment) -> None:
    content = a_pdf(300_000)
    upload = await begin(patient, len(content), "X-ray कमर.pdf")
    for start, end in [(0, 100_000), (100_000, 100_001), (100_001, 300_000)]:
        answer = await send(patient, upload, start, content[start:end])
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(end)), answer.text
        assert answer.headers["tus-resumable"] == "1.0.0"
    head = await patient.head(upload, headers=TUS)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("300000", "300000")
    added = await become(patient, visit, upload)
    assert added.status_code == 201, added.text
    shown = added.json()
    assert (shown["name"], shown["kind"], shown["size"]) == ("X-ray कमर.pdf", "imaging", len(content))
    assert shown["sha256"] == hashlib.sha256(content).hexdigest()
    assert (await read(patient, shown["id"])).content == content
    assert pieces_of(api, upload) == [], "its pieces are not needed any more"
    assert (await become(patient, visit, upload)).json() == shown, "whoever lost the answer is told it again"


async def _broken(content: bytes) -> AsyncIterator[bytes]:
    yield content
    raise ConnectionAbortedError


async def test_what_arrived_before_the_line_broke_is_kept(patient: httpx.AsyncClient, visit: Appointment) -> None:
    content = a_pdf(2 * PIECE_BYTES + 500)
    upload = await begin(patient, len(content))
    with pytest.raises(ConnectionAbortedError):
        await send(patient, upload, 0, _broken(content[: PIECE_BYTES + 777]))
    await eventually(lambda: standing(patient, upload), lambda offset: offset == PIECE_BYTES + 777)
    refused(await become(patient, visit, upload), 409, Code.STATE_CONFLICT)
    offset = await standing(patient, upload)
    assert (await send(patient, upload, offset, content[offset:])).status_code == 204
    shown = (await become(patient, visit, upload)).json()
    assert (await read(patient, shown["id"])).content == content


def _resident() -> int:
    """Bytes of this process's memory: the API runs in it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_fifty_mebibytes_pass_through_at_constant_memory(patient: httpx.AsyncClient, visit: Appointment) -> None:
    digest, block = hashlib.sha256(), os.urandom(MEBIBYTE)
    most, running = 0, True

    async def watch() -> None:
        nonlocal most
        while running:
            most = max(most, _resident())
            await asyncio.sleep(0.005)

    async def content() -> AsyncIterator[bytes]:
        for number in range(MAX_UPLOAD_BYTES // MEBIBYTE):
            piece = (b"%PDF-1.4 " if number == 0 else b"%09d" % number) + block[9:]
            digest.update(piece)
            yield piece

    small = await begin(patient, WARM_UP * MEBIBYTE + 9)
    assert (await send(patient, small, 0, b"%PDF-1.4 " + block * WARM_UP)).status_code == 204
    assert (await become(patient, visit, small)).status_code == 201
    before = _resident()
    watching = asyncio.create_task(watch())
    upload = await begin(patient, MAX_UPLOAD_BYTES)
    assert (await send(patient, upload, 0, content())).headers["upload-offset"] == str(MAX_UPLOAD_BYTES)
    added = await become(patient, visit, upload, sha256=digest.hexdigest())
    assert added.status_code == 201, added.text
    link = (await patient.get(f"/v1/documents/{added.json()['id']}")).headers["location"]
    again = hashlib.sha256()
    async with patient.stream("GET", link) as answer:
        async for part in answer.aiter_bytes():
            again.update(part)
    running = False
    await watching
    assert again.digest() == digest.digest()
    assert most - before < MOST_GROWTH, f"grew by {(most - before) // MEBIBYTE} MiB"


async def test_only_at_its_end_does_an_upload_go_on(patient: httpx.AsyncClient) -> None:
    upload = await begin(patient, 100)
    assert (await send(patient, upload, 0, b"x" * 60)).status_code == 204
    for offset, content, status, code in [
        (0, b"y", 409, Code.STATE_CONFLICT),
        (59, b"y", 409, Code.STATE_CONFLICT),
        (61, b"y", 409, Code.STATE_CONFLICT),
        (60, b"y" * 41, 413, Code.TOO_LARGE),
    ]:
        refused(await send(patient, upload, offset, content), status, code)
        assert await standing(patient, upload) == 60
    raced = await asyncio.gather(*(send(patient, upload, 60, b"z" * 40) for _ in range(5)))
    assert sorted(one.status_code for one in raced) == [204, 409, 409, 409, 409]


async def test_an_upload_that_is_no_document_is_refused_like_any_file(
    patient: httpx.AsyncClient, visit: Appointment
) -> None:
    for content in (b"MZ" + b"x" * 98, b"%PDF-1.4 " + EICAR):
        upload = await begin(patient, len(content))
        await send(patient, upload, 0, content)
        refused(await become(patient, visit, upload), 422, Code.DOCUMENT_REFUSED)
    content = a_pdf(100)
    upload = await begin(patient, len(content))
    await send(patient, upload, 0, content)
    refused(await become(patient, visit, upload, sha256="0" * 64), 422, Code.CHECKSUM_MISMATCH)


async def test_a_changed_piece_becomes_nothing(api: Api, patient: httpx.AsyncClient, visit: Appointment) -> None:
    upload = await begin(patient, 3000)
    await send(patient, upload, 0, a_pdf(3000))
    [piece] = pieces_of(api, upload)
    raw = piece.read_bytes()
    assert b"%PDF" not in raw
    piece.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    refused(await become(patient, visit, upload), 500, Code.DAMAGED)
    piece.unlink()
    refused(await become(patient, visit, upload), 500, Code.DAMAGED)


async def test_nobody_else_sees_or_uses_it(api: Api, patient: httpx.AsyncClient, visit: Appointment) -> None:
    upload = await begin(patient, 10)
    for name in ("other_patient", "doctor", "staff"):
        async with api.client(name) as client:
            assert (await client.head(upload, headers=TUS)).status_code == 404
            refused(await send(client, upload, 0, b"x"), 404, Code.NOT_FOUND)
            refused(await client.delete(upload, headers=TUS), 404, Code.NOT_FOUND)
            refused(await become(client, visit, upload), 404, Code.NOT_FOUND)
    async with api.client() as anybody:
        assert (await anybody.head(upload, headers=TUS)).status_code == 401
    async with api.client("admin") as client:
        assert (await client.head(upload, headers=TUS)).status_code == 403
    assert await standing(patient, upload) == 0


async def test_a_finished_upload_is_no_document_of_another_visit(
    stores: Repositories, patient: httpx.AsyncClient, visit: Appointment
) -> None:
    content = a_pdf(100)
    upload = await begin(patient, len(content))
    await send(patient, upload, 0, content)
    assert (await become(patient, visit, upload)).status_code == 201
    another = await a_visit(stores, AppointmentState.COMPLETED)
    refused(await become(patient, another, upload), 409, Code.STATE_CONFLICT)
    refused(await send(patient, upload, len(content), b""), 409, Code.STATE_CONFLICT)


async def test_one_that_is_given_up_is_gone(api: Api, patient: httpx.AsyncClient) -> None:
    upload = await begin(patient, 10)
    await send(patient, upload, 0, b"12345")
    assert len(pieces_of(api, upload)) == 1
    assert (await patient.delete(upload, headers=TUS)).status_code == 204
    assert (await patient.head(upload, headers=TUS)).status_code == 404
    assert pieces_of(api, upload) == []


async def test_one_that_has_expired_is_gone_before_it_is_swept(
    stores: Repositories, patient: httpx.AsyncClient
) -> None:
    upload = await begin(patient, 10)
    await stores.database["uploads"].update_one(
        {"_id": upload.rpartition("/")[2]}, [{"$set": {"expires_at": {"$subtract": ["$created_at", 1]}}}]
    )
    assert (await patient.head(upload, headers=TUS)).status_code == 404
    assert UPLOAD_LIFETIME.total_seconds() > 3600


async def test_what_is_spoken_here_is_told(api: Api) -> None:
    async with api.client() as anybody:
        answer = await anybody.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-max-size"] == str(MAX_UPLOAD_BYTES)
    assert "creation" in answer.headers["tus-extension"].split(",")


async def test_another_protocol_or_a_malformed_one_is_refused(patient: httpx.AsyncClient) -> None:
    refused(await patient.post("/v1/uploads", headers={"Upload-Length": "5"}), 412, Code.UPLOAD_VERSION)
    for length in (None, "", "0", "-1", "1.5", "x", "9" * 30, "\u0665".encode()):
        given: Json = {} if length is None else {"Upload-Length": length}
        refused(await patient.post("/v1/uploads", headers={**TUS, **given}), 422, Code.INVALID)
    for too_long in (MAX_UPLOAD_BYTES + 1, 10**15):
        given = {**TUS, "Upload-Length": str(too_long)}
        refused(await patient.post("/v1/uploads", headers=given), 413, Code.TOO_LARGE)
    for metadata in ("filename ***", "filename /w==", "x" * 5000):
        bad = {**TUS, "Upload-Length": "5", "Upload-Metadata": metadata}
        refused(await patient.post("/v1/uploads", headers=bad), 422, Code.INVALID)
    upload = await begin(patient, 5, None)
    refused(await patient.patch(upload, content=b"x"), 412, Code.UPLOAD_VERSION)
    refused(await patient.patch(upload, content=b"x", headers=TUS), 415, Code.UNSUPPORTED_MEDIA_TYPE)
    refused(await patient.patch(upload, content=b"x", headers=BYTES), 422, Code.INVALID)
    assert (await patient.head(upload)).status_code == 412


async def test_nobody_begins_uploads_without_end(api: Api) -> None:
    async with api.client("staff") as client:
        for _ in range(UPLOADS.hits):
            await begin(client, 5)
        answer = await client.post("/v1/uploads", headers={**TUS, "Upload-Length": "5"})
    refused(answer, 429, Code.RATE_LIMITED)
