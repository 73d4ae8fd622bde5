"""The summary of a visit over HTTP: who writes and reads it, its versions, its erasure, and the prescription."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import UTC, date, timedelta
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from pypdf import PdfReader

from adapters.mongo.encryption import VAULT_COLLECTION
from adapters.mongo.repositories import Repositories
from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO
from models.booking import Appointment, AppointmentState
from models.compliance import AuditAction
from models.errors import Code
from models.identity import Role, System
from models.ids import random_id
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api
from tests.api.consultations import a_visit

Json = dict[str, Any]
WORLD = System("a test of summaries")
WORDS: Json = {
    "notes": "Fever for three days.\nThroat red.",
    "diagnosis": "Viral pharyngitis",
    "prescription": [
        {
            "medicine": "Paracetamol 500 mg tablet",
            "dose": "1 tablet",
            "frequency": "1-0-1",
            "duration": "3 days",
            "instructions": "भोजन के बाद",
        },
        {"medicine": "Saline gargle"},
    ],
    "follow_up_on": "2032-12-01",
}
BETWEEN = [
    AppointmentState.CHECKED_IN,
    AppointmentState.IN_CONSULTATION,
    AppointmentState.COMPLETED,
]


@pytest.fixture
async def visit(stores: Repositories) -> Appointment:
    return await a_visit(stores, AppointmentState.IN_CONSULTATION)


@pytest.fixture
async def doctor(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("doctor") as client:
        yield client


def path(visit: Appointment, what: str = "summary") -> str:
    return f"/v1/appointments/{visit.id}/{what}"


async def put(
    client: httpx.AsyncClient, visit: Appointment, tag: str | None = '"0"', **changes: object
) -> httpx.Response:
    headers = {} if tag is None else {"If-Match": tag}
    return await client.put(path(visit), json={**WORDS, **changes}, headers=headers)


def refused(answer: httpx.Response, status: int, code: Code) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_the_doctor_writes_and_patient_and_clinic_read(
    api: Api, doctor: httpx.AsyncClient, visit: Appointment
) -> None:
    written = await put(doctor, visit)
    assert written.status_code == 200, written.text
    assert written.headers["etag"] == '"1"'
    assert {name: written.json()[name] for name in WORDS} == {
        **WORDS,
        "prescription": [
            WORDS["prescription"][0],
            {"medicine": "Saline gargle", "dose": None, "frequency": None, "duration": None, "instructions": None},
        ],
    }
    assert written.json()["doctor"]["registration"] == ANANYA_RAO.provider.registration.model_dump()
    assert written.json()["patient"]["name"] == ACCOUNTS["patient"].name
    for name in ("patient", "doctor", "staff", "tenant_admin"):
        async with api.client(name) as client:
            read = await client.get(path(visit))
        assert read.json() == written.json(), name
        assert read.headers["etag"] == '"1"'


async def test_an_amendment_leaves_what_was_written_before_readable(
    doctor: httpx.AsyncClient, visit: Appointment
) -> None:
    for number in range(3):
        assert (await put(doctor, visit, f'"{number}"', notes=f"Version {number + 1}")).status_code == 200
    assert (await doctor.get(path(visit))).json()["notes"] == "Version 3"
    page = (await doctor.get(path(visit, "summary/versions"), params={"limit": 2})).json()
    assert [one["notes"] for one in page["items"]] == ["Version 3", "Version 2"]
    rest = (await doctor.get(path(visit, "summary/versions"), params={"cursor": page["next_cursor"]})).json()
    assert [(one["version"], one["notes"]) for one in rest["items"]] == [(1, "Version 1")]
    assert rest["next_cursor"] is None
    refused(await doctor.get(path(visit, "summary/versions"), params={"cursor": "x"}), 400, Code.CURSOR_INVALID)


async def test_who_has_not_seen_the_newest_version_does_not_write_over_it(
    doctor: httpx.AsyncClient, visit: Appointment
) -> None:
    refused(await put(doctor, visit, None), 428, Code.IF_MATCH_REQUIRED)
    refused(await put(doctor, visit, '"1"'), 412, Code.STALE)
    assert (await put(doctor, visit)).status_code == 200
    refused(await put(doctor, visit, notes="Another"), 412, Code.STALE)
    assert (await doctor.get(path(visit))).json()["notes"] == WORDS["notes"]


async def test_a_line_of_a_prescription_may_be_plain(doctor: httpx.AsyncClient, visit: Appointment) -> None:
    written = (await put(doctor, visit, prescription=["Saline gargle", {"medicine": "Zinc", "dose": "1"}])).json()
    assert [(one["medicine"], one["dose"]) for one in written["prescription"]] == [
        ("Saline gargle", None), ("Zinc", "1"),
    ]  # fmt: skip
    refused(await put(doctor, visit, '"1"', prescription=[7]), 422, Code.INVALID)


async def test_the_first_one_may_say_that_there_is_none_yet(doctor: httpx.AsyncClient, visit: Appointment) -> None:
    unseen = {"If-None-Match": "*"}
    refused(await doctor.put(path(visit), json=WORDS, headers={"If-None-Match": '"0"'}), 428, Code.IF_MATCH_REQUIRED)
    assert (await doctor.put(path(visit), json=WORDS, headers=unseen)).headers["etag"] == '"1"'
    refused(await doctor.put(path(visit), json={**WORDS, "notes": "Another"}, headers=unseen), 412, Code.STALE)


@pytest.mark.parametrize("state", [AppointmentState.CONFIRMED, *BETWEEN])
async def test_it_is_written_from_the_consultation_on(
    stores: Repositories, doctor: httpx.AsyncClient, state: AppointmentState
) -> None:
    visit = await a_visit(stores, state)
    refused(await doctor.get(path(visit)), 404, Code.NOT_FOUND)
    answer = await put(doctor, visit)
    if state in {AppointmentState.IN_CONSULTATION, AppointmentState.COMPLETED}:
        assert answer.status_code == 200, answer.text
    else:
        refused(answer, 409, Code.STATE_CONFLICT)


async def test_only_that_doctor_writes_whatever_else_somebody_is(
    api: Api, stores: Repositories, visit: Appointment
) -> None:
    colleague = ACCOUNTS["staff"].model_copy(
        update={"id": "usr_both", "roles": frozenset({Role.STAFF, Role.DOCTOR}), "provider_id": "prv_another"}
    )
    await stores.users.put(WORLD, colleague.model_copy(update={"email": "both@a.example"}))
    async with api.client(colleague) as client:
        refused(await put(client, visit), 403, Code.FORBIDDEN)
        assert (await client.get(f"/v1/appointments/{visit.id}")).status_code == 200


async def test_every_look_of_others_and_every_version_is_noted(
    api: Api, stores: Repositories, doctor: httpx.AsyncClient, visit: Appointment
) -> None:
    await put(doctor, visit)
    await doctor.get(path(visit))
    await doctor.get(path(visit, "prescription.pdf"))
    async with api.client("patient") as client:
        await client.get(path(visit))
    entries = await stores.database["audit"].find({"target": visit.id}).to_list(None)
    noted = sorted((one["action"], str(one["why"]).rpartition("/")[2], one["subject_id"]) for one in entries)
    patient = ACCOUNTS["patient"].id
    assert noted == [
        (AuditAction.RECORD_READ, "prescription.pdf", patient),
        (AuditAction.RECORD_READ, "summary", patient),
        (AuditAction.SUMMARY_WRITTEN, "summary", patient),
    ]
    assert "pharyngitis" not in str(entries)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"notes": ""}, "notes"),
        ({"notes": "x" * 10_001}, "notes"),
        ({"notes": "\x00"}, "notes"),
        ({"prescription": [{"medicine": "x"}] * 51}, "prescription"),
        ({"prescription": [{"dose": "1"}]}, "prescription.0.medicine"),
        ({"prescription": [{"medicine": "a\nb"}]}, "prescription.0.medicine"),
        ({"prescription": [{"medicine": "பாராசிட்டமால்"}]}, "prescription.0.medicine"),
        ({"follow_up_on": "2031-12-31"}, "follow_up_on"),
        ({"follow_up_on": 7}, "follow_up_on"),
        ({"patient": {"age_years": 131}}, "patient.age_years"),
        ({"signed_by": "somebody"}, "signed_by"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    doctor: httpx.AsyncClient, visit: Appointment, changes: Json, field: str
) -> None:
    answer = await put(doctor, visit, **changes)
    refused(answer, 422, Code.INVALID)
    assert answer.json()["errors"][0]["field"] == field


# On paper


def printed(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.content)).pages)


async def test_the_prescription_says_who_for_whom_what_and_under_which_registration(
    stores: Repositories, doctor: httpx.AsyncClient
) -> None:
    visit = await a_visit(
        stores,
        AppointmentState.COMPLETED,
        name="निर्मला जोशी",
        date_of_birth=date(1990, 6, 1),
        relation="mother",
    )
    await put(doctor, visit)
    text = printed(await doctor.get(path(visit, "prescription.pdf")))
    provider, registration = ANANYA_RAO.provider, ANANYA_RAO.provider.registration
    for words in (
        "जोशी",
        "41 years",
        provider.name,
        f"Registration no. {registration.number}, {registration.council}, {registration.year}",
        "1. Paracetamol 500 mg tablet",
        "1 tablet, 1-0-1, 3 days",
        "भोजन",
        "2. Saline gargle",
        "Follow-up: 01 Dec 2032",
        f"{visit.start.astimezone(UTC) + timedelta(hours=5.5):%d %b %Y}",
    ):
        assert words in text
    assert "pharyngitis" not in text, "a chemist needs no diagnosis"


async def test_a_version_is_printed_the_same_for_ever(doctor: httpx.AsyncClient, visit: Appointment) -> None:
    await put(doctor, visit)
    first = await doctor.get(path(visit, "prescription.pdf"))
    await put(doctor, visit, '"1"', prescription=[{"medicine": "Ibuprofen 400 mg tablet"}])
    second = await doctor.get(path(visit, "prescription.pdf"))
    again = await doctor.get(path(visit, "prescription.pdf"), params={"version": 1})
    assert again.content == first.content
    assert (first.headers["etag"], second.headers["etag"]) == ('"1"', '"2"')
    assert "Ibuprofen" in printed(second)
    assert "Paracetamol" not in printed(second)


async def test_there_is_no_prescription_where_nothing_was_prescribed(
    doctor: httpx.AsyncClient, visit: Appointment
) -> None:
    refused(await doctor.get(path(visit, "prescription.pdf")), 404, Code.NOT_FOUND)
    await put(doctor, visit, prescription=[])
    refused(await doctor.get(path(visit, "prescription.pdf")), 404, Code.NOT_FOUND)
    refused(await doctor.get(path(visit, "prescription.pdf"), params={"version": 2}), 404, Code.NOT_FOUND)


async def test_what_the_account_does_not_say_the_doctor_fills_in(
    stores: Repositories, doctor: httpx.AsyncClient
) -> None:
    nameless = ACCOUNTS["other_patient"].model_copy(
        update={"id": random_id("usr"), "name": None, "phone": "+919812300001"}
    )
    await stores.users.put(WORLD, nameless)
    visit = await a_visit(stores, AppointmentState.IN_CONSULTATION, subject=nameless.id)
    await put(doctor, visit, patient={"name": "Ravi Iyer", "age_years": 63})
    text = printed(await doctor.get(path(visit, "prescription.pdf")))
    assert "Patient: Ravi Iyer" in text
    assert "Age: 63 years" in text
    known = await a_visit(stores, AppointmentState.IN_CONSULTATION)
    written = await put(doctor, known, patient={"name": "Somebody Else"})
    assert written.json()["patient"]["name"] == ACCOUNTS["patient"].name


async def test_with_the_key_everything_that_was_written_is_gone(
    api: Api, stores: Repositories, doctor: httpx.AsyncClient, servers: Addresses
) -> None:
    somebody = ACCOUNTS["other_patient"].model_copy(update={"id": random_id("usr"), "phone": "+919812300002"})
    await stores.users.put(WORLD, somebody)
    visit = await a_visit(stores, AppointmentState.IN_CONSULTATION, subject=somebody.id)
    await put(doctor, visit)
    vault = api.settings.vault_database
    with MongoClient[Json](servers.owner_mongodb_url(vault)) as owner:
        keys = owner[vault][VAULT_COLLECTION]
        assert keys.delete_one({"keyAltNames": f"{somebody.id}:clinical"}).deleted_count == 1
    for what in ("summary", "summary/versions", "prescription.pdf"):
        refused(await doctor.get(path(visit, what)), 410, Code.ERASED)
