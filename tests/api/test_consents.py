"""Notices, answers, withdrawals and receipts over HTTP."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymongo import MongoClient
from starlette.requests import Request
from starlette.routing import Mount

from adapters.mongo.consents import MongoConsents
from adapters.mongo.repositories import Repositories
from adapters.notices import FileNotices
from adapters.tokens import Statements
from api.consents import Consenting
from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO
from models.compliance import AuditAction
from models.consents import OF_DEPENDANTS, Purpose
from models.errors import Code, VisitNowError
from models.identity import Subject, System
from sandbox.servers.stack import Addresses
from tests.adapters.test_notices import with_another_whatsapp
from tests.api.conftest import Api

Json = dict[str, Any]
PATIENT: Final = ACCOUNTS["patient"].id
CONSENTS: Final = "/v1/me/consents"
YES: Final = {"granted": True, "notice_version": 1, "language": "en"}
NO: Final = {**YES, "granted": False}


async def ok(answer: httpx.Response) -> Json:
    assert answer.status_code in {200, 201}, answer.text
    body: Json = answer.json()
    return body


def checked(signature: str, keys: list[Json]) -> tuple[Json, Json]:
    """A JWS's header and facts, as anybody checks it who has the keys."""
    header, facts, mac = (base64.urlsafe_b64decode(part + "==") for part in signature.split("."))
    [key] = [one for one in keys if one["kid"] == json.loads(header)["kid"]]
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "=="))
    public.verify(mac, signature.rpartition(".")[0].encode())
    return json.loads(header), json.loads(facts)


async def test_every_purpose_is_shown_with_its_notice(api: Api) -> None:
    async with api.client("other_patient") as client:
        items = (await ok(await client.get(CONSENTS)))["items"]
        hindi = (await ok(await client.get(CONSENTS, params={"language": "hi"})))["items"]
        unknown = (await ok(await client.get(CONSENTS, params={"language": "ta"})))["items"]
    assert [one["purpose"] for one in items] == list(Purpose)
    assert {one["purpose"]: one["allowed"] for one in items} == {
        "care": True, "follow_up": True, "whatsapp": False, "promotion": False,
    }  # fmt: skip
    assert all(one["needs_answer"] and one["answer"] is None and one["granted"] is None for one in items)
    assert all(one["notice_version"] == one["notice"]["version"] for one in items)
    for one in items:
        notice = one["notice"]
        assert notice["sha256"] == FileNotices().current(Purpose(one["purpose"]), "en").digest
        assert notice["data"]
        assert notice["withdraw"]
        assert "Board" in notice["complain"]
    assert {one["notice"]["language"] for one in hindi} == {"hi"}
    assert unknown == items


async def test_taking_a_yes_back_is_as_easy_as_giving_it(api: Api, stores: Repositories) -> None:
    async with api.client("patient") as client:
        given = await ok(await client.put(f"{CONSENTS}/whatsapp", json=YES))
        assert (given["allowed"], given["needs_answer"], given["answer"]["by"]) == (True, False, PATIENT)
        assert given["granted"] is True
        assert await stores.consents.allows(System("a test"), PATIENT, Purpose.WHATSAPP)
        again = await ok(await client.put(f"{CONSENTS}/whatsapp", json=YES))
        assert again == given
        taken = await ok(await client.put(f"{CONSENTS}/whatsapp", json=NO))
        assert (taken["granted"], taken["allowed"], taken["needs_answer"]) == (False, False, False)
        assert not await stores.consents.allows(System("a test"), PATIENT, Purpose.WHATSAPP)
        listed = (await ok(await client.get(CONSENTS)))["items"]
    assert [one for one in listed if one["purpose"] == "whatsapp"] == [taken]


async def test_answers_are_noted_once_and_by_ids_only(api: Api, servers: Addresses) -> None:
    async with api.client("patient") as client:
        ids = [
            (await ok(await client.put(f"{CONSENTS}/promotion", json=one)))["answer"]["id"] for one in (YES, YES, NO)
        ]
    assert ids[0] == ids[1] != ids[2]
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database)) as client_:
        found = list(client_[api.settings.database]["audit"].find({"target": {"$in": ids}}, sort=[("at", 1)]))
    assert [(one["action"], one["target"], one["actor"], one["subject_id"]) for one in found] == [
        (AuditAction.CONSENT_GIVEN, ids[0], PATIENT, PATIENT),
        (AuditAction.CONSENT_WITHDRAWN, ids[2], PATIENT, PATIENT),
    ]


async def test_a_receipt_can_be_checked_with_the_published_keys(api: Api) -> None:
    async with api.client("patient") as client:
        assert (await client.get(f"{CONSENTS}/follow_up/receipt")).status_code == 404, "nothing was said"
        said = await ok(await client.put(f"{CONSENTS}/follow_up", json={**NO, "language": "hi"}))
        answer = await client.get(f"{CONSENTS}/follow_up/receipt")
        keys = (await client.get("/.well-known/jwks.json")).json()
    receipt = await ok(answer)
    assert answer.headers["content-disposition"] == f'attachment; filename="consent-{said["answer"]["id"]}.json"'
    assert receipt["answer"] == said["answer"]
    assert receipt["notice"]["language"] == "hi"
    header, facts = checked(receipt["signature"], keys["keys"])
    assert header["typ"] == "consent-receipt+jwt"
    assert (facts["sub"], facts["jti"], facts["granted"]) == (PATIENT, said["answer"]["id"], False)
    assert facts["notice_sha256"] == receipt["notice"]["sha256"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**YES, "notice_version": 2}, 422, "invalid"),
        ({**YES, "language": "ta"}, 422, "invalid"),
        ({**YES, "language": "English"}, 422, "invalid"),
        ({"granted": True}, 422, "invalid"),
        ({**YES, "subject_id": "usr_other"}, 422, "invalid"),
    ],
)
async def test_an_answer_must_be_to_a_notice_that_was_read(api: Api, body: Json, status: int, code: str) -> None:
    async with api.client("patient") as client:
        refused = await client.put(f"{CONSENTS}/care", json=body)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


