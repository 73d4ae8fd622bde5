"""Every operation of the OpenAPI document: the anonymous, the wrong role and the other tenant get nothing.

The operations are read from the document, so a new route is covered by itself; one with a body needs an example here.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import httpx
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from adapters.mongo.repositories import Repositories
from cli.accounts import ACCOUNTS, account_of
from cli.seed.arogya import ANANYA_RAO, TENANT
from cli.seed.sanjeevani import BANDRA
from models.booking import Appointment, Intake, PatientDetails
from models.compliance import AuditAction
from models.errors import Code
from models.identity import PLATFORM, Account, Permission, Principal, Role, System
from models.ids import review_id, staff_task_id
from models.reviews import Opinion, review_of
from models.staff_tasks import TaskKind
from sandbox.servers.stack import Addresses
from tests.api.bodies import bodies
from tests.api.conftest import Api, a_booking, confirm, hold
from tests.api.consultations import a_report, a_summary
from tests.api.operations import OPERATIONS, PERMISSION_OF, Json, Operation, fields
from tests.api.strangers import (
    CANARY,
    DEPENDANT,
    DOCUMENT,
    EXPORT,
    LEAVE,
    OTHER_TENANT_ADMIN,
    SESSION,
    STRANGERS,
    UPLOAD,
    a_task,
    a_word,
)
from tests.contents import DIGESTS, EMPTY, digests

SECURED: Final = [one for one in OPERATIONS if one.secured]
OF_APPOINTMENTS: Final = [one for one in SECURED if "{appointment_id}" in one.path]
READS: Final = [one for one in OF_APPOINTMENTS if one.method == "GET" and one.id != "events"]
NO_APPLICATION: Final = "app_" + "a" * 26
EVERYBODYS: Final = {Permission.ACCOUNT_OWN, Permission.SESSION_OWN}
GUARDED: Final = [one for one in SECURED if PERMISSION_OF.get(one.id) not in EVERYBODYS]
"""What not everybody may do who has signed in."""

OWN_REFUSALS: Final = {Code.CREDENTIALS_INVALID, Code.TOKEN_INVALID, Code.OTP_INVALID}
"""How a sign-in refuses what it was given."""

COUNTED: Final = {"audit", "sign_in_tries", "otp_challenges", "notifications"}
"""What is noted of those who get nothing."""


ENTITLED: Final = ("patient", "doctor", "staff", "tenant_admin")


def _allowed(account: Account) -> frozenset[Permission]:
    return Principal(
        subject=account.id, tenant_id=account.tenant_id, roles=account.roles, session_id="ses_1"
    ).permissions


EVERYBODY: Final = {**{name: ACCOUNTS[name] for name in (*ENTITLED, "admin")}, **STRANGERS}


class Scene(NamedTuple):
    """One tenant's appointments, and how to send every operation at them."""

    api: Api
    held: Appointment
    confirmed: Appointment

    def body(self, operation: Operation, appointment: Appointment) -> Json | list[Json] | None:
        """A body that the rightful caller could send."""
        if not operation.has_body:
            return None
        secret = self.api.settings.razorpay_key_secret.get_secret_value().encode()
        known = bodies(appointment, UPLOAD.id, secret)
        assert operation.id in known, f"give {operation.id} an example body"
        return known[operation.id]

    async def send(
        self, operation: Operation, account: Account | None, appointment: Appointment, appointment_id: str | None = None
    ) -> httpx.Response:
        """One request, valid but for who sends it."""
        ids = self.ids(appointment) | ({} if appointment_id is None else {"appointment_id": appointment_id})
        return await self.request(operation, account, ids, self.body(operation, appointment))

    async def request(
        self, operation: Operation, account: Account | None, ids: Mapping[str, str], body: object, **query: str
    ) -> httpx.Response:
        """One request with these ids in its path."""
        headers = {"Idempotency-Key": secrets.token_urlsafe(12), "If-Match": '"1"'}
        async with self.api.client(account, **headers) as client:
            return await client.request(operation.method, operation.path_with(ids), json=body, params=query)

    def ids(self, appointment: Appointment) -> dict[str, str]:
        """What of the tenant's own the parameters of paths may name: things that exist."""
        return {
            "appointment_id": appointment.id,
            "workflow_id": f"booking:{appointment.id}",
            "provider_id": appointment.provider_id,
            "slug": "arogya-indiranagar",
            "leave_id": LEAVE.id,
            "session_id": SESSION.id,
            "dependant_id": DEPENDANT.id,
            "purpose": "care",
            "review_id": review_id(appointment.id),
            "task_id": staff_task_id(appointment.id, TaskKind.LOW_RATING),
            "request_id": "rrq_" + "a" * 26,
            "deletion_id": "del_" + "a" * 26,
            "hold_id": "hld_" + "a" * 26,
            "clinic_id": appointment.clinic_id,
            "user_id": ACCOUNTS["staff"].id,
            "application_id": NO_APPLICATION,
            "message_id": a_word(appointment).id,
            "key": "appointment_confirmed",
            "document_id": DOCUMENT,
            "export_id": EXPORT.id,
            "upload_id": UPLOAD.id,
            "token": "lnk.made.up",
        }


