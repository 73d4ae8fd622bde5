"""Who has read one's record, and what happened at one's tenant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from adapters.mongo.repositories import Repositories
from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO, INDIRANAGAR, TENANT
from models.booking import Intake
from models.compliance import AuditAction, AuditQuery
from models.identity import Tenant
from models.ids import reference
from tests.adapters.mongo.builders import an_entry
from tests.api.conftest import Api, a_booking, hold

Json = dict[str, Any]
PATIENT: Final = ACCOUNTS["patient"].id


async def ok(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def test_a_patient_sees_who_has_read_their_record(api: Api, stores: Repositories) -> None:
    start = datetime(2031, 3, 4, 4, 30, tzinfo=UTC)
    visit = await hold(stores, a_booking(ANANYA_RAO, PATIENT, start), None, Intake())
    for reader in ("doctor", "patient", "staff"):
        async with api.client(reader) as client:
            await ok(await client.get(f"/v1/appointments/{visit.id}"))
    async with api.client("patient") as client:
        log = await ok(await client.get("/v1/me/access-log"))
        first = await ok(await client.get("/v1/me/access-log", params={"limit": 1}))
        second = await ok(await client.get("/v1/me/access-log", params={"limit": 1, "cursor": first["next_cursor"]}))
        assert (await client.get("/v1/me/access-log", params={"cursor": "x"})).json()["code"] == "cursor_invalid"
    assert [one["by"] for one in log["items"]] == [ACCOUNTS["staff"].id, ACCOUNTS["doctor"].id]
    assert first["items"] + second["items"] == log["items"]
    for one in log["items"]:
        assert (one["target"], one["reference"]) == (visit.id, reference(visit.id))
        assert one["clinic"] == {"id": INDIRANAGAR.id, "name": INDIRANAGAR.name}
        assert one["by_kind"] == "clinic"
    async with api.client("other_patient") as client:
        assert (await ok(await client.get("/v1/me/access-log")))["items"] == []


async def test_a_patient_sees_who_has_read_what_they_asked_for_by_right(api: Api, stores: Repositories) -> None:
    visit = await hold(stores, a_booking(ANANYA_RAO, PATIENT, datetime(2031, 3, 5, 4, 30, tzinfo=UTC)), None, Intake())
    body = {"text": "My name is spelled otherwise.", "appointment_id": visit.id}
    async with api.client("patient") as patient, api.client("tenant_admin") as admin:
        claimed = (await patient.post("/v1/me/corrections", json=body)).json()["id"]
        await ok(await admin.get("/v1/rights-requests", params={"limit": 100}))
        said = {"outcome": "granted", "text": "It is corrected."}
        await ok(await admin.post(f"/v1/rights-requests/{claimed}/answer", json=said))
        log = (await ok(await patient.get("/v1/me/access-log")))["items"]
    about = AuditQuery(target=claimed, subject_id=PATIENT)
    noted = (await stores.audit.page(Tenant(TENANT.id), about, None)).items
    [look] = [one for one in log if one["target"] == claimed]
    assert (look["by"], look["clinic"], look["reference"]) == (ACCOUNTS["tenant_admin"].id, None, None)
    assert [one.action for one in noted] == [AuditAction.RIGHT_ANSWERED, AuditAction.RIGHT_READ]


async def test_an_admin_reads_what_happened_at_their_own_tenant_and_that_is_noted(
    api: Api, stores: Repositories
) -> None:
    foreign = an_entry(tenant_id="tnt_sanjeevani", target="apt_foreign")
    own = an_entry(tenant_id=TENANT.id, target="apt_of_ours")
    await stores.audit.append([foreign, own])
    async with api.client("tenant_admin") as client:
        found = await ok(await client.get("/v1/audit", params={"target": "apt_of_ours"}))
        assert [one["id"] for one in found["items"]] == [own.id]
        assert (await ok(await client.get("/v1/audit", params={"target": "apt_foreign"})))["items"] == []
        asked = {"action": AuditAction.AUDIT_READ, "actor": ACCOUNTS["tenant_admin"].id}
        assert len((await ok(await client.get("/v1/audit", params=asked)))["items"]) == 2
        today = datetime.now(UTC).date()
        of_today = {"target": "apt_of_ours", "from": today.isoformat(), "to": (today + timedelta(days=1)).isoformat()}
        assert len((await ok(await client.get("/v1/audit", params=of_today)))["items"]) == 1
        before = {"target": "apt_of_ours", "to": (today - timedelta(days=2)).isoformat()}
        assert (await ok(await client.get("/v1/audit", params=before)))["items"] == []
    async with api.client("admin") as client:
        assert (await ok(await client.get("/v1/audit", params={"target": "apt_of_ours"})))["items"] == []


@pytest.mark.parametrize(
    "query", [{"from": "1900-01-01"}, {"to": "2200-01-01"}, {"to": "9999-12-31"}, {"actor": "$ne"}, {"who": "x"}]
)
async def test_what_no_entry_can_be_is_refused(api: Api, query: dict[str, str]) -> None:
    async with api.client("tenant_admin") as client:
        refused = await client.get("/v1/audit", params=query)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


async def test_changes_of_one_s_own_account_are_noted_without_their_words(api: Api, stores: Repositories) -> None:
    async with api.client("other_patient") as client:
        await ok(await client.patch("/v1/me", json={"name": "Canary Name"}))
        body = {"name": "Canary Child", "date_of_birth": "2020-02-01", "relation": "son"}
        child = (await client.post("/v1/me/dependants", json=body)).json()["id"]
        await ok(await client.patch(f"/v1/me/dependants/{child}", json={"relation": "daughter"}))
        assert (await client.delete(f"/v1/me/dependants/{child}")).status_code == 204
    audit = stores.database["audit"]
    found = await audit.find({"actor": ACCOUNTS["other_patient"].id}, sort=[("stamp", 1)]).to_list(None)
    assert [
        (one["action"], one["target"]) for one in found if str(one["action"]).startswith(("account", "depend"))
    ] == [
        (AuditAction.ACCOUNT_CHANGED, ACCOUNTS["other_patient"].id),
        (AuditAction.DEPENDANT_CHANGED, child),
        (AuditAction.DEPENDANT_CHANGED, child),
        (AuditAction.DEPENDANT_REMOVED, child),
    ]
    assert "Canary" not in str(found)
