"""Being forgotten over HTTP: asked for, proved, taken back; the account serves nothing else and is gone in the end."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.erasure_log import StoredErasureLog
from adapters.tokens import Statement, Statements
from cli.accounts import ACCOUNTS
from models.deletions import DeletionState
from models.errors import Code
from models.identity import Role
from models.ids import deletion_workflow_id
from models.policy import RefundStep, TenantPolicy
from sandbox.servers.stack import Addresses
from tests import clinics
from tests.booking.support import book, book_paid, cancel, look, ok, problem, say, temporal
from tests.booking.town import turn
from tests.clinics import employee, offer
from tests.faults import held_up
from tests.invariants import collect, violations
from tests.stack import Json, Stack, eventually, running
from tests.trust.leavers import REQUESTS, Leaver, code_to, codes_to, set_policy, sign_in, somebody_new

FREE, PAID = offer("steady", "free"), offer("steady", "visit")
SOON = TenantPolicy(
    max_unpaid_holds=10_000,
    payment_window_seconds=6,
    deletion_grace_seconds=600,
    late_payment_watch_days=2 / 86_400,
    day_grace_hours=0,
    refund_schedule=(RefundStep(hours_before=1, percent=100),),
)
NOTHING = {"identity": 0, "clinical": 0, "financial": 0, "logs": 0}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def stack(servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of people who leave; the tests set for each of them how long the platform waits."""
    folder = tmp_path_factory.mktemp("stack")
    name = f"{module_database_name}_gone"
    with running(servers, name, folder, SOON, catalogue=clinics.catalogue(SOON)) as started:
        yield started


def _refused(answer: httpx.Response, status: int, code: Code) -> None:
    problem(answer, status, code)


async def test_somebody_is_forgotten(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=2, retention_seconds=NOTHING)
    async with somebody_new(stack, "Canary Kaveri") as leaver:
        child = {"name": "Canary Child", "date_of_birth": "2020-02-02", "relation": "daughter"}
        ok(await leaver.client.post("/v1/me/dependants", json=child), 201)
        free = await book(stack, leaver.client, FREE, reason="a canary cough")
        paid = await book_paid(stack, leaver.client, PAID)
        grace = await leaver.confirms()
        assert grace["state"] == "grace"
        assert datetime.fromisoformat(grace["grace_until"]) > datetime.now(UTC) - timedelta(seconds=10)
        await _signed_out(leaver)
        done = await leaver.forgotten()
        assert (done["retained"], done["waits_for"], done["certificate_ready"]) == ([], [], True)
        states = {one["_id"]: one["state"] for one in stack.db.appointments.find({"subject_id": leaver.id})}
        assert states == {free["id"]: "cancelled", paid["id"]: "cancelled"}
        [refund] = stack.db.refunds.find({"subject_id": leaver.id})
        assert (refund["state"], refund["amount"]) == ("processed", 60_000), "all of it: the visit is days away"
        await _certified(stack, leaver)
        again = await sign_in(stack, leaver.phone, "Canary Kaveri")
        assert again["user"]["id"] != leaver.id, "whoever comes back is somebody new"
        async with stack.anonymous() as client:
            client.headers["Authorization"] = f"Bearer {again['access_token']}"
            assert ok(await client.get("/v1/appointments"))["items"] == []
            assert ok(await client.get(REQUESTS))["items"] == []
            _refused(await client.get(f"{REQUESTS}/{leaver.deletion}"), 404, Code.NOT_FOUND)
    evidence = await collect(stack, await temporal(stack))
    assert violations(evidence) == []


async def _signed_out(leaver: Leaver) -> None:
    """What was signed in before is refused at once, and over within seconds."""
    refused = await leaver.client.get("/v1/me")
    assert refused.status_code in {401, 403}, refused.text
    await eventually(lambda: leaver.client.get("/v1/me"), lambda answer: answer.status_code == 401)


