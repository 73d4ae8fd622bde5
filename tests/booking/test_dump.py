"""Whoever gets hold of the database, of the logs or of Temporal's histories learns of nobody who they are.

People sign up, book, name a child, are invited and apply, all with words that occur nowhere else; then everything
that was stored is searched for these words. What clinics and doctors publish about themselves is no secret.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Final

import httpx
from bson import encode

from adapters.temporal.in_clear import history_in_clear
from models.errors import Code
from models.ids import booking_workflow_id, message_workflow_id, notice_workflow_id, onboarding_workflow_id
from tests.api.test_people import CLINIC, a_patient, a_phone, an_email, bearer, link_for, ok
from tests.booking.support import cancel, temporal
from tests.clinics import Offer, offer
from tests.onboarding.test_api import PDF, a_body, applied
from tests.stack import Json, Stack, eventually

DESK: Final = offer("steady", "desk")
VISIT: Final = offer("steady", "visit")
DAYS: Final = (25, 28)
"""Where few other tests book."""
MIN_BYTES: Final = 6
"""Shorter words are found by chance."""


class Canaries:
    """Words that occur nowhere else."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def word(self, what: str) -> str:
        """A name, or anything else that somebody might type."""
        return self._kept(f"{what.title()} Q{secrets.token_hex(5)}")

    def phone(self) -> str:
        """A number; it is looked for with and without its country's code."""
        number = a_phone()
        self._kept(number.removeprefix("+91"))
        return number

    def email(self) -> str:
        """An address, of which the part before the @ is looked for too."""
        address = an_email()
        self._kept(address.partition("@")[0])
        return address

    def seen_in(self, content: bytes) -> list[str]:
        """Those that occur there, in letters of either case."""
        folded = content.lower()
        return [one for one in self.words if one.lower().encode() in folded]

    def _kept(self, word: str) -> str:
        assert len(word) >= MIN_BYTES
        self.words.append(word)
        return word


async def _book(stack: Stack, who: httpx.AsyncClient, what: Offer, patient: Json, reason: str) -> Json:
    """A free time that nobody else takes meanwhile."""
    for start in await stack.free_starts(what.provider_id, what.service_id, days=DAYS):
        answer = await stack.place(who, what.provider_id, what.service_id, start, patient=patient, reason=reason)
        if answer.status_code != 409:
            return ok(answer, 201)
    msg = "no time is free"
    raise AssertionError(msg)


async def _a_patient_s_life(stack: Stack, canaries: Canaries) -> list[str]:
    """Signs up, names mother and child, books for a stranger and for the child, pays, cancels; the bookings."""
    async with stack.anonymous() as who:
        tokens = await a_patient(stack, who, canaries.phone(), name=canaries.word("tara"))
        who.headers.update(bearer(tokens))
        child = {"name": canaries.word("kavi"), "date_of_birth": "2019-02-28", "relation": "son"}
        added = ok(await who.post("/v1/me/dependants", json=child), 201)
        other = {"name": canaries.word("usha"), "date_of_birth": "1955-07-01", "relation": canaries.word("aunt")}
        first = await _book(stack, who, DESK, patient=other, reason=canaries.word("a rash"))
        dependant = {"dependant_id": added["id"]}
        second = await _book(stack, who, VISIT, patient=dependant, reason=canaries.word("a cough"))
        await stack.pay(second["payment"]["order_id"])

        async def state() -> str:
            return str(ok(await who.get(f"/v1/appointments/{second['id']}"))["state"])

        await eventually(state, lambda seen: seen == "confirmed")
        cancelled = await cancel(who, first["id"], canaries.word("we travel"))
        assert cancelled.status_code == 200, cancelled.text
    return [first["id"], second["id"]]


