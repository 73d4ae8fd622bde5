"""A practice applies by the contract alone: letters, token, documents, review; on a stack of real processes."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from models.application_tokens import Purpose, application_token
from tests.onboarding.support import details
from tests.stack import LONG, Json, Stack, eventually

PDF = b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\n%%EOF"


def a_body(**changes: object) -> Json:
    """What somebody applies with: exactly the fields of the contract."""
    told = details(f"eye-{secrets.token_hex(5)}", f"KMC-{secrets.token_hex(4)}").model_dump(mode="json")
    for part in ("city", "location"):
        del told["clinic"][part]
    for part in ("gender", "languages"):
        del told["practitioner"][part]
    told["owner"]["email"] = f"owner-{secrets.token_hex(4)}@eyecare.example"
    return {**told, **changes}


async def link_of(stack: Stack, email: str) -> str:
    """The token in the newest letter to that mailbox."""

    async def look() -> str:
        async with stack.control() as control:
            found = (await control.get("/_control/messages", params={"to": email})).json()
        return str(found)

    letters = await eventually(look, lambda seen: "token=" in seen, seconds=30)
    match = re.search(r"token=([A-Za-z0-9._-]+)", letters)
    assert match is not None
    return match.group(1)


async def applied(stack: Stack, body: Json) -> tuple[str, dict[str, str]]:
    """An application whose mailbox is proved: its path and the headers that open it."""
    async with stack.anonymous() as anybody:
        answer = await anybody.post("/v1/onboarding/applications", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["state"] == "draft"
        path = answer.headers["location"]
        assert path == f"/v1/onboarding/applications/{answer.json()['id']}"
        token = await link_of(stack, body["owner"]["email"])
        opened = await anybody.post(f"{path}/verify-email", json={"token": token})
        assert opened.status_code == 200, opened.text
    return path, {"Authorization": f"Bearer {opened.json()['access_token']}"}


async def _ok(answer: httpx.Response, status: int = 200) -> Any:  # noqa: ANN401  JSON as it comes
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_practice_applies_is_asked_for_a_document_and_is_approved(shared_stack: Stack) -> None:
    began = datetime.now(UTC)
    path, headers = await applied(shared_stack, a_body())
    async with shared_stack.anonymous() as anybody, shared_stack.client("admin") as admin:
        draft = await _ok(await anybody.get(path, headers=headers))
        assert (draft["state"], draft["email_verified"], draft["sla"]) == ("draft", True, None)
        changed = await anybody.patch(path, headers=headers, json={"practice_name": "Nirmala Eye Clinic"})
        assert (await _ok(changed))["practice_name"] == "Nirmala Eye Clinic"
        assert (await _ok(await anybody.post(f"{path}/submit", headers=headers)))["state"] == "submitted"

        refused = await admin.post(f"{path}/decision", json={"decision": "approve"})
        assert (refused.status_code, refused.json()["code"]) == (409, "checks_failed")
        listed = await _ok(await admin.get("/v1/onboarding/applications", params={"state": "under_review"}))
        mine = next(one for one in listed["items"] if path.endswith(one["id"]))
        promised = datetime.fromisoformat(mine["sla"]["due_at"]) - timedelta(hours=LONG.sla_hours)
        assert began - timedelta(seconds=1) <= promised <= datetime.now(UTC), "the platform's own settings rule"
        assert not mine["sla"]["overdue"]
        asked = await admin.post(f"{path}/decision", json={"decision": "request_changes", "note": "the certificate?"})
        assert (await _ok(asked))["state"] == "changes_requested"
        waiting = await _ok(await anybody.get(path, headers=headers))
        assert waiting["note"] == "the certificate?"
        assert waiting["sla"]["paused"]

        sent, kind = {"file": ("certificate.exe", PDF)}, {"kind": "registration_certificate"}
        document = await _ok(await anybody.post(f"{path}/documents", headers=headers, files=sent, data=kind), 201)
        assert (document["media_type"], document["size"]) == ("application/pdf", len(PDF))
        again = await _ok(await anybody.post(f"{path}/documents", headers=headers, files=sent, data=kind), 201)
        assert again["id"] == document["id"]
        read = await admin.get(f"{path}/documents/{document['id']}")
        assert (read.status_code, read.content, read.headers["content-type"]) == (200, PDF, "application/pdf")
        assert (await _ok(await anybody.post(f"{path}/submit", headers=headers)))["state"] == "under_review"
        approved = await _ok(await admin.post(f"{path}/decision", json={"decision": "approve"}))
        assert approved["state"] in {"approved", "provisioning"}
        late = await anybody.post(f"{path}/withdraw", headers=headers)
        assert (late.status_code, late.json()["code"]) == (409, "state_conflict")


async def test_the_same_request_again_makes_no_second_application(shared_stack: Stack) -> None:
    body, headers = a_body(), {"Idempotency-Key": secrets.token_urlsafe(12)}
    async with shared_stack.anonymous() as anybody:
        first = await anybody.post("/v1/onboarding/applications", json=body, headers=headers)
        second = await anybody.post("/v1/onboarding/applications", json=body, headers=headers)
        assert first.json() == second.json()
        other = await anybody.post(
            "/v1/onboarding/applications", json={**body, "practice_name": "Other"}, headers=headers
        )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(("slug", "status", "code"), [("www", 422, "invalid"), ("arogya", 409, "slug_taken")])
async def test_a_name_that_cannot_be_had(shared_stack: Stack, slug: str, status: int, code: str) -> None:
    async with shared_stack.anonymous() as anybody:
        answer = await anybody.post("/v1/onboarding/applications", json=a_body(slug=slug))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_an_applicant_s_token_opens_one_application_only(shared_stack: Stack) -> None:
    path, headers = await applied(shared_stack, a_body())
    other, others = await applied(shared_stack, a_body())
    secret = shared_stack.settings.id_secret
    gone = application_token(secret, Purpose.APPLICANT, path.rpartition("/")[2], datetime(2026, 1, 1, tzinfo=UTC))
    link = application_token(secret, Purpose.LINK, path.rpartition("/")[2], datetime(2036, 1, 1, tzinfo=UTC))
    async with shared_stack.anonymous() as anybody:
        assert (await anybody.get(path, headers=headers)).status_code == 200
        assert (await anybody.get(path, headers=others)).status_code == 404
        assert (await anybody.get(other, headers=headers)).status_code == 404
        assert (await anybody.get(path, headers={"Authorization": f"Bearer {link}"})).status_code == 404
        expired = await anybody.get(path, headers={"Authorization": f"Bearer {gone}"})
        assert (expired.status_code, expired.json()["code"]) == (401, "token_expired")
        assert (await anybody.get("/v1/onboarding/applications", headers=headers)).status_code == 401
        assert (await anybody.post(f"{path}/verify-email", json={"token": headers["Authorization"][7:]})).json()[
            "code"
        ] == "token_invalid"
    async with shared_stack.client("tenant_admin") as somebody:
        assert (await somebody.get(path)).status_code == 403


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"MZ\x90\x00", 422, "document_refused"),
        (b"%PDF-1.7 /JavaScript", 422, "document_refused"),
        (b"%PDF-" + b"x" * (10 * 1024 * 1024), 413, "too_large"),
    ],
    ids=["a program", "a script", "too large"],
)
async def test_a_file_that_is_not_accepted(shared_stack: Stack, content: bytes, status: int, code: str) -> None:
    path, headers = await applied(shared_stack, a_body())
    async with shared_stack.anonymous() as anybody:
        answer = await anybody.post(f"{path}/documents", headers=headers, files={"file": ("a.pdf", content)})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_owner_joins_publishes_hours_and_gets_the_first_booking(shared_stack: Stack) -> None:
    body = a_body()
    path, headers = await applied(shared_stack, body)
    async with shared_stack.anonymous() as anybody, shared_stack.client("admin") as admin:
        await _ok(await anybody.post(f"{path}/documents", headers=headers, files={"file": ("a.pdf", PDF)}), 201)
        await _ok(await anybody.post(f"{path}/submit", headers=headers))
        await _ok(await admin.post(f"{path}/decision", json={"decision": "approve"}))

        async def look() -> Json:
            found: Json = (await anybody.get(path, headers=headers)).json()
            return found

        made = (await eventually(look, lambda seen: seen["provisioned"] is not None, seconds=40))["provisioned"]
        owner = await _accepted(shared_stack, anybody, body["owner"]["email"])
        hours = {"weekly": [{"weekday": day, "start": "00:00", "end": "00:00"} for day in range(7)]}
        published = await anybody.put(
            f"/v1/providers/{made['provider_id']}/availability",
            headers={"Authorization": f"Bearer {owner}", "If-Match": '"0"'},
            json={**hours, "overrides": [], "min_notice_minutes": 60, "horizon_days": 60},
        )
        assert published.status_code == 200, published.text
        await eventually(look, lambda seen: seen["state"] == "live", seconds=40)
        profile = await _ok(await anybody.get(f"/v1/providers/{made['provider_id']}"))
    [service] = profile["services"]
    start = (await shared_stack.free_starts(made["provider_id"], service["id"]))[0]
    async with shared_stack.client() as patient:
        booked = await shared_stack.place(patient, made["provider_id"], service["id"], start)
    assert (booked.status_code, booked.json()["state"]) == (201, "confirmed"), booked.text


async def _accepted(stack: Stack, anybody: httpx.AsyncClient, email: str) -> str:
    """The owner opens the invitation's link; their access token."""

    async def look() -> list[str]:
        async with stack.control() as control:
            found = (await control.get("/_control/messages", params={"to": email})).text
        return re.findall(r"invites/accept\?token=([A-Za-z0-9._-]+)", found)

    tokens = await eventually(look, bool, seconds=40)
    accepted = await anybody.post(
        "/v1/invites/accept",
        json={"token": tokens[0], "name": "Nirmala Joshi", "password": f"long {secrets.token_hex(8)} phrase"},
    )
    assert accepted.is_success, accepted.text
    return str(accepted.json()["access_token"])
