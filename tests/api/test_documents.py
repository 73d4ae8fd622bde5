"""Documents of a visit over HTTP: added, listed, linked, sent in ranges, and refused where they are not plain."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from pymongo import MongoClient

from adapters.mongo.encryption import VAULT_COLLECTION
from adapters.mongo.repositories import Repositories
from adapters.tokens import Purpose, PurposeTokens
from cli.accounts import ACCOUNTS
from models.booking import Appointment, AppointmentState
from models.chunks import CHUNK, SEGMENT_CHUNKS
from models.compliance import AuditAction
from models.documents import MOST_DOCUMENTS
from models.errors import Code
from models.files import MAX_DOCUMENT_BYTES
from models.identity import System
from models.ids import random_id
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api
from tests.api.consultations import a_visit

Json = dict[str, Any]
WORLD: Final = System("a test of documents")
SEGMENT: Final = SEGMENT_CHUNKS * CHUNK
EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
OURS: Final = ("patient", "doctor", "staff")


def a_pdf(size: int = 3000) -> bytes:
    """What begins like a PDF and is unlike every other."""
    return b"%PDF-1.4 " + secrets.token_hex(size).encode()[: size - 9]


@pytest.fixture
async def visit(stores: Repositories) -> Appointment:
    return await a_visit(stores, AppointmentState.COMPLETED)


def path(visit: Appointment) -> str:
    return f"/v1/appointments/{visit.id}/documents"


async def add(
    client: httpx.AsyncClient, visit: Appointment, content: bytes, name: str = "report.pdf", **fields: str
) -> httpx.Response:
    form = {"kind": "lab_report", **fields}
    return await client.post(path(visit), files={"file": (name, content, "text/html")}, data=form)


async def read(client: httpx.AsyncClient, document_id: str, **headers: str) -> httpx.Response:
    """The document's bytes, by the link that its reader is given, without a token of theirs."""
    link = await client.get(f"/v1/documents/{document_id}")
    assert link.status_code == 302, link.text
    async with httpx.AsyncClient(base_url=client.base_url, trust_env=False, timeout=30) as anybody:
        return await anybody.get(link.headers["location"], headers=headers)


def refused(answer: httpx.Response, status: int, code: Code) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def objects(api: Api) -> list[Path]:
    """Every object of the folder that this application stores in."""
    folder = Path(unquote(urlsplit(api.settings.storage_url or "").path))
    return sorted(one for one in folder.rglob("*") if one.is_file())


@pytest.mark.parametrize("name", OURS)
async def test_patient_and_clinic_add_and_read(api: Api, visit: Appointment, name: str) -> None:
    content = a_pdf()
    async with api.client(name) as client:
        added = await add(client, visit, content, "रिपोर्ट 1.pdf")
        assert added.status_code == 201, added.text
        shown = added.json()
        assert added.headers["location"] == f"/v1/documents/{shown['id']}"
        assert (shown["name"], shown["size"], shown["sha256"], shown["kind"], shown["media_type"]) == (
            "रिपोर्ट 1.pdf",
            len(content),
            hashlib.sha256(content).hexdigest(),
            "lab_report",
            "application/pdf",
        )
        assert shown["added_by"] == ("patient" if name == "patient" else "clinic")
    for reader in (*OURS, "tenant_admin"):
        async with api.client(reader) as client:
            assert (await client.get(path(visit))).json() == {"items": [shown], "next_cursor": None}
            answer = await read(client, shown["id"])
            assert answer.content == content
            assert answer.headers["content-type"] == "application/pdf"
            assert answer.headers["content-disposition"] == (
                f'attachment; filename="{shown["id"]}"; '
                "filename*=UTF-8''%E0%A4%B0%E0%A4%BF%E0%A4%AA%E0%A5%8B%E0%A4%B0%E0%A5%8D%E0%A4%9F%201.pdf"
            )
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_it_lies_sealed_and_its_name_is_nowhere(api: Api, stores: Repositories, visit: Appointment) -> None:
    content = a_pdf()
    async with api.client("patient") as client:
        added = (await add(client, visit, content, "hiv-result.pdf")).json()
    for one in objects(api):
        assert content[:100] not in one.read_bytes()
        assert "hiv" not in str(one)
    raw = await stores.database["documents"].find_one({"_id": added["id"]})
    assert "hiv" not in str(raw)
    assert hashlib.sha256(content).hexdigest() not in str(raw)