async def _a_colleague_joins(stack: Stack, canaries: Canaries) -> None:
    email, password = canaries.email(), canaries.word("a long walk")
    async with stack.client("tenant_admin") as admin, stack.anonymous() as who:
        for address in (email, canaries.email()):
            invited = await admin.post(f"/v1/clinics/{CLINIC}/invites", json={"email": address, "role": "staff"})
            assert invited.status_code == 201, invited.text
        body = {"token": await link_for(stack, email), "name": canaries.word("nila"), "password": password}
        ok(await who.post("/v1/invites/accept", json=body))
        wrong = await who.post("/v1/auth/login", json={"email": email, "password": canaries.word("forgotten")})
        assert wrong.json()["code"] == Code.CREDENTIALS_INVALID
        ok(await who.post("/v1/auth/login", json={"email": email, "password": password}))


async def _a_practice_applies(stack: Stack, canaries: Canaries) -> str:
    body = a_body()
    body["owner"] = {"name": canaries.word("nirmala"), "email": canaries.email(), "phone": canaries.phone()}
    body["practitioner"]["name"] = canaries.word("dr nirmala")
    path, headers = await applied(stack, body)
    async with stack.anonymous() as applicant, stack.client("admin") as admin:
        files = {"file": (f"{canaries.word('certificate')}.pdf", PDF)}
        ok(await applicant.post(f"{path}/documents", headers=headers, files=files), 201)
        ok(await applicant.post(f"{path}/submit", headers=headers))
        decision = {"decision": "request_changes", "note": canaries.word("ask the father of")}

        async def asked() -> int:
            return (await admin.post(f"{path}/decision", json=decision)).status_code

        await eventually(asked, lambda status: status == 200)
    return path.rpartition("/")[2]


def _dump(stack: Stack) -> dict[str, bytes]:
    """The bytes of every document, by the collection they lie in."""
    return {name: b"\n".join(map(encode, stack.db[name].find())) for name in stack.db.list_collection_names()}


async def test_no_dump_log_or_history_says_who_somebody_is(shared_stack: Stack) -> None:
    stack, canaries = shared_stack, Canaries()
    began = datetime.now(UTC)
    bookings, _, application = await asyncio.gather(
        _a_patient_s_life(stack, canaries), _a_colleague_joins(stack, canaries), _a_practice_applies(stack, canaries)
    )
    assert len(canaries.words) == 19

    dump = _dump(stack)
    assert b"Steady Clinics Central" in dump["clinics"], "what is there is found"
    written = {"users", "appointments", "dependants", "applications", "invites", "notifications", "sessions"}
    assert all(dump[name] for name in written)
    assert {name: found for name, content in dump.items() if (found := canaries.seen_in(content))} == {}

    logs = {one.name: one.read_bytes() for what in ("api", "worker") for one in stack.folder.glob(f"{what}-*.log")}
    assert len(logs) >= 2
    assert all(logs.values())
    assert {name: found for name, content in logs.items() if (found := canaries.seen_in(content))} == {}

    recent, alone = {"created_at": {"$gte": began}}, {"notice_id": None}
    sent = [one["_id"] for one in stack.db.notifications.find({**recent, **alone}, {"_id": 1})]
    assert len(sent) >= 4
    told = [one["_id"] for one in stack.db.notices.find(recent, {"_id": 1})]
    workflows = [
        *(booking_workflow_id(one) for one in bookings),
        *(message_workflow_id(one) for one in sent),
        *(notice_workflow_id(one) for one in told),
        onboarding_workflow_id(application),
    ]
    client = await temporal(stack)
    histories = {one: await history_in_clear(client, one) for one in workflows}
    assert all(one.encode() in histories[booking_workflow_id(one)] for one in bookings)
    assert b'"tenant_id"' in histories[booking_workflow_id(bookings[0])], "payloads are read in clear"
    assert {name: found for name, content in histories.items() if (found := canaries.seen_in(content))} == {}


async def test_the_search_finds_what_lies_open(shared_stack: Stack) -> None:
    """Proves the test above: the same search sees a word that somebody stored as it came."""
    canaries = Canaries()
    name = canaries.word("open")
    stored: Json = {"_id": secrets.token_hex(8), "tenant_id": "platform", "name": name.upper()}
    shared_stack.db.rollups.insert_one(stored)
    try:
        assert canaries.seen_in(_dump(shared_stack)["rollups"]) == [name]
    finally:
        shared_stack.db.rollups.delete_one({"_id": stored["_id"]})