async def _certified(stack: Stack, leaver: Leaver) -> None:
    answer = await leaver.certificate()
    said = answer["certificate"]
    assert (said["deletion"], said["subject"], said["number"]) == (leaver.deletion, leaver.id, 1)
    assert {one["store"] for one in said["receipts"]} == {
        "redis", "storage", "messages", "temporal", "mongodb", "keys",
    }  # fmt: skip
    facts = Statements(stack.settings.token_keys).read(Statement.DELETION, answer["signature"])
    assert facts == said
    header = json.loads(base64.urlsafe_b64decode(answer["signature"].partition(".")[0] + "=="))
    async with stack.anonymous() as nobody:
        published = ok(await nobody.get("/.well-known/jwks.json"))["keys"]
    assert header["typ"] == "deletion-certificate+jwt"
    assert header["kid"] in {one["kid"] for one in published}
    async with stack.anonymous() as nobody:
        path = f"{REQUESTS}/{leaver.deletion}/certificate"
        assert ok(await nobody.get(path, params={"request_token": leaver.token})) == answer
        _refused(await nobody.get(path), 401, Code.TOKEN_MISSING)
        _refused(await nobody.get(path, params={"request_token": "del." + "0" * 64}), 404, Code.NOT_FOUND)


async def test_in_grace_a_sign_in_serves_only_to_take_it_back(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Leaving Lata") as leaver:
        visit = await book(stack, leaver.client, FREE)
        await leaver.confirms()
        await _signed_out(leaver)
        again = await sign_in(stack, leaver.phone)
        assert again["user"]["id"] == leaver.id
        leaver.client.headers["Authorization"] = f"Bearer {again['access_token']}"
        for method, path in (
            ("GET", "/v1/me"),
            ("GET", "/v1/appointments"),
            ("GET", "/v1/me/consents"),
            ("POST", f"/v1/appointments/{visit['id']}/cancel"),
            ("GET", "/v1/me/dependants"),
        ):
            body = {"reason": "x"} if method == "POST" else None
            _refused(await leaver.client.request(method, path, json=body), 403, Code.ACCOUNT_LEAVING)
        _refused(await leaver.client.post(REQUESTS, json={}), 409, Code.STATE_CONFLICT)
        [mine] = ok(await leaver.client.get(REQUESTS))["items"]
        assert (mine["id"], mine["state"]) == (leaver.deletion, "grace")
        _refused(await leaver.client.get(f"{REQUESTS}/{mine['id']}/certificate"), 409, Code.STATE_CONFLICT)
        assert (await leaver.client.delete(f"{REQUESTS}/{mine['id']}")).status_code == 204
        assert (await leaver.client.delete(f"{REQUESTS}/{mine['id']}")).status_code == 204
        await eventually(lambda: leaver.client.get("/v1/me"), lambda answer: answer.status_code == 200)
        assert (await look(leaver.client, visit["id"]))["state"] == "confirmed"
        await _told(stack, leaver, "was taken back")
        assert (await leaver.asks())["id"] != mine["id"], "whoever stays may ask again"


async def _told(stack: Stack, leaver: Leaver, words: str) -> list[str]:
    async def texts() -> list[str]:
        return [one["text"] for one in await stack.messages(leaver.phone)]

    return await eventually(texts, lambda seen: any(words in one for one in seen))


async def test_nobody_is_written_to_but_about_this(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Quiet Qamar") as leaver:
        visit = await book(stack, leaver.client, FREE)
        await _told(stack, leaver, visit["reference"])
        await leaver.confirms()
        before = await _told(stack, leaver, "to be deleted")
        async with stack.client(employee("steady", Role.STAFF)) as desk:
            ok(await cancel(desk, visit["id"]))

        async def ended() -> list[str]:
            kept = stack.db.notices.find({"appointment_id": visit["id"], "template": "appointment_cancelled"})
            return [f"{one['state']}:{one['reason']}" for one in kept]

        assert await eventually(ended, lambda seen: seen not in ([], ["planned:None"])) == ["skipped:no_consent"]
        assert await _told(stack, leaver, "to be deleted") == before


async def test_only_the_right_code_confirms(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Proving Priya") as leaver, somebody_new(stack, "Other Omar") as other:
        key = {"Idempotency-Key": secrets.token_urlsafe(12)}
        first = ok(await leaver.client.post(REQUESTS, json={"reason": "moving"}, headers=key), 202)
        assert ok(await leaver.client.post(REQUESTS, json={"reason": "moving"}, headers=key), 202) == first
        answer = await leaver.client.post(REQUESTS, json={"reason": "else"}, headers=key)
        _refused(answer, 422, Code.IDEMPOTENCY_KEY_REUSED)
        path = f"{REQUESTS}/{first['id']}"
        _refused(await other.client.post(f"{path}/confirm", json={"code": "000000"}), 404, Code.NOT_FOUND)
        _refused(await other.client.get(path), 404, Code.NOT_FOUND)
        _refused(await other.client.delete(path), 404, Code.NOT_FOUND)
        right = await code_to(stack, leaver.phone, 1)
        wrong = "000000" if right != "000000" else "000001"
        for _ in range(5):
            _refused(await leaver.client.post(f"{path}/confirm", json={"code": wrong}), 401, Code.OTP_INVALID)
        _refused(await leaver.client.post(f"{path}/confirm", json={"code": right}), 429, Code.OTP_EXHAUSTED)
        assert ok(await leaver.client.get(path))["state"] == "requested"
        assert ok(await leaver.client.get("/v1/me"))["id"] == leaver.id, "nothing happens before the proof"
        sent = await codes_to(stack, leaver.phone)
        again = await leaver.asks()
        assert again["id"] == first["id"], "one that waits gets another code"
        assert again["challenge_id"] != first["challenge_id"]
        code = await code_to(stack, leaver.phone, sent)
        assert ok(await leaver.client.post(f"{path}/confirm", json={"code": code}))["state"] == "grace"
    async with stack.client("staff") as staff:
        _refused(await staff.post(REQUESTS, json={}), 403, Code.FORBIDDEN)


async def test_what_was_never_confirmed_is_taken_back_at_once(stack: Stack) -> None:
    async with somebody_new(stack, "Hasty Hari") as leaver:
        await leaver.asks()
        async with leaver.holding() as client:
            assert (await client.delete(f"{REQUESTS}/{leaver.deletion}")).status_code == 204
            assert ok(await client.get(f"{REQUESTS}/{leaver.deletion}"))["state"] == "cancelled"
            _refused(await client.get("/v1/me"), 401, Code.TOKEN_INVALID)
            _refused(await client.get(f"{REQUESTS}/del_{'a' * 26}"), 404, Code.NOT_FOUND)
            _refused(await client.post(REQUESTS, json={}), 401, Code.TOKEN_INVALID)
        answer = await leaver.client.post(f"{REQUESTS}/{leaver.deletion}/confirm", json={"code": "123456"})
        _refused(answer, 409, Code.STATE_CONFLICT)


async def test_by_default_what_the_law_keeps_stays_and_is_listed(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=None)
    async with somebody_new(stack, "Canary Retained") as leaver:
        await book(stack, leaver.client, FREE)
        await leaver.confirms()
        done = await leaver.forgotten()
        kept = {one["retained_under"]: one for one in done["retained"]}
        assert set(kept) == {"identity", "clinical", "logs"}
        assert all(one["rule"] and one["erased_at"] is None for one in kept.values())
        until = datetime.fromisoformat(kept["identity"]["until"]) - datetime.fromisoformat(done["restricted_at"])
        assert until == timedelta(days=365)
        said = (await leaver.certificate())["certificate"]
        assert [one["retained_under"] for one in said["retained"]] == list(kept)
        account = stack.db.users.find_one({"_id": leaver.id})
        assert account is not None
        assert account["phone_index"] is None
        _refused(await leaver.client.get("/v1/me"), 401, Code.TOKEN_INVALID)
        async with leaver.holding() as client:
            _refused(await client.delete(f"{REQUESTS}/{leaver.deletion}"), 409, Code.STATE_CONFLICT)


async def test_a_hold_keeps_everything_until_it_is_lifted(stack: Stack) -> None:
    """Also what would go at once of whoever has visited: every class of theirs stays for its time anyway."""
    set_policy(stack, deletion_grace_seconds=2, retention_seconds=None)
    async with somebody_new(stack, "Held Hemant") as leaver, stack.client("admin") as admin:
        await book_paid(stack, leaver.client, PAID)
        until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
        wanted = {"subject_id": leaver.id, "reason": "court_order", "reference": "OS/12/2031", "until": until}
        hold = ok(await admin.post("/v1/legal-holds", json=wanted), 201)
        await leaver.confirms()
        waiting = await leaver.until("legal_hold")
        assert waiting["waits_for"] == ["legal hold"] or not waiting["waits_for"]
        [listed] = ok(await admin.get("/v1/legal-holds", params={"subject_id": leaver.id}))["items"]
        assert listed == hold
        assert stack.db.sessions.find_one({"subject_id": leaver.id})
        assert (await admin.delete(f"/v1/legal-holds/{hold['id']}")).status_code == 204
        done = await leaver.forgotten()
        assert {one["retained_under"] for one in done["retained"]} == {"identity", "clinical", "financial", "logs"}
        assert stack.db.sessions.find_one({"subject_id": leaver.id}) is None
        _refused(await admin.delete("/v1/legal-holds/hld_nobody"), 404, Code.NOT_FOUND)
        past = {**wanted, "until": "2020-01-01T00:00:00Z"}
        _refused(await admin.post("/v1/legal-holds", json=past), 422, Code.INVALID)
    async with stack.client("patient") as patient, stack.client("tenant_admin") as clinic:
        _refused(await patient.post("/v1/legal-holds", json=wanted), 403, Code.FORBIDDEN)
        _refused(await clinic.post("/v1/legal-holds", json=wanted), 403, Code.FORBIDDEN)


async def test_what_only_a_lifted_hold_keeps_is_looked_at_the_next_day(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=1, retention_seconds={**NOTHING, "clinical": 600})
    async with somebody_new(stack, "Freed Farida") as leaver, stack.client("admin") as admin:
        await book(stack, leaver.client, FREE)
        until = (datetime.now(UTC) + timedelta(days=10_000)).replace(microsecond=0)
        why = {"reason": "court_order", "reference": "OS/12/2031", "until": until.isoformat()}
        wanted = {"subject_id": leaver.id, "retained_under": "clinical", **why}
        hold = ok(await admin.post("/v1/legal-holds", json=wanted), 201)
        await leaver.confirms()
        [kept] = (await leaver.forgotten())["retained"]
        assert (datetime.fromisoformat(kept["until"]), kept["legal_hold"]) == (until, True)
        assert _looked_at_next(stack, leaver) == until
        assert (await admin.delete(f"/v1/legal-holds/{hold['id']}")).status_code == 204
        assert _looked_at_next(stack, leaver) <= datetime.now(UTC)


def _looked_at_next(stack: Stack, leaver: Leaver) -> datetime:
    found = stack.db.deletions.find_one({"_id": leaver.deletion})
    assert found is not None
    assert isinstance(found["next_due"], datetime)
    return found["next_due"]


@pytest.mark.parametrize("outcome", [pytest.param("authorized", marks=pytest.mark.fault_matrix), "captured"])
async def test_a_booking_is_being_paid_meanwhile(stack: Stack, outcome: str) -> None:
    """Money that comes while the account closes is left to its payer or goes back; nothing is erased before."""
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=NOTHING)
    async with somebody_new(stack, "Paying Padma") as leaver:
        before = await book(stack, leaver.client, PAID)
        late = await book(stack, leaver.client, PAID)
        await leaver.confirms()
        await stack.pay(before["payment"]["order_id"], outcome)
        await eventually(lambda: _state(stack, late["id"]), lambda state: state == "cancelled", seconds=40)
        await stack.pay(late["payment"]["order_id"], outcome)
        await leaver.forgotten(seconds=90)
    evidence = await collect(stack, await temporal(stack))
    assert violations(evidence) == []
    ledger = await stack.ledger()
    orders = {before["payment"]["order_id"], late["payment"]["order_id"]}
    kept = [one for one in ledger["payments"] if one["order_id"] in orders and one["captured"]]
    assert all(one["amount_refunded"] == one["amount"] for one in kept)


async def _state(stack: Stack, appointment_id: str) -> str:
    found = stack.db.appointments.find_one({"_id": appointment_id}, {"state": 1})
    assert found is not None
    return str(found["state"])


async def test_a_visit_that_has_been_ends_its_day_early(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=NOTHING)
    async with somebody_new(stack, "Seen Sunita") as leaver:
        visit = await book(stack, leaver.client, FREE)
        async with stack.client(employee("steady", Role.DOCTOR)) as doctor:
            for step in ("check-in", "start", "complete"):
                ok(await say(doctor, visit["id"], step))
        await leaver.confirms()
        await leaver.forgotten()
        assert await _state(stack, visit["id"]) == "completed"


async def test_the_seeds_own_tokens_are_shut_out_too(stack: Stack) -> None:
    """Tokens that were made by hand belong to no session that could end."""
    set_policy(stack, deletion_grace_seconds=600)
    who = ACCOUNTS["other_patient"]
    async with stack.client(who) as client:
        leaver = Leaver(stack, who.phone or "", {"user": {"id": who.id}}, client)
        await leaver.confirms()
        _refused(await client.get("/v1/appointments"), 403, Code.ACCOUNT_LEAVING)
        assert (await client.delete(f"{REQUESTS}/{leaver.deletion}")).status_code == 204
        assert ok(await client.get("/v1/appointments"))["items"] is not None


async def test_what_happened_is_in_the_audit(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Audited Asha") as leaver:
        await leaver.confirms()
        async with leaver.holding() as client:
            assert (await client.delete(f"{REQUESTS}/{leaver.deletion}")).status_code == 204

        async def actions() -> list[Json]:
            found = stack.db.audit.find({"target": leaver.deletion}, sort=[("at", 1)])
            return [{"action": one["action"], "actor_kind": one["actor_kind"]} for one in found]

        seen = await eventually(actions, lambda there: len(there) == 4)
        assert [one["action"] for one in seen] == [
            "deletion.requested", "deletion.identity_confirmed", "deletion.grace", "deletion.cancelled",
        ]  # fmt: skip
        assert [one["actor_kind"] for one in seen] == ["patient", "patient", "system", "patient"]


async def test_a_guardian_has_a_child_forgotten(stack: Stack) -> None:
    """Its visits to come are cancelled and it is gone; the guardian and their own visits stay."""
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=None)
    async with somebody_new(stack, "Guardian Gauri") as leaver, somebody_new(stack, "Stranger Som") as stranger:
        born = {"date_of_birth": "2020-02-02", "relation": "daughter"}
        child = ok(await leaver.client.post("/v1/me/dependants", json={"name": "Canary Chitra", **born}), 201)
        sister = ok(await leaver.client.post("/v1/me/dependants", json={"name": "Canary Dipa", **born}), 201)
        own = await book(stack, leaver.client, FREE)
        hers = await book(stack, leaver.client, FREE, patient={"dependant_id": child["id"]})
        sisters = await book(stack, leaver.client, FREE, patient={"dependant_id": sister["id"]})
        wish = {"dependant_id": child["id"]}
        _refused(await stranger.client.post(REQUESTS, json=wish), 404, Code.NOT_FOUND)
        assert (await leaver.confirms(**wish))["dependant_id"] == child["id"]
        done = await leaver.forgotten()
        assert [one["retained_under"] for one in done["retained"]] == ["clinical"]
        states = [await _state(stack, one["id"]) for one in (own, hers, sisters)]
        assert states == ["confirmed", "cancelled", "confirmed"]
        [left] = ok(await leaver.client.get("/v1/me/dependants"))["items"]
        assert left["id"] == sister["id"]
        assert ok(await leaver.client.get("/v1/me"))["id"] == leaver.id, "the guardian's account is as it was"
        said = (await leaver.certificate())["certificate"]
        assert said["subject"] == child["id"]
        assert {one["part"]: one["erased"] for one in said["receipts"]} == {"consents": 0, "dependants": 1}
        lapses = datetime.fromisoformat(said["backups_lapse_at"]) - datetime.fromisoformat(said["receipts"][0]["at"])
        assert lapses == timedelta(days=stack.settings.backup_days), "the account's key opens what older backups hold"
        log = StoredErasureLog(stack.settings.storage_url, Statements(stack.settings.token_keys))
        entries = await log.since(datetime.now(UTC) - timedelta(days=1))
        [entry] = [one for one in entries if one.deletion_id == leaver.deletion]
        assert (entry.dependant_id, entry.state) == (child["id"], DeletionState.ERASED), "a backup would know it again"


async def test_a_hold_on_a_child_or_its_guardian_keeps_the_child(stack: Stack) -> None:
    """Both stand; each is lifted, and the last one lets it go at once."""
    set_policy(stack, deletion_grace_seconds=2, retention_seconds=None)
    async with somebody_new(stack, "Guardian Girija") as leaver, stack.client("admin") as admin:
        born = {"date_of_birth": "2020-02-02", "relation": "son"}
        child = ok(await leaver.client.post("/v1/me/dependants", json={"name": "Canary Charan", **born}), 201)
        sister = ok(await leaver.client.post("/v1/me/dependants", json={"name": "Canary Devi", **born}), 201)
        until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
        wanted = {"reason": "court_order", "reference": "OS/12/2031", "until": until}
        holds = {
            one: ok(await admin.post("/v1/legal-holds", json={"subject_id": one, **wanted}), 201)
            for one in (child["id"], sister["id"], leaver.id)
        }
        await leaver.confirms(dependant_id=child["id"])
        await leaver.until("legal_hold")
        meanwhile = ok(await leaver.client.post("/v1/me/exports", headers=await _proof(stack, leaver)), 202)
        await eventually(lambda: _export_state(stack, meanwhile), lambda state: state == "ready", seconds=40)
        assert (await admin.delete(f"/v1/legal-holds/{holds[leaver.id]['id']}")).status_code == 204
        await eventually(lambda: _plans_made(stack, leaver), lambda made: made > 1)
        assert stack.db.dependants.find_one({"_id": child["id"]}), "the hold on the child still stands"
        assert (await admin.delete(f"/v1/legal-holds/{holds[child['id']]['id']}")).status_code == 204
        await leaver.forgotten()
        assert stack.db.dependants.find_one({"_id": child["id"]}) is None
        assert await _export_state(stack, meanwhile) == "stopped", "what was taken along meanwhile has the child in it"
        of_both = ok(await admin.get("/v1/legal-holds", params={"subject_id": leaver.id}))["items"]
        assert of_both == [holds[sister["id"]]], "what is kept of a child lies with the account, which is held too"


async def _export_state(stack: Stack, export: Json) -> str:
    found = stack.db.exports.find_one({"_id": export["id"]})
    assert found is not None
    return str(found["state"])


async def _plans_made(stack: Stack, leaver: Leaver) -> int:
    """How often it has been decided what goes and what stays."""
    handle = (await temporal(stack)).get_workflow_handle(deletion_workflow_id(leaver.deletion))
    events = [one async for one in handle.fetch_history_events()]
    plans = {
        one.event_id
        for one in events
        if one.activity_task_scheduled_event_attributes.activity_type.name == "deletions.plan"
    }
    return sum(one.activity_task_completed_event_attributes.scheduled_event_id in plans for one in events)


async def test_in_a_childs_grace_nobody_books_for_it(stack: Stack) -> None:
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Guardian Ganga") as leaver:
        born = {"date_of_birth": "2020-02-02", "relation": "son"}
        child = ok(await leaver.client.post("/v1/me/dependants", json={"name": "Canary Chetan", **born}), 201)
        await leaver.confirms(dependant_id=child["id"])
        start = (await stack.free_starts(FREE.provider_id, FREE.service_id))[-1]
        whom = {"dependant_id": child["id"]}
        _refused(
            await stack.place(leaver.client, FREE.provider_id, FREE.service_id, start, patient=whom),
            403,
            Code.CONSENT_REQUIRED,
        )
        await book(stack, leaver.client, FREE)
        assert (await leaver.client.delete(f"{REQUESTS}/{leaver.deletion}")).status_code == 204
        ok(await stack.place(leaver.client, FREE.provider_id, FREE.service_id, start, patient=whom), 201)


async def test_an_export_that_is_being_made_is_not_finished(stack: Stack) -> None:
    """What somebody was taking along goes with them, although its maker was just at it."""
    set_policy(stack, deletion_grace_seconds=1, retention_seconds=NOTHING)
    async with somebody_new(stack, "Taking Tara") as leaver:

        async def leave() -> None:
            await leaver.confirms()
            await leaver.forgotten()

        async with held_up(stack, "before:exports.collect", leave):
            export = ok(await leaver.client.post("/v1/me/exports", headers=await _proof(stack, leaver)), 202)
        assert stack.db.exports.find_one({"subject_id": leaver.id}) is None
        running = f'WorkflowId = "export:{export["id"]}" and ExecutionStatus = "Running"'
        assert (await (await temporal(stack)).count_workflows(running)).count == 0
        left = [one for one in (stack.folder / "documents").rglob("*") if export["id"] in str(one) and one.is_file()]
        assert left == []


async def _proof(stack: Stack, leaver: Leaver) -> dict[str, str]:
    seen = await codes_to(stack, leaver.phone)
    stack.db.sign_in_tries.delete_many({})
    async with stack.anonymous() as nobody:
        sent = ok(await nobody.post("/v1/auth/otp", json={"phone": leaver.phone}), 202)
    given = {"challenge_id": sent["challenge_id"], "code": await code_to(stack, leaver.phone, seen)}
    return {"Step-Up": ok(await leaver.client.post("/v1/auth/step-up", json=given))["step_up_token"]}


async def test_a_process_that_dies_after_the_code_is_made_up_for(stack: Stack) -> None:
    """What was confirmed and never begun is begun by the upkeep; meanwhile the account serves nothing else already."""
    set_policy(stack, deletion_grace_seconds=600)
    async with somebody_new(stack, "Orphaned Omana") as leaver:
        await leaver.asks()
        long_ago = datetime.now(UTC) - timedelta(minutes=1)
        confirmed = {
            "state": "identity_confirmed",
            "confirmed_at": long_ago,
            "grace_until": datetime.now(UTC) + timedelta(days=1),
        }
        stack.db.deletions.update_one({"_id": leaver.deletion}, {"$set": confirmed})
        answer = await eventually(lambda: leaver.client.get("/v1/me"), lambda seen: seen.status_code != 200)
        _refused(answer, 403, Code.ACCOUNT_LEAVING)
        await turn(await temporal(stack))
        await leaver.until("grace")
        async with leaver.holding() as client:
            assert (await client.delete(f"{REQUESTS}/{leaver.deletion}")).status_code == 204
