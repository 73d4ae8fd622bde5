"""From nothing to signed in: codes by text message, invitations, forgotten passwords, authenticators, dependants.

Every message is one that the real clients sent to the sandbox.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from typing import Final

import httpx
import pyotp
import pytest
from bson import json_util

from cli.accounts import ACCOUNTS, PASSWORD
from cli.seed.arogya import INDIRANAGAR, KOREGAON_PARK
from models.compliance import AuditAction
from models.credentials import OTP_TRIES
from models.errors import Code
from tests.clinics import offer
from tests.stack import Json, Stack, eventually

NEW_PASSWORD: Final = "a long walk by the Mula river"
CLINIC: Final = INDIRANAGAR.id


@pytest.fixture
async def anybody(shared_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with shared_stack.anonymous() as client:
        yield client


def refused(answer: httpx.Response, status: int, code: Code) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def ok(answer: httpx.Response, status: int = 200) -> Json:
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


def bearer(tokens: Json) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def a_phone() -> str:
    return f"+9198{secrets.randbelow(10**8):08d}"


def an_email() -> str:
    return f"{secrets.token_hex(6)}@new.example"


async def code_for(stack: Stack, phone: str, beside: int = 0) -> str:
    """The newest code that this phone has received, whatever else it is told; `beside` those that it had before."""

    async def codes() -> list[str]:
        told = await stack.messages(phone)
        found = [re.search(r"\b\d{6}\b", one["text"]) for one in told[: len(told) - beside]]
        return [one[0] for one in found if one]

    return (await eventually(codes, bool))[0]


async def link_for(stack: Stack, email: str, count: int = 1) -> str:
    """The token of the newest link that this mailbox has received."""
    [newest, *_] = await eventually(lambda: stack.messages(email), lambda seen: len(seen) >= count)
    found = re.search(r"token=([\w.-]+)", newest["text"])
    assert found
    return found[1]


async def ask(client: httpx.AsyncClient, phone: str) -> Json:
    return ok(await client.post("/v1/auth/otp", json={"phone": phone}), 202)


async def verify(client: httpx.AsyncClient, challenge: Json, code: str, **more: str) -> httpx.Response:
    body = {"challenge_id": challenge["challenge_id"], "code": code, **more}
    return await client.post("/v1/auth/otp/verify", json=body)


async def a_patient(stack: Stack, client: httpx.AsyncClient, phone: str, **more: str) -> Json:
    before = len(await stack.messages(phone))
    challenge = await ask(client, phone)
    return ok(await verify(client, challenge, await code_for(stack, phone, before), **more))


async def log_in(client: httpx.AsyncClient, email: str, password: str, **more: str) -> httpx.Response:
    return await client.post("/v1/auth/login", json={"email": email, "password": password, **more})


async def an_employee(stack: Stack, client: httpx.AsyncClient, role: str = "staff") -> tuple[str, Json]:
    """Somebody who was invited and has joined: the address, and the first tokens."""
    email = an_email()
    async with stack.client("tenant_admin") as admin:
        ok(await admin.post(f"/v1/clinics/{CLINIC}/invites", json={"email": email, "role": role}), 201)
    body = {"token": await link_for(stack, email), "name": "Nila Roy", "password": NEW_PASSWORD}
    return email, ok(await client.post("/v1/invites/accept", json=body))


# Codes by text message


async def test_a_new_number_signs_in_and_is_the_same_person_the_next_time(
    shared_stack: Stack, anybody: httpx.AsyncClient
) -> None:
    phone = a_phone()
    first = await a_patient(shared_stack, anybody, phone, name="Tara Sen")
    user = first["user"]
    assert (user["kind"], user["roles"], user["name"], user["phone"]) == ("patient", ["patient"], "Tara Sen", phone)
    spelled = f"0{phone[3:8]} {phone[8:]}"
    challenge = await ask(anybody, spelled)
    await eventually(lambda: shared_stack.messages(phone), lambda seen: len(seen) == 2)
    second = ok(await verify(anybody, challenge, await code_for(shared_stack, phone), name="Somebody else"))
    assert second["user"] == user
    dump = json_util.dumps([list(shared_stack.db[name].find()) for name in shared_stack.db.list_collection_names()])
    assert phone not in dump
    assert "Tara Sen" not in dump


async def test_the_seed_s_patients_sign_in_with_their_phones(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    account = ACCOUNTS["patient"]
    assert account.phone
    tokens = await a_patient(shared_stack, anybody, account.phone)
    assert tokens["user"]["id"] == account.id
    assert ok(await anybody.get("/v1/appointments", headers=bearer(tokens)))["items"] is not None


async def test_a_code_has_five_tries_and_one_use(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    phone = a_phone()
    challenge = await ask(anybody, phone)
    code = await code_for(shared_stack, phone)
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    answers = await asyncio.gather(*(verify(anybody, challenge, wrong) for _ in range(12)))
    codes = [answer.json()["code"] for answer in answers]
    assert codes.count(Code.OTP_INVALID) == OTP_TRIES
    assert codes.count(Code.OTP_EXHAUSTED) == 12 - OTP_TRIES
    refused(await verify(anybody, challenge, code), 429, Code.OTP_EXHAUSTED)


async def test_of_many_who_give_the_right_code_one_signs_in(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    phone = a_phone()
    challenge = await ask(anybody, phone)
    code = await code_for(shared_stack, phone)
    answers = await asyncio.gather(*(verify(anybody, challenge, code) for _ in range(OTP_TRIES)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]
    refused(await verify(anybody, challenge, code), 401, Code.OTP_INVALID)


async def test_the_next_code_has_to_be_waited_for(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    known = ACCOUNTS["other_patient"].phone
    assert known
    for phone in (known, a_phone()):
        first = await ask(anybody, phone)
        assert set(first) == {"challenge_id", "expires_at", "resend_at"}
        again = await anybody.post("/v1/auth/otp", json={"phone": phone})
        refused(again, 429, Code.RATE_LIMITED)
        assert 0 < int(again.headers["retry-after"]) <= 30
    assert shared_stack.settings.is_development


@pytest.mark.parametrize("phone", ["", "123", "+91", "not a number", "+9198765432100000", "\u0967\u0968\u0969"])
async def test_what_is_no_number_is_refused(anybody: httpx.AsyncClient, phone: str) -> None:
    refused(await anybody.post("/v1/auth/otp", json={"phone": phone}), 422, Code.INVALID)


# Invitations


async def test_whoever_is_invited_joins_and_works(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    email, tokens = await an_employee(shared_stack, anybody)
    assert tokens["user"]["roles"] == ["staff"]
    assert tokens["user"]["tenant_id"] == INDIRANAGAR.tenant_id
    assert ok(await anybody.get("/v1/appointments", headers=bearer(tokens)))["next_cursor"] is None
    assert (await log_in(anybody, email, NEW_PASSWORD)).status_code == 200
    listed = ok(await anybody.get(f"/v1/clinics/{CLINIC}/staff", headers=bearer(tokens)))["items"]
    assert email in {one["email"] for one in listed}
    refused(await anybody.get(f"/v1/clinics/{KOREGAON_PARK.id}/staff", headers=bearer(tokens)), 404, Code.NOT_FOUND)
    invite = {"email": an_email(), "role": "admin"}
    refused(
        await anybody.post(f"/v1/clinics/{CLINIC}/invites", headers=bearer(tokens), json=invite), 403, Code.FORBIDDEN
    )


async def test_of_fifty_who_accept_at_once_one_joins(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    email = an_email()
    async with shared_stack.client("tenant_admin") as admin:
        ok(await admin.post(f"/v1/clinics/{CLINIC}/invites", json={"email": email, "role": "staff"}), 201)
    token = await link_for(shared_stack, email)
    body = {"token": token, "name": "Nila Roy", "password": NEW_PASSWORD}
    answers = await asyncio.gather(*(anybody.post("/v1/invites/accept", json=body) for _ in range(50)))
    assert sorted({answer.status_code for answer in answers}) == [200, 410]
    assert [answer.status_code for answer in answers].count(200) == 1
    refused(await anybody.post("/v1/invites/accept", json=body), 410, Code.INVITE_SPENT)


async def test_a_repeated_invitation_is_the_same_one(shared_stack: Stack) -> None:
    body, key = {"email": an_email(), "role": "doctor"}, {"Idempotency-Key": secrets.token_hex(8)}
    path = f"/v1/clinics/{CLINIC}/invites"
    async with shared_stack.client("tenant_admin") as admin:
        first = ok(await admin.post(path, json=body, headers=key), 201)
        assert ok(await admin.post(path, json=body, headers=key), 201) == first
        other = await admin.post(path, json={**body, "role": "staff"}, headers=key)
        refused(other, 422, Code.IDEMPOTENCY_KEY_REUSED)
    assert len(await eventually(lambda: shared_stack.messages(body["email"]), bool)) == 1


async def test_whoever_is_removed_is_out_within_seconds(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    email, tokens = await an_employee(shared_stack, anybody)
    path = f"/v1/clinics/{CLINIC}/staff/{tokens['user']['id']}"
    async with shared_stack.client("tenant_admin") as admin:
        assert (await admin.delete(path)).status_code == 204
        refused(await admin.delete(path), 404, Code.NOT_FOUND)
        own = f"/v1/clinics/{CLINIC}/staff/{ACCOUNTS['tenant_admin'].id}"
        refused(await admin.delete(own), 409, Code.STATE_CONFLICT)
    refused(await anybody.get("/v1/me", headers=bearer(tokens)), 401, Code.TOKEN_INVALID)
    refused(await log_in(anybody, email, NEW_PASSWORD), 401, Code.CREDENTIALS_INVALID)
    answer = await anybody.post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    refused(answer, 401, Code.TOKEN_INVALID)
    notes = {"action": AuditAction.STAFF_REMOVED, "target": tokens["user"]["id"]}
    assert shared_stack.db["audit"].count_documents(notes) == 1


@pytest.mark.parametrize("password", ["short", "password123", "QWERTYUIOP"])
async def test_weak_and_lost_passwords_are_refused(anybody: httpx.AsyncClient, password: str) -> None:
    body = {"token": "x", "name": "Nila Roy", "password": password}
    refused(await anybody.post("/v1/invites/accept", json=body), 422, Code.INVALID)


async def test_a_link_of_another_kind_opens_nothing(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    email, tokens = await an_employee(shared_stack, anybody)
    await anybody.post("/v1/auth/password/forgot", json={"email": email})
    reset = await link_for(shared_stack, email, 2)
    step_up = ok(await anybody.post("/v1/auth/step-up", headers=bearer(tokens), json={"password": NEW_PASSWORD}))
    for token in (reset, step_up["step_up_token"], tokens["access_token"]):
        body = {"token": token, "name": "Nila Roy", "password": NEW_PASSWORD}
        refused(await anybody.post("/v1/invites/accept", json=body), 410, Code.INVITE_SPENT)
        refused(await anybody.get("/v1/me", headers={"Authorization": f"Bearer {reset}"}), 401, Code.TOKEN_INVALID)
    for token in (step_up["step_up_token"], tokens["access_token"], reset[:-8] + "AAAAAAAA"):
        answer = await anybody.post("/v1/auth/password/reset", json={"token": token, "password": NEW_PASSWORD})
        refused(answer, 410, Code.LINK_SPENT)


# Passwords and authenticators


async def test_a_forgotten_password_is_replaced_once(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    email, tokens = await an_employee(shared_stack, anybody)
    unknown = await anybody.post("/v1/auth/password/forgot", json={"email": an_email()})
    known = await anybody.post("/v1/auth/password/forgot", json={"email": email})
    assert (unknown.status_code, unknown.content) == (known.status_code, known.content) == (202, b"null")
    body = {"token": await link_for(shared_stack, email, 2), "password": "another walk by the river"}
    assert (await anybody.post("/v1/auth/password/reset", json=body)).status_code == 204
    refused(await anybody.post("/v1/auth/password/reset", json=body), 410, Code.LINK_SPENT)
    refused(await anybody.get("/v1/me", headers=bearer(tokens)), 401, Code.TOKEN_INVALID)
    refused(await log_in(anybody, email, NEW_PASSWORD), 401, Code.CREDENTIALS_INVALID)
    assert (await log_in(anybody, email, body["password"])).status_code == 200


async def test_an_authenticator_is_asked_for_once_it_is_confirmed(
    shared_stack: Stack, anybody: httpx.AsyncClient
) -> None:
    email, tokens = await an_employee(shared_stack, anybody)
    who = bearer(tokens)
    enrolment = ok(await anybody.post("/v1/auth/totp", headers=who, json={}))
    totp = pyotp.TOTP(enrolment["secret"])
    assert enrolment["otpauth_url"].startswith("otpauth://totp/")
    assert (await log_in(anybody, email, NEW_PASSWORD)).status_code == 200
    code = totp.now()
    assert (await anybody.post("/v1/auth/totp/confirm", headers=who, json={"code": code})).status_code == 204
    refused(await log_in(anybody, email, NEW_PASSWORD), 401, Code.TOTP_REQUIRED)
    refused(await log_in(anybody, email, NEW_PASSWORD, totp=code), 401, Code.CREDENTIALS_INVALID)
    refused(await anybody.post("/v1/auth/totp", headers=who, json={}), 409, Code.STATE_CONFLICT)
    [first, second, *_] = enrolment["recovery_codes"]
    assert (await log_in(anybody, email, NEW_PASSWORD, totp=first.upper())).status_code == 200
    refused(await log_in(anybody, email, NEW_PASSWORD, totp=first), 401, Code.CREDENTIALS_INVALID)
    off = await anybody.request("DELETE", "/v1/auth/totp", headers=who, json={"code": second})
    assert off.status_code == 204
    assert (await log_in(anybody, email, NEW_PASSWORD)).status_code == 200
    dump = json_util.dumps(list(shared_stack.db["users"].find()))
    assert enrolment["secret"] not in dump
    assert second not in dump


async def test_a_step_up_is_proved_with_what_one_signs_in_with(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    doctor = ok(await log_in(anybody, str(ACCOUNTS["doctor"].email), PASSWORD))
    path = "/v1/auth/step-up"
    refused(await anybody.post(path, headers=bearer(doctor), json={"password": "wrong"}), 401, Code.CREDENTIALS_INVALID)
    proof = ok(await anybody.post(path, headers=bearer(doctor), json={"password": PASSWORD}))
    assert proof["expires_in"] == 300
    for body in ({}, {"password": "x", "code": "123456"}, {"challenge_id": "otp_x"}):
        refused(await anybody.post(path, headers=bearer(doctor), json=body), 422, Code.INVALID)
    phone = a_phone()
    patient = await a_patient(shared_stack, anybody, phone)
    challenge = await ask(anybody, phone)
    await eventually(lambda: shared_stack.messages(phone), lambda seen: len(seen) == 2)
    body = {"challenge_id": challenge["challenge_id"], "code": await code_for(shared_stack, phone)}
    refused(await anybody.post(path, headers=bearer(doctor), json=body), 401, Code.OTP_INVALID)
    refused(await anybody.post(path, headers=bearer(patient), json=body), 401, Code.OTP_INVALID)
    again = await ask(anybody, phone)
    await eventually(lambda: shared_stack.messages(phone), lambda seen: len(seen) == 3)
    body = {"challenge_id": again["challenge_id"], "code": await code_for(shared_stack, phone)}
    assert ok(await anybody.post(path, headers=bearer(patient), json=body))["step_up_token"] != proof["step_up_token"]


# Oneself and those one books for


async def test_one_changes_oneself(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    who = bearer(await a_patient(shared_stack, anybody, a_phone()))
    change = {"name": "Tara Sen", "email": "TARA@new.example", "locale": "hi", "timezone": "Asia/Dubai"}
    changed = ok(await anybody.patch("/v1/me", headers=who, json=change))
    assert {name: changed[name] for name in change} == {**change, "email": "tara@new.example"}
    assert ok(await anybody.get("/v1/me", headers=who)) == changed
    for body in ({"roles": ["admin"]}, {"tenant_id": "tnt_arogya"}, {"phone": a_phone()}, {"timezone": "Mars/Base"}):
        refused(await anybody.patch("/v1/me", headers=who, json=body), 422, Code.INVALID)
    async with shared_stack.client("staff") as staff:
        refused(await staff.patch("/v1/me", json={"email": an_email()}), 422, Code.INVALID)


async def test_a_child_has_an_adult_with_a_name(shared_stack: Stack, anybody: httpx.AsyncClient) -> None:
    who = bearer(await a_patient(shared_stack, anybody, a_phone()))
    child = {"name": "Kavi Sen", "date_of_birth": "2018-02-28", "relation": "son"}
    parent = {"name": "Usha Sen", "date_of_birth": "1955-07-01", "relation": "mother"}
    path = "/v1/me/dependants"
    refused(await anybody.post(path, headers=who, json=child), 422, Code.INVALID)
    assert ok(await anybody.post(path, headers=who, json=parent), 201)["guardian"] is None
    ok(await anybody.patch("/v1/me", headers=who, json={"name": "Tara Sen"}))
    key = {"Idempotency-Key": "k1"}
    added = ok(await anybody.post(path, headers=who | key, json=child), 201)
    assert (added["minor"], added["guardian"]) == (True, "Tara Sen")
    assert ok(await anybody.post(path, headers=who | key, json=child), 201) == added
    refused(await anybody.post(path, headers=who | key, json=parent), 422, Code.IDEMPOTENCY_KEY_REUSED)
    assert len(ok(await anybody.get(path, headers=who))["items"]) == 2
    one = f"{path}/{added['id']}"
    assert ok(await anybody.patch(one, headers=who, json={"name": "Kavi S. Sen"}))["name"] == "Kavi S. Sen"
    offered = offer("steady", "free")
    [start, *_] = await shared_stack.free_starts(offered.provider_id, offered.service_id)
    anybody.headers.update(who)
    patient = {"dependant_id": added["id"]}
    booked = await shared_stack.place(anybody, offered.provider_id, offered.service_id, start, patient=patient)
    assert ok(booked, 201)["patient"]["name"] == "Kavi S. Sen"
    stranger = bearer(await a_patient(shared_stack, anybody, a_phone()))
    refused(await anybody.patch(one, headers=stranger, json={"name": "X"}), 404, Code.NOT_FOUND)
    refused(await anybody.delete(one, headers=stranger), 404, Code.NOT_FOUND)
    assert (await anybody.delete(one, headers=who)).status_code == 204
    dump = json_util.dumps(list(shared_stack.db["dependants"].find()))
    assert "Sen" not in dump