async def test_a_changed_notice_asks_again(api: Api, stores: Repositories, tmp_path: Path) -> None:
    async with api.client("other_patient") as client:
        await ok(await client.put(f"{CONSENTS}/whatsapp", json=YES))
    services, newer = api.services, with_another_whatsapp(tmp_path)
    ledger = MongoConsents(stores.database, newer.version, stores.deletions.standing)
    changed = Consenting(ledger, stores.dependants, newer, Statements(api.settings.token_keys), services.audit)
    caller = ACCOUNTS["other_patient"].principal("ses_1")
    about = await changed.about(caller, None)
    standing = await changed.one(caller, about, Purpose.WHATSAPP, "en")
    assert (standing.allowed, standing.needs_answer, standing.notice.version) == (False, True, 2)
    assert not await ledger.allows(Subject(caller.subject), caller.subject, Purpose.WHATSAPP)
    request = Request(
        {
            "type": "http",
            "method": "PUT",
            "headers": [],
            "client": None,
            "route": Mount("/v1/me/consents/{purpose}", routes=[]),
        }
    )
    with pytest.raises(VisitNowError) as refused:
        await changed.answer(request, caller, about, Purpose.WHATSAPP, (True, 1, "en"))
    assert refused.value.code is Code.STALE
    said = await changed.answer(request, caller, about, Purpose.WHATSAPP, (True, 2, "en"))
    assert (said.allowed, said.needs_answer) == (True, False)
    taken = await changed.answer(request, caller, about, Purpose.WHATSAPP, (False, 1, "en"))
    assert not taken.allowed, "a no is taken to any notice that there was"


async def test_a_guardian_answers_for_a_child_and_is_named(api: Api, stores: Repositories) -> None:
    async with api.client("patient") as client:
        child = await ok(
            await client.post(
                "/v1/me/dependants", json={"name": "Kavi", "date_of_birth": "2020-02-01", "relation": "son"}
            )
        )
        parent = await ok(
            await client.post(
                "/v1/me/dependants", json={"name": "Usha", "date_of_birth": "1950-02-01", "relation": "mother"}
            )
        )
        path = f"/v1/me/dependants/{child['id']}/consents"
        listed = (await ok(await client.get(path)))["items"]
        assert [one["purpose"] for one in listed] == list(OF_DEPENDANTS)
        said = await ok(await client.put(f"{path}/care", json=NO))
        assert (said["answer"]["capacity"], said["answer"]["by"]) == ("guardian", PATIENT)
        receipt = await ok(await client.get(f"{path}/care/receipt"))
        assert (receipt["about"], receipt["answer"]["by"]) == (child["id"], PATIENT)
        for_parent = await ok(await client.put(f"/v1/me/dependants/{parent['id']}/consents/care", json=YES))
        assert for_parent["answer"]["capacity"] == "representative"
        assert (await client.put(f"{path}/promotion", json=YES)).status_code == 404, "no child is advertised to"
    assert not await stores.consents.allows(Subject(PATIENT), child["id"], Purpose.CARE)
    assert await stores.consents.allows(Subject(PATIENT), PATIENT, Purpose.CARE), "one's own is another matter"


async def test_nothing_is_booked_with_data_that_may_not_be_used(api: Api) -> None:
    body = {"provider_id": ANANYA_RAO.provider.id, "service_id": "srv_none", "start": "2031-01-06T04:30:00Z"}
    async with api.client("patient", **{"Idempotency-Key": "consents"}) as client:
        listed = (await ok(await client.get("/v1/me/dependants")))["items"]
        [child] = [one for one in listed if one["minor"]]
        await ok(await client.put(f"{CONSENTS}/care", json=NO))
        refused = await client.post("/v1/appointments", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "consent_required")
        await ok(await client.put(f"{CONSENTS}/care", json=YES))
        assert (await client.post("/v1/appointments", json=body)).json()["code"] == "not_found", "the service is none"
        for_child = {**body, "patient": {"dependant_id": child["id"]}}
        assert (await client.post("/v1/appointments", json=for_child)).json()["code"] == "consent_required"


async def test_a_stranger_answers_for_nobody_else(api: Api, stores: Repositories) -> None:
    async with api.client("patient") as client:
        [child, *_] = (await ok(await client.get("/v1/me/dependants")))["items"]
    async with api.client("other_patient") as client:
        for method, path, body in (
            ("GET", "", None), ("PUT", "/care", NO), ("GET", "/care/receipt", None),
        ):  # fmt: skip
            answer = await client.request(method, f"/v1/me/dependants/{child['id']}/consents{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    last = await stores.consents.last(System("a test"), child["id"], Purpose.CARE)
    assert last is None or last.subject_id == PATIENT