@pytest.fixture(scope="module")
async def scene(api: Api, stores: Repositories) -> Scene:
    """An appointment that waits for its payment and one that is paid, with words that nobody else may read."""
    patient = ACCOUNTS["patient"].id
    start = datetime(2031, 1, 7, 4, 30, tzinfo=UTC)
    await stores.leaves.insert(System("a test"), LEAVE, CANARY)
    await stores.sessions.add(System("a test"), SESSION)
    await stores.dependants.put(System("a test"), DEPENDANT)
    for stranger in STRANGERS.values():
        await stores.users.put(System("a test"), stranger)
    details = PatientDetails(name=CANARY, date_of_birth=datetime(2001, 1, 1, tzinfo=UTC).date(), relation="son")
    intake = Intake(patient=details, reason=CANARY)
    held = await hold(stores, a_booking(ANANYA_RAO, patient, start), "order_held", intake)
    paid = await hold(stores, a_booking(ANANYA_RAO, patient, start + timedelta(hours=1)), "order_paid", intake)
    await stores.consultations.add(System("a test"), a_summary(paid, notes=CANARY, diagnosis=CANARY))
    confirmed = await confirm(stores, paid, "pay_paid")
    for one in (held, confirmed):
        await stores.notices.open(System("a test"), a_word(one), datetime.now(UTC))
    opinion = Opinion(rating=4, comment=CANARY)
    await stores.reviews.put(System("a test"), review_of(confirmed, opinion, datetime.now(UTC)))
    await stores.uploads.open(System("a test"), UPLOAD)
    await stores.exports.begin(System("a test"), EXPORT)
    await stores.documents.begin(System("a test"), a_report(paid, DOCUMENT, name=CANARY))
    assert await stores.documents.keep(System("a test"), DOCUMENT, "dig_of_the_report")
    for one in (held, confirmed):
        await stores.staff_tasks.raise_once(System("a test"), a_task(one))
    return Scene(api, held, confirmed)


@pytest.fixture(scope="module")
def database(servers: Addresses, api: Api) -> Iterator[Database[Json]]:
    """The application's database as its owner sees it."""
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database)) as client:
        yield client[api.settings.database]


def _contents(database: Database[Json]) -> dict[str, str]:
    return digests(database.command(DIGESTS), without=COUNTED)


@contextmanager
def _nothing_changes(database: Database[Json]) -> Iterator[None]:
    before = _contents(database)
    assert before["appointments"] != EMPTY
    assert before["slots"] != EMPTY
    yield
    assert _contents(database) == before


@pytest.mark.parametrize("operation", OPERATIONS, ids=[one.id for one in OPERATIONS])
async def test_the_anonymous_get_nothing_that_is_not_public(
    scene: Scene, database: Database[Json], operation: Operation
) -> None:
    with _nothing_changes(database):
        answer = await scene.send(operation, None, scene.held)
    if operation.secured:
        assert answer.status_code == 401
        assert answer.json()["code"] == Code.TOKEN_MISSING
        assert answer.headers["www-authenticate"] == "Bearer"
    else:
        assert answer.status_code != 403
        assert answer.status_code != 401 or answer.json()["code"] in OWN_REFUSALS


@pytest.mark.parametrize("operation", SECURED, ids=[one.id for one in SECURED])
async def test_a_made_up_token_gets_nothing(scene: Scene, database: Database[Json], operation: Operation) -> None:
    with _nothing_changes(database):
        async with scene.api.client(None, Authorization="Bearer made.up.token") as client:
            path = operation.path_with(scene.ids(scene.held))
            answer = await client.request(operation.method, path, json=scene.body(operation, scene.held))
    assert (answer.status_code, answer.json()["code"]) == (401, Code.TOKEN_INVALID)


