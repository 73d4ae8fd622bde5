"""What a patient, a doctor and the front desk type reaches no log, metric, workflow, id, search attribute or refusal.

One visit is lived through from signing up to the wish to be forgotten, with words that occur nowhere else; on its way
the outside misbehaves, since what others answer to an error repeats what they were sent. Then everything that operators
read is searched for these words: as they are and in every disguise that the scanner of erasures knows.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zipfile import ZipFile

import httpx
import pytest
from temporalio.client import Client

from adapters.temporal.in_clear import history_in_clear
from adapters.tokens import Purpose, PurposeTokens, TokenVerifier
from models.disguises import Canaries, Needle, sightings
from models.identity import Role
from models.ids import booking_workflow_id, deletion_workflow_id, follow_up_workflow_id
from models.sessions import STEP_UP_LIFETIME
from tests.api.test_people import a_patient, a_phone, an_email, bearer, ok
from tests.booking.support import book, say, temporal
from tests.clinics import employee, offer
from tests.stack import Json, Stack, eventually
from tests.trust.leavers import REQUESTS, code_to, codes_to

VISIT: Final = offer("steady", "visit")

pytestmark = pytest.mark.timeout(240)


def _word(canaries: Canaries, what: str) -> str:
    return canaries.word(f"{what} Q{secrets.token_hex(5)}")


def _email(canaries: Canaries) -> str:
    address = an_email()
    canaries.word(address.partition("@")[0])
    return address


async def _signs_up(stack: Stack, canaries: Canaries, who: httpx.AsyncClient) -> None:
    """By a text message that fails at first: the provider's refusal repeats the number."""
    await stack.fault("message.create", "error", service="twilio")
    tokens = await a_patient(stack, who, canaries.phone(a_phone()), name=_word(canaries, "Tara Devi"))
    who.headers.update(bearer(tokens))
    ok(await who.patch("/v1/me", json={"email": _email(canaries)}))


async def _books(stack: Stack, canaries: Canaries, who: httpx.AsyncClient) -> Json:
    """For a child, at a gateway that fails once; pays."""
    child = {"name": _word(canaries, "Kavi Devi"), "date_of_birth": "2019-02-28", "relation": "son"}
    added = ok(await who.post("/v1/me/dependants", json=child), 201)
    await stack.fault("order.create", "error")
    patient = {"dependant_id": added["id"]}
    visit = await book(stack, who, VISIT, patient=patient, reason=_word(canaries, "burning water"))

    async def order() -> str | None:
        seen = ok(await who.get(f"/v1/appointments/{visit['id']}"))
        return seen["payment"]["order_id"] if seen["payment"] else None

    order_id = await eventually(order, lambda found: found is not None, seconds=40)
    await stack.pay(str(order_id))

    async def state() -> str:
        return str(ok(await who.get(f"/v1/appointments/{visit['id']}"))["state"])

    await eventually(state, lambda seen: seen == "confirmed", seconds=40)
    return visit


async def _is_seen(stack: Stack, canaries: Canaries, visit: str) -> None:
    """Comes, is treated; the doctor writes, the desk adds a report."""
    async with (
        stack.client(employee("steady", Role.STAFF)) as desk,
        stack.client(employee("steady", Role.DOCTOR)) as doctor,
    ):
        ok(await say(desk, visit, "check-in"))
        ok(await say(doctor, visit, "start"))
        summary = {
            "notes": _word(canaries, "cystitis after travel"),
            "diagnosis": _word(canaries, "cystitis"),
            "prescription": [
                {"medicine": _word(canaries, "Nitrofurin 100 mg"), "instructions": _word(canaries, "with milk")}
            ],
            "follow_up_on": str(date.today() + timedelta(days=30)),  # noqa: DTZ011  a day, of whichever zone
        }
        ok(await doctor.put(f"/v1/appointments/{visit}/summary", json=summary, headers={"If-Match": '"0"'}))
        ok(await say(doctor, visit, "complete"))
        report = b"%PDF-1.4 " + _word(canaries, "leucocytes").encode() + secrets.token_hex(64).encode()
        files = {"file": (f"{_word(canaries, 'urine of tara')}.pdf", report)}
        ok(await desk.post(f"/v1/appointments/{visit}/documents", files=files, data={"kind": "lab_report"}), 201)


async def _speaks_up(canaries: Canaries, who: httpx.AsyncClient, visit: str) -> None:
    """Rates the visit, complains, asks for a correction."""
    review = {"rating": 2, "nps": 3, "comment": _word(canaries, "he shouted at my son")}
    ok(await who.put(f"/v1/appointments/{visit}/review", json=review))
    for kind in ("grievances", "corrections"):
        key = {"Idempotency-Key": secrets.token_urlsafe(12)}
        words = {"text": _word(canaries, f"my {kind} of that day"), "appointment_id": visit}
        ok(await who.post(f"/v1/me/{kind}", json=words, headers=key), 201)


async def _takes_along(stack: Stack, canaries: Canaries, who: httpx.AsyncClient) -> None:
    """Asks for everything that is held, and fetches it."""
    token = who.headers["Authorization"].removeprefix("Bearer ")
    now = datetime.now(UTC)
    principal = TokenVerifier(stack.settings.token_keys).verify(token, now)
    proof = PurposeTokens(stack.settings.token_keys).mint(
        Purpose.STEP_UP, principal.subject, principal.session_id, now + STEP_UP_LIFETIME, now
    )
    begun = ok(await who.post("/v1/me/exports", headers={"Step-Up": proof}), 202)

    async def look() -> Json:
        return ok(await who.get(f"/v1/me/exports/{begun['id']}"))

    ready = await eventually(look, lambda export: export["state"] == "ready", seconds=60)
    file = await who.get(ready["download_url"])
    with ZipFile(io.BytesIO(file.content)) as archive:
        told = b"".join(archive.read(name) for name in archive.namelist())
    assert canaries.words[0].encode() in told, "whoever asks is told"