async def test_the_same_file_again_is_the_same_document(api: Api, visit: Appointment) -> None:
    content = a_pdf()
    async with api.client("patient") as client:
        first = await add(client, visit, content)
        stored = len(objects(api))
        answers = await asyncio.gather(*(add(client, visit, content, "copy.pdf") for _ in range(5)))
        assert {one.json()["id"] for one in answers} == {first.json()["id"]}
        fresh = a_pdf()
        raced = await asyncio.gather(*(add(client, visit, fresh) for _ in range(5)))
        assert len({one.json()["id"] for one in raced}) == 1, [one.text for one in raced]
        assert len((await client.get(path(visit))).json()["items"]) == 2
    assert len(objects(api)) == stored + 1, "of the losers nothing stays"


@pytest.mark.parametrize("state", [AppointmentState.CONFIRMED, AppointmentState.IN_CONSULTATION])
async def test_a_patient_may_bring_reports_before_the_visit(
    api: Api, stores: Repositories, state: AppointmentState
) -> None:
    visit = await a_visit(stores, state)
    async with api.client("patient") as client:
        assert (await add(client, visit, a_pdf())).status_code == 201


async def test_a_visit_that_does_not_take_place_takes_none(api: Api, stores: Repositories) -> None:
    visit = await a_visit(stores, AppointmentState.HELD)
    async with api.client("patient") as client:
        refused(await add(client, visit, a_pdf()), 409, Code.STATE_CONFLICT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ\x90\x00",
        b"<html><script>alert(1)</script>",
        b"\xff\xd8\xff\xe0 %PDF-1.4 both",
        b"\x89PNG\r\n\x1a\n<svg onload=alert(1)>",
        b"%PDF-1.4 " + EICAR,
        b"%PDF-1.4 << /S /JavaScript >>",
        b"%PDF-1.4 " + b"x" * 2 * CHUNK + b"/Launch",
    ],
    ids=["empty", "program", "page", "pdf in jpeg", "page in png", "test virus", "script", "launch at the end"],
)
async def test_what_is_no_plain_document_is_refused_whatever_it_calls_itself(
    api: Api, visit: Appointment, content: bytes
) -> None:
    before = objects(api)
    async with api.client("patient") as client:
        refused(await add(client, visit, content), 422, Code.DOCUMENT_REFUSED)
        assert (await client.get(path(visit))).json()["items"] == []
    assert objects(api) == before


@pytest.mark.parametrize(
    ("name", "shown"),
    [("../../../etc/passwd", "passwd"), ("a\u202efdp.exe", "afdp.exe"), ("n" * 900 + ".pdf", "n" * 116 + ".pdf")],
)
async def test_a_file_s_name_is_only_a_name(api: Api, visit: Appointment, name: str, shown: str) -> None:
    async with api.client("patient") as client:
        added = await add(client, visit, a_pdf(), name)
        assert added.status_code == 201, added.text
        assert added.json()["name"] == shown
        assert (await read(client, added.json()["id"])).status_code == 200


async def test_a_digest_that_was_said_is_checked(api: Api, visit: Appointment) -> None:
    content = a_pdf()
    async with api.client("patient") as client:
        refused(await add(client, visit, content, sha256="0" * 64), 422, Code.CHECKSUM_MISMATCH)
        assert (await client.get(path(visit))).json()["items"] == []
        right = await add(client, visit, content, sha256=hashlib.sha256(content).hexdigest())
        assert right.status_code == 201