@pytest.mark.parametrize("operation", GUARDED, ids=[one.id for one in GUARDED])
async def test_the_wrong_role_is_refused_and_noted(
    scene: Scene, database: Database[Json], operation: Operation
) -> None:
    permission = PERMISSION_OF.get(operation.id, Permission.CODEC_USE)
    refused = {name: one for name, one in EVERYBODY.items() if permission not in _allowed(one)}
    assert refused, "a permission that everybody has guards nothing"
    with _nothing_changes(database):
        for name, account in refused.items():
            noted = database["audit"].count_documents({"action": AuditAction.REFUSED, "actor": account.id})
            answer = await scene.send(operation, account, scene.held)
            assert (answer.status_code, answer.json()["code"]) == _refusal(operation, account), name
            entry = database["audit"].find_one({"action": AuditAction.REFUSED, "actor": account.id}, sort=[("at", -1)])
            assert database["audit"].count_documents({"action": AuditAction.REFUSED, "actor": account.id}) == noted + 1
            assert entry is not None
            assert entry["target"] == permission
            assert entry["tenant_id"] == account.tenant_id


def _refusal(operation: Operation, account: Account) -> tuple[int, Code]:
    """Of another practice's things even the wrong role learns nothing."""
    elsewhere = account.tenant_id not in {TENANT.id, PLATFORM}
    if elsewhere and {"appointment_id", "provider_id", "clinic_id"} & {*operation.path_parameters}:
        return 404, Code.NOT_FOUND
    return 403, Code.FORBIDDEN


@pytest.mark.parametrize("state", ["held", "confirmed"])
@pytest.mark.parametrize("operation", OF_APPOINTMENTS, ids=[one.id for one in OF_APPOINTMENTS])
async def test_somebody_else_s_appointment_is_not_found(
    scene: Scene, database: Database[Json], operation: Operation, state: str
) -> None:
    appointment = scene.held if state == "held" else scene.confirmed
    permission = PERMISSION_OF[operation.id]
    strangers = {name: one for name, one in STRANGERS.items() if permission in _allowed(one)}
    assert strangers
    before = database["audit"].count_documents({})
    with _nothing_changes(database):
        for name, account in strangers.items():
            answer = await scene.send(operation, account, appointment)
            assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND), name
            assert CANARY not in answer.text
            assert appointment.order_id is not None
            assert appointment.order_id not in answer.text
    assert database["audit"].count_documents({}) == before, "nothing was read, so nothing is noted"


@pytest.mark.parametrize("operation", OF_APPOINTMENTS, ids=[one.id for one in OF_APPOINTMENTS])
async def test_an_appointment_that_is_none_is_answered_just_like_somebody_else_s(
    scene: Scene, database: Database[Json], operation: Operation
) -> None:
    names = [one for one in ENTITLED if PERMISSION_OF[operation.id] in _allowed(ACCOUNTS[one])]
    ids = ["apt_" + "a" * 26, "apt_short", "x", "%00", "$ne", scene.held.id.upper(), f"{scene.held.id}%0A"]
    with _nothing_changes(database):
        for appointment_id in ids:
            answer = await scene.send(operation, ACCOUNTS[names[0]], scene.held, appointment_id)
            assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND), appointment_id


@pytest.mark.parametrize(
    ("operation", "name"),
    [(one, name) for one in READS for name in ENTITLED if PERMISSION_OF[one.id] in _allowed(ACCOUNTS[name])],
    ids=lambda one: one if isinstance(one, str) else one.id,
)
async def test_whoever_may_see_it_does_and_looks_of_others_are_noted(
    scene: Scene, database: Database[Json], operation: Operation, name: str
) -> None:
    account = ACCOUNTS[name]
    looks = {"action": AuditAction.RECORD_READ, "actor": account.id, "target": scene.confirmed.id}
    before = database["audit"].count_documents(looks)
    answer = await scene.send(operation, account, scene.confirmed)
    assert answer.status_code == 200, answer.text
    noted = database["audit"].count_documents(looks) - before
    assert noted == (0 if name == "patient" else 1)
    if noted:
        entry = database["audit"].find_one(looks, sort=[("at", -1)])
        assert entry is not None
        assert entry["subject_id"] == ACCOUNTS["patient"].id
        assert entry["tenant_id"] == TENANT.id
        assert entry["origin"] == "127.0.0.1"
        assert CANARY not in str(entry)