async def _asks_to_be_forgotten(stack: Stack, canaries: Canaries, who: httpx.AsyncClient) -> str:
    """Says why, and confirms it with the code; the workflow that it begins."""
    phone = canaries.phones[0]
    seen = await codes_to(stack, phone)
    asked = ok(await who.post(REQUESTS, json={"reason": _word(canaries, "he knows my uncle")}), 202)
    code = await code_to(stack, phone, seen)
    ok(await who.post(f"{REQUESTS}/{asked['id']}/confirm", json={"code": code}))
    return deletion_workflow_id(asked["id"])


async def _errs(stack: Stack, canaries: Canaries, who: httpx.AsyncClient) -> list[httpx.Response]:
    """Whatever is typed into the wrong place; the refusals."""
    word, phone, email = _word(canaries, "Mistaken Name"), canaries.phone(a_phone()), _email(canaries)
    plain = word.replace(" ", "-")
    canaries.word(plain)
    wrong = {"provider_id": word, "service_id": phone, "start": word, "reason": {"$gt": word}, word: email}
    async with stack.anonymous() as nobody:
        return [
            await who.get(f"/v1/providers/{plain}"),
            await who.get(f"/{plain}"),
            await who.get("/v1/appointments", params={"state": word}),
            await who.get("/v1/appointments", params={word: phone}),
            await who.post("/v1/appointments", json=wrong, headers={"Idempotency-Key": plain}),
            await who.post("/v1/appointments", content=f'{{"{word}'.encode(), headers={"Idempotency-Key": plain}),
            await who.post("/v1/me/dependants", json={"name": 7, "relation": word, "date_of_birth": phone}),
            await who.get(f"/v1/documents/{plain}"),
            await nobody.post("/v1/auth/login", json={"email": email, "password": word}),
            await nobody.post("/v1/auth/otp", json={"phone": f"{phone}{word}"}),
            await nobody.get("/v1/me", headers={"Authorization": f"Bearer {plain}"}),
            await nobody.get(f"/v1/links/{plain}"),
            await nobody.post("/codec/decode", content=word.encode(), headers={"Origin": f"https://{plain}.example"}),
            await nobody.get("/v1/providers", headers={"Host": f"{plain.lower()}.localhost"}),
        ]


async def _workflows(client: Client, since: datetime) -> dict[str, bytes]:
    """Everything that Temporal holds of each run that began since then, sealed and in clear."""
    found = {}
    query = f'StartTime > "{since.isoformat()}"'
    async for one in client.list_workflows(query):
        listed = one.raw_info.SerializeToString()
        found[one.id] = listed + await history_in_clear(client, one.id)
    return found


async def test_nothing_that_operators_read_says_who_somebody_is(shared_stack: Stack) -> None:
    stack, canaries = shared_stack, Canaries(shared_stack.settings.index_key)
    began = datetime.now(UTC) - timedelta(seconds=1)
    async with stack.anonymous() as who:
        await _signs_up(stack, canaries, who)
        visit = (await _books(stack, canaries, who))["id"]
        await _is_seen(stack, canaries, visit)
        await _speaks_up(canaries, who, visit)
        await _takes_along(stack, canaries, who)
        refusals = await _errs(stack, canaries, who)
        deletion = await _asks_to_be_forgotten(stack, canaries, who)
        metrics = (await who.get("/metrics")).content
    assert len(canaries.words) + len(canaries.phones) > 15
    needles = canaries.needles()

    assert all(400 <= one.status_code < 500 for one in refusals), [one.status_code for one in refusals]
    assert _found({one.url.path: _said(one) for one in refusals}, needles) == []
    assert _found({"metrics": metrics}, needles) == []

    client = await temporal(stack)

    async def followed_up() -> int:
        return (await client.count_workflows(f'WorkflowId = "{follow_up_workflow_id(visit)}"')).count

    # What follows a visit is begun by the relay.
    await eventually(followed_up, bool, seconds=40)
    workflows = await _workflows(client, began)
    assert visit.encode() in workflows[booking_workflow_id(visit)]
    assert deletion in workflows
    assert _found(workflows, needles) == []
    figures = await stack.worker_metrics()
    assert b'workflow_type="DeletionWorkflow"' in figures
    assert _found({"worker's metrics": figures}, needles) == []

    logs = {one.name: one.read_bytes() for what in ("api", "worker") for one in stack.folder.glob(f"{what}-*.log")}
    assert b'"route": "/v1/appointments"' in b"".join(logs.values())
    assert _found(logs, needles) == []
    assert _found(await asyncio.to_thread(_storage, stack), needles) == []


def _found(places: Mapping[str, bytes], needles: Sequence[Needle]) -> list[tuple[str, str]]:
    """Where which disguise was seen."""
    return [(place, one.form) for place, content in places.items() for one in sightings(place, content, needles)]


def _said(answer: httpx.Response) -> bytes:
    return json.dumps(dict(answer.headers)).encode() + answer.content


def _storage(stack: Stack) -> dict[str, bytes]:
    folder = stack.folder / "documents"
    return {str(one): str(one).encode() + one.read_bytes() for one in folder.rglob("*") if one.is_file()}