async def test_a_form_that_is_none_is_refused(api: Api, visit: Appointment) -> None:
    async with api.client("patient") as client:
        refused(await add(client, visit, a_pdf(), kind="selfie"), 422, Code.INVALID)
        refused(await add(client, visit, a_pdf(), tenant_id="tnt_sanjeevani"), 422, Code.INVALID)
        refused(await add(client, visit, a_pdf(), sha256="x"), 422, Code.INVALID)
        refused(await client.post(path(visit), files={"kind": (None, "other")}), 422, Code.INVALID)
        refused(await client.post(path(visit), content=b"x"), 415, Code.UNSUPPORTED_MEDIA_TYPE)
        broken = {"Content-Type": "multipart/form-data"}
        refused(await client.post(path(visit), content=b"x", headers=broken), 400, Code.MALFORMED)
        refused(await client.post(path(visit), json={"upload_id": "upl_1"}), 422, Code.INVALID)
        refused(await client.post(path(visit), json={"upload_id": {"$ne": 1}, "kind": "other"}), 422, Code.INVALID)
        refused(await client.post(path(visit), json={"upload_id": "upl_1", "kind": "other"}), 404, Code.NOT_FOUND)


async def test_a_file_that_is_too_large_for_one_request_is_refused(api: Api, visit: Appointment) -> None:
    async with api.client("patient") as client:
        answer = await add(client, visit, b"%PDF-1.4 " + bytes(MAX_DOCUMENT_BYTES))
        refused(answer, 413, Code.TOO_LARGE)


async def test_a_visit_has_no_more_documents_than_it_may(api: Api, visit: Appointment) -> None:
    async with api.client("patient") as client:
        answers = [await add(client, visit, a_pdf(40)) for _ in range(MOST_DOCUMENTS)]
        assert {one.status_code for one in answers} == {201}
        refused(await add(client, visit, a_pdf(40)), 409, Code.STATE_CONFLICT)


async def test_looks_of_others_and_additions_are_noted(api: Api, stores: Repositories, visit: Appointment) -> None:
    async with api.client("patient") as client:
        added = (await add(client, visit, a_pdf())).json()
        await read(client, added["id"])
    async with api.client("staff") as client:
        await read(client, added["id"])
    entries = await stores.database["audit"].find({"target": {"$in": [visit.id, added["id"]]}}).to_list(None)
    assert sorted((one["action"], one["actor"], one["target"]) for one in entries) == [
        (AuditAction.DOCUMENT_ADDED, ACCOUNTS["patient"].id, visit.id),
        (AuditAction.RECORD_READ, ACCOUNTS["staff"].id, added["id"]),
    ]


# Links and ranges


async def test_a_link_opens_its_document_for_a_while_and_nothing_else(api: Api, visit: Appointment) -> None:
    async with api.client("patient") as client:
        one, other = [(await add(client, visit, a_pdf())).json()["id"] for _ in range(2)]
        location = (await client.get(f"/v1/documents/{one}")).headers["location"]
    tokens, now = PurposeTokens(api.settings.token_keys), datetime.now(UTC)
    old = tokens.mint(Purpose.DOCUMENT, one, "", now - timedelta(seconds=30), now - timedelta(hours=1))
    another_purpose = tokens.mint(Purpose.INVITE, one, "", now + timedelta(hours=1), now)
    async with api.client() as anybody:
        assert (await anybody.get(location)).status_code == 200
        for wrong in (
            location.replace(one, other),
            location[:-4] + ("aaaa" if location[-4:] != "aaaa" else "bbbb"),
            f"/v1/documents/{one}/content?token={old}",
            f"/v1/documents/{one}/content?token={another_purpose}",
        ):
            refused(await anybody.get(wrong), 401, Code.TOKEN_INVALID)
        refused(await anybody.get(f"/v1/documents/{one}/content"), 422, Code.INVALID)
        refused(await anybody.get(f"/v1/documents/{one}"), 401, Code.TOKEN_MISSING)