@pytest.mark.parametrize(("name", "count"), [*((name, 2) for name in ENTITLED), *((name, 0) for name in STRANGERS)])
async def test_a_list_holds_what_its_reader_may_see_and_nothing_else(scene: Scene, name: str, count: int) -> None:
    async with scene.api.client(EVERYBODY[name]) as client:
        page = (await client.get("/v1/appointments")).json()
        filtered = (await client.get("/v1/appointments", params={"patient_id": ACCOUNTS["patient"].id})).json()
        by_provider = (await client.get("/v1/appointments", params={"provider_id": ANANYA_RAO.provider.id})).json()
    for listed in (page, filtered, by_provider):
        assert len(listed["items"]) == count
        assert {one["id"] for one in listed["items"]} <= {scene.held.id, scene.confirmed.id}
        assert listed["next_cursor"] is None


async def test_the_platform_s_admin_reads_no_patient_s_record(scene: Scene) -> None:
    async with scene.api.client("admin") as client:
        assert (await client.get("/v1/appointments")).status_code == 403
        assert (await client.get(f"/v1/appointments/{scene.held.id}")).status_code == 403


# What is not an appointment: whatever else a path, a query or a body may name

OWN_ONLY: Final = {"purpose", "key"}
"""What a path may name without naming anybody's thing: the caller's own is meant."""
OF_OTHERS: Final = [one for one in SECURED if {*one.path_parameters} - OWN_ONLY and one not in OF_APPOINTMENTS]
OTHER_DOCTOR: Final = account_of(Role.DOCTOR, "sanjeevani")
OTHERS: Final[dict[str, Account]] = {**STRANGERS, "doctor of another tenant": OTHER_DOCTOR}
LISTS: Final = [one for one in SECURED if one.method == "GET" and not one.path_parameters]


def _may(operation: Operation, who: Mapping[str, Account]) -> dict[str, Account]:
    permission = PERMISSION_OF.get(operation.id, Permission.CODEC_USE)
    return {name: one for name, one in who.items() if permission in _allowed(one)}


@pytest.mark.parametrize("operation", OF_OTHERS, ids=[one.id for one in OF_OTHERS])
async def test_nothing_else_of_somebody_else_is_found(
    scene: Scene, database: Database[Json], operation: Operation
) -> None:
    with _nothing_changes(database):
        for name, account in _may(operation, OTHERS).items():
            answer = await scene.send(operation, account, scene.held)
            assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND), name
            assert CANARY not in answer.text


@pytest.mark.parametrize("operation", LISTS, ids=[one.id for one in LISTS])
async def test_no_list_of_others_holds_anything_of_the_tenant_s(
    scene: Scene, database: Database[Json], operation: Operation
) -> None:
    """Whatever the query names: each parameter that takes an id is sent those of the tenant's things."""
    patient = ACCOUNTS["patient"].id
    ids = {**scene.ids(scene.held), "patient_id": patient, "subject_id": patient, "clinic_id": scene.held.clinic_id}
    queries: list[dict[str, str]] = [{}]
    for name in operation.query:
        if name.endswith("_id"):
            assert name in ids, f"{operation.path}: tell here which thing of the tenant's the query's {name} may name"
            queries.append({name: ids[name]})
    with _nothing_changes(database):
        for name, account in _may(operation, OTHERS).items():
            for query in queries:
                answer = await scene.request(operation, account, {}, None, **query)
                assert answer.status_code == 200, (name, query, answer.text)
                found = [one for one in _secrets(scene, account) if one in answer.text]
                assert found == [], (name, query)


def _secrets(scene: Scene, reader: Account) -> list[str]:
    """What nobody else may ever see of the tenant's people and appointments."""
    people = [ACCOUNTS[name] for name in ENTITLED if ACCOUNTS[name].tenant_id != reader.tenant_id or name == "patient"]
    known = [value for one in people for value in (one.id, one.name, one.email, one.phone) if value is not None]
    orders = [one for one in (scene.held.order_id, scene.confirmed.order_id) if one is not None]
    return [*known, *orders, scene.held.id, scene.confirmed.id, CANARY]


class InBody(NamedTuple):
    """A request by somebody of another tenant to their own thing, whose body names a thing of this tenant's."""

    account: Account
    ids: dict[str, str]
    body: Json | list[Json]


