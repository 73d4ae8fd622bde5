"""Exports over HTTP: asked for with a fresh proof, told by message, fetched by a link, and nobody else's business."""

from __future__ import annotations

import hashlib
import io
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from zipfile import ZipFile

import httpx

from adapters.tokens import Purpose, PurposeTokens
from cli.accounts import ACCOUNTS
from models.errors import Code
from models.identity import Account, Role, System
from models.sessions import DEVELOPMENT_SESSION, STEP_UP_LIFETIME
from tests.booking.support import book, ok, problem, somebody
from tests.clinics import employee, offer
from tests.messaging.readers import repositories
from tests.stack import Stack, eventually

FREE = offer("steady", "free")
Json = dict[str, Any]


def proof(stack: Stack, who: Account) -> dict[str, str]:
    """What somebody is given who has just proved again who they are."""
    now = datetime.now(UTC)
    tokens = PurposeTokens(stack.settings.token_keys)
    return {"Step-Up": tokens.mint(Purpose.STEP_UP, who.id, DEVELOPMENT_SESSION, now + STEP_UP_LIFETIME, now)}


async def ready(client: httpx.AsyncClient, path: str, seconds: float = 60) -> Json:
    async def look() -> Json:
        return ok(await client.get(path))

    return await eventually(look, lambda export: export["state"] == "ready", seconds)


async def test_a_patient_takes_along_all_that_is_held(shared_stack: Stack) -> None:
    who = somebody()
    async with repositories(shared_stack) as stores:
        await stores.users.put(System("a test"), who)
    async with shared_stack.client(who) as patient, shared_stack.anonymous() as anybody:
        visit = await book(shared_stack, patient, FREE, reason="Qz pains in the elbow")
        problem(await patient.post("/v1/me/exports"), 403, Code.STEP_UP_REQUIRED)
        key = {"Idempotency-Key": secrets.token_urlsafe(12)}
        begun = ok(await patient.post("/v1/me/exports", headers=proof(shared_stack, who) | key), 202)
        due, asked = (datetime.fromisoformat(begun[name]) for name in ("due_at", "requested_at"))
        assert due - asked == timedelta(hours=72)
        again = ok(await patient.post("/v1/me/exports", headers=proof(shared_stack, who) | key), 202)
        assert again["id"] == begun["id"]
        path = f"/v1/me/exports/{begun['id']}"
        export = await ready(patient, path)
        file = await anybody.get(export["download_url"])
        assert file.status_code == 200
        assert (len(file.content), hashlib.sha256(file.content).hexdigest()) == (export["size"], export["sha256"])
        assert file.headers["content-type"] == "application/zip"
        with ZipFile(io.BytesIO(file.content)) as archive:
            assert archive.testzip() is None
            assert visit["id"].encode() in archive.read("data/appointments.json")
            assert b"Qz pains in the elbow" in archive.read("fhir/bundle.json")
        half = len(file.content) // 2
        rest = await anybody.get(export["download_url"], headers={"Range": f"bytes={half}-"})
        assert (rest.status_code, rest.content) == (206, file.content[half:])
        beyond = await anybody.get(export["download_url"], headers={"Range": f"bytes={len(file.content)}-"})
        problem(beyond, 416, Code.RANGE_NOT_SATISFIABLE)

        async def told() -> list[str]:
            return [one["text"] for one in await shared_stack.messages(who.phone or "")]

        texts = await eventually(told, lambda seen: any("export" in one for one in seen))
        assert not any("token=" in one for one in texts), "the link to the file is told after signing in"


async def test_a_link_is_for_one_export_and_a_while(shared_stack: Stack) -> None:
    who, other = somebody(), somebody()
    async with shared_stack.client(who) as patient, shared_stack.client(other) as stranger:
        begun = ok(await patient.post("/v1/me/exports", headers=proof(shared_stack, who)), 202)
        path = f"/v1/me/exports/{begun['id']}"
        problem(await stranger.get(path), 404, Code.NOT_FOUND)
        problem(await patient.get(f"/v1/tenant/exports/{begun['id']}"), 403, Code.FORBIDDEN)
        export = await ready(patient, path)
        theirs = ok(await stranger.post("/v1/me/exports", headers=proof(shared_stack, other)), 202)
        await ready(stranger, f"/v1/me/exports/{theirs['id']}")
        token = export["download_url"].partition("token=")[2]
        content = f"/v1/exports/{begun['id']}/content"
        problem(await stranger.get(f"/v1/exports/{theirs['id']}/content?token={token}"), 401, Code.TOKEN_INVALID)
        problem(await stranger.get(f"{content}?token={token[:-4]}AAAA"), 401, Code.TOKEN_INVALID)
        tokens, now = PurposeTokens(shared_stack.settings.token_keys), datetime.now(UTC)
        of_a_document = tokens.mint(Purpose.DOCUMENT, begun["id"], who.id, now + timedelta(minutes=5), now)
        problem(await stranger.get(f"{content}?token={of_a_document}"), 401, Code.TOKEN_INVALID)
        past = now - timedelta(minutes=20)
        late = tokens.mint(Purpose.EXPORT, begun["id"], who.id, past + timedelta(minutes=15), past)
        problem(await stranger.get(f"{content}?token={late}"), 401, Code.TOKEN_INVALID)


async def test_a_proof_is_its_owners(shared_stack: Stack) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        foreign = proof(shared_stack, ACCOUNTS["patient"])
        problem(await patient.post("/v1/me/exports", headers=foreign), 403, Code.STEP_UP_REQUIRED)


async def test_what_was_fetched_is_in_the_audit(shared_stack: Stack) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        begun = ok(await patient.post("/v1/me/exports", headers=proof(shared_stack, who)), 202)
        export = await ready(patient, f"/v1/me/exports/{begun['id']}")
        assert (await patient.get(export["download_url"])).status_code == 200
    entries = list(shared_stack.db.audit.find({"target": begun["id"]}))
    assert {(one["action"], one["actor"]) for one in entries} == {
        ("export.requested", who.id), ("export.fetched", who.id),
    }  # fmt: skip


async def test_a_practice_takes_along_its_own(shared_stack: Stack) -> None:
    admin, who = employee("brisk", Role.ADMIN), somebody()
    async with shared_stack.client(admin) as practice, shared_stack.client(who) as patient:
        visit = await book(shared_stack, patient, offer("brisk", "free"))
        elsewhere = await book(shared_stack, patient, FREE)
        problem(await patient.post("/v1/tenant/exports", headers=proof(shared_stack, who)), 403, Code.FORBIDDEN)
        begun = ok(await practice.post("/v1/tenant/exports", headers=proof(shared_stack, admin)), 202)
        export = await ready(practice, f"/v1/tenant/exports/{begun['id']}")
        with ZipFile(io.BytesIO((await practice.get(export["download_url"])).content)) as archive:
            appointments = archive.read("data/appointments.json")
        assert visit["id"].encode() in appointments
        assert elsewhere["id"].encode() not in appointments
        other = employee("steady", Role.ADMIN)
    async with shared_stack.client(other) as another:
        problem(await another.get(f"/v1/tenant/exports/{begun['id']}"), 404, Code.NOT_FOUND)