async def test_ranges_of_a_large_file(api: Api, visit: Appointment) -> None:
    content = a_pdf(SEGMENT + CHUNK + 7)
    size = len(content)
    async with api.client("patient") as client:
        document_id = (await add(client, visit, content)).json()["id"]
        link = (await client.get(f"/v1/documents/{document_id}")).headers["location"]
    tag = f'"{document_id}"'
    async with api.client() as anybody:
        whole = await anybody.get(link)
        assert (whole.status_code, whole.content == content) == (200, True)
        assert (whole.headers["accept-ranges"], whole.headers["etag"]) == ("bytes", tag)
        for begin, end in [(0, 1), (CHUNK - 1, CHUNK + 1), (SEGMENT - 3, SEGMENT + 3), (size - 5, size), (5, size)]:
            part = await anybody.get(link, headers={"Range": f"bytes={begin}-{end - 1}"})
            assert part.status_code == 206
            assert part.content == content[begin:end]
            assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
            assert part.headers["content-length"] == str(end - begin)
        last = await anybody.get(link, headers={"Range": "bytes=-9", "If-Range": tag})
        assert (last.status_code, last.content) == (206, content[-9:])
        for ignored in ({"Range": "bytes=0-1", "If-Range": '"another"'}, {"Range": "bytes=0-1,4-5"}, {"Range": "x"}):
            assert (await anybody.get(link, headers=ignored)).status_code == 200
        behind = await anybody.get(link, headers={"Range": f"bytes={size}-"})
        refused(behind, 416, Code.RANGE_NOT_SATISFIABLE)
        assert behind.headers["content-range"] == f"bytes */{size}"


async def test_a_range_reads_only_the_objects_that_it_touches(api: Api, visit: Appointment) -> None:
    content = a_pdf(2 * SEGMENT)
    async with api.client("patient") as client:
        document_id = (await add(client, visit, content)).json()["id"]
        [first] = [one for one in objects(api) if one.parent.name == document_id and one.name == "0"]
        first.unlink()
        part = await read(client, document_id, Range=f"bytes={SEGMENT}-{SEGMENT + 9}")
        assert part.content == content[SEGMENT : SEGMENT + 10]
        refused(await read(client, document_id), 500, Code.DAMAGED)


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "lost", "another document's"])
async def test_a_changed_object_is_not_shown(api: Api, visit: Appointment, how: str) -> None:
    async with api.client("patient") as client:
        one, other = [(await add(client, visit, a_pdf(2 * CHUNK))).json()["id"] for _ in range(2)]
        files = {each.parent.name: each for each in objects(api)}
        raw = files[one].read_bytes()
        match how:
            case "flipped":
                files[one].write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
            case "cut":
                files[one].write_bytes(raw[: CHUNK + 16])
            case "emptied":
                files[one].write_bytes(b"")
            case "lost":
                files[one].unlink()
            case _:
                files[one].write_bytes(files[other].read_bytes())
        refused(await read(client, one), 500, Code.DAMAGED)
        assert (await read(client, other)).status_code == 200


async def test_a_file_that_breaks_off_later_is_never_whole(api: Api, visit: Appointment) -> None:
    async with api.client("patient") as client:
        document_id = (await add(client, visit, a_pdf(2 * SEGMENT))).json()["id"]
        [second] = [one for one in objects(api) if one.parent.name == document_id and one.name == "1"]
        second.write_bytes(bytes(second.stat().st_size))
        with pytest.raises(httpx.RemoteProtocolError):
            await read(client, document_id)


async def test_with_the_key_every_document_is_gone(api: Api, stores: Repositories, servers: Addresses) -> None:
    somebody = ACCOUNTS["other_patient"].model_copy(update={"id": random_id("usr"), "phone": "+919812300003"})
    await stores.users.put(WORLD, somebody)
    visit = await a_visit(stores, AppointmentState.COMPLETED, subject=somebody.id)
    vault = api.settings.vault_database
    async with api.client("doctor") as client:
        document_id = (await add(client, visit, a_pdf())).json()["id"]
        link = (await client.get(f"/v1/documents/{document_id}")).headers["location"]
        with MongoClient[Json](servers.owner_mongodb_url(vault)) as owner:
            keys = owner[vault][VAULT_COLLECTION]
            assert keys.delete_one({"keyAltNames": f"{somebody.id}:clinical"}).deleted_count == 1
        refused(await client.get(f"/v1/documents/{document_id}"), 410, Code.ERASED)
        refused(await client.get(link), 410, Code.ERASED)
        [listed] = (await client.get(path(visit))).json()["items"]
        assert (listed["erased"], listed["name"], listed["sha256"]) == (True, None, None)