_OTHER_PROVIDER: Final = {"provider_id": OTHER_DOCTOR.provider_id or ""}
_SERVICE: Final = ANANYA_RAO.provider.services[0]
_HOURS: Final = {"start": "09:00", "end": "10:00", "service_ids": [_SERVICE.id]}
_SOMEBODY: Final = {"name": "Nobody", "phone": "+919812345678"}
NAMED_IN_BODIES: Final[dict[str, InBody | str]] = {
    "put_template dlt_template_id": "the operators' own, and nothing of ours",
    "claim_grievance appointment_id": "that only one's own can be named is tested with requests by right",
    "claim_correction appointment_id": "likewise",
    "ask_deletion dependant_id": InBody(ACCOUNTS["other_patient"], {}, {"dependant_id": DEPENDANT.id}),
    "place_hold subject_id": "the platform's admins say of whom nothing may be erased, at whichever tenant",
    "place provider_id": "anybody may book anywhere",
    "place service_id": "anybody may book anywhere; a provider's service that is none of theirs is tested with placing",
    "place patient.dependant_id": InBody(
        ACCOUNTS["other_patient"],
        {},
        {
            "provider_id": ANANYA_RAO.provider.id,
            "service_id": ANANYA_RAO.provider.services[0].id,
            "start": "2031-01-06T04:30:00Z",
            "patient": {"dependant_id": DEPENDANT.id},
        },
    ),
    "receive_walk_in provider_id": InBody(
        OTHER_TENANT_ADMIN,
        {"clinic_id": BANDRA.id},
        {"provider_id": ANANYA_RAO.provider.id, "service_id": _SERVICE.id, "patient": _SOMEBODY},
    ),
    "receive_walk_in service_id": InBody(
        OTHER_TENANT_ADMIN,
        {"clinic_id": BANDRA.id},
        {**_OTHER_PROVIDER, "service_id": _SERVICE.id, "patient": _SOMEBODY},
    ),
    "add_document upload_id": "only whoever uploads finds it; somebody else's is tested with uploads",
    "report_payment razorpay_order_id": "the gateway's, and signed",
    "report_payment razorpay_payment_id": "the gateway's, and signed",
    "step_up challenge_id": "a code's, which only its phone has been told; somebody else's is tested with signing in",
    "invite_staff provider_id": InBody(
        OTHER_TENANT_ADMIN,
        {"clinic_id": BANDRA.id},
        {"email": "nobody@nowhere.example", "role": "doctor", "provider_id": ANANYA_RAO.provider.id},
    ),
    "publish_services [].id": InBody(
        OTHER_DOCTOR, _OTHER_PROVIDER, [{**_SERVICE.model_dump(mode="json"), "id": _SERVICE.id}]
    ),
    "publish_availability weekly.[].service_ids.[]": InBody(
        OTHER_DOCTOR, _OTHER_PROVIDER, {"weekly": [{"weekday": 0, **_HOURS}]}
    ),
    "publish_availability overrides.[].sessions.[].service_ids.[]": InBody(
        OTHER_DOCTOR, _OTHER_PROVIDER, {"overrides": [{"date": "2031-01-06", "sessions": [_HOURS]}]}
    ),
}
"""Every field of a body that names a thing: a request with somebody else's, or why there is nobody else's."""

IDS_IN_BODIES: Final = sorted(
    {
        (one.id, field.path)
        for one in SECURED
        if one.body is not None and not one.path.startswith("/codec/")
        for field in fields(one.body)
        if field.is_id
    }
)


@pytest.mark.parametrize(("operation_id", "path"), IDS_IN_BODIES, ids=[" ".join(one) for one in IDS_IN_BODIES])
async def test_a_body_that_names_somebody_else_s_thing_changes_nothing(
    scene: Scene, database: Database[Json], operation_id: str, path: str
) -> None:
    name = f"{operation_id} {path}"
    assert name in NAMED_IN_BODIES, f"tell in NAMED_IN_BODIES what {name} names, or why it can be nobody else's"
    case = NAMED_IN_BODIES[name]
    if isinstance(case, str):
        return
    [operation] = [one for one in OPERATIONS if one.id == operation_id]
    with _nothing_changes(database):
        answer = await scene.request(operation, case.account, {**scene.ids(scene.held), **case.ids}, case.body)
        assert answer.status_code in {404, 422}, answer.text
        assert CANARY not in answer.text


def test_every_secured_operation_was_sent() -> None:
    assert {one.id for one in OF_APPOINTMENTS} <= PERMISSION_OF.keys()
    assert len(OF_APPOINTMENTS) >= 8
    assert len(OPERATIONS) >= 20
